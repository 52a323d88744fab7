"""The pages of the list of all entries, newest accepted first: what is asked for, and what is found.

Owns the form in which words are compared (`fold`). Never does I/O. Words that came with a mail may hold
anything.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.spool.model import Entry, State

#: Words of a search that count, and characters of each.
MOST_WORDS: Final = 8
WORD_CHARACTERS: Final = 200
#: Accents as marks of their own (Combining Diacritical Marks); other marks are letters of their script.
_ACCENTS = dict.fromkeys(range(0x300, 0x370))


def fold(text: str) -> str:
    """The text as it is compared: without case, accents and differences of width, whatever the script."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).translate(_ACCENTS)
    return unicodedata.normalize("NFKC", plain).casefold()


def split_words(text: str) -> tuple[str, ...]:
    """The words of a search, folded, each once; a row fits if each of them stands in it somewhere."""
    return tuple(dict.fromkeys(word[:WORD_CHARACTERS] for word in fold(text).split()))[:MOST_WORDS]


#: The results that a list can be filtered by.
VERDICTS: Final = ("spf", "dkim", "dmarc", "arc", "spam", "virus")
#: Characters of the words of a mail, and forward-paths among them.
_WORDS: Final = 2_000
_PATHS: Final = 50
#: Octets of `Shown.document`.
DOCUMENT_BYTES: Final = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The description of an entry for the page, to be written with its outcome; it goes with the entry."""

    #: An object of JSON in UTF-8, at most `DOCUMENT_BYTES`. The spool does not look into it.
    document: bytes
    #: The class of the mail, and its results and risks as words between blanks: " spf=pass risk=file.macro ".
    classification: str
    marks: str
    #: The words by which the list is searched: folded (`fold`), with blanks between.
    words: str
    #: True if it was made of all that an attempt knows. One that was made of a stored request alone is
    #: written only where there is none.
    whole: bool = True


def mark_results(results: Mapping[str, str], risks: Sequence[str] = ()) -> str:
    """The marks of a mail with these results, by attribute name, and these risks (`Shown.marks`)."""
    words = {name: results.get(f"relay_{name}", "") for name in VERDICTS}
    marks = [f"{name}={word}" for name, word in words.items() if word] + [f"risk={code}" for code in risks]
    return f" {' '.join(marks)} "


def join_words(entry: Entry, *others: str) -> str:
    """The words that an entry is found by: those of its envelope and its Message-ID, and others."""
    paths = entry.destination.forward_paths[:_PATHS]
    texts = (*others, entry.envelope.reverse_path, entry.destination.address, *paths, entry.message_id)
    return " ".join(fold(" ".join(text for text in texts if text))[:_WORDS].split())


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery:
    """The entries of a page; an empty field means any."""

    #: Each must be in the subject, the author, the sender, a recipient or the Message-ID, or it is the only
    #: one and begins the spool id or the contact id. Folded (`split_words`).
    words: tuple[str, ...] = ()
    #: As an operator sees them: `Entry.shown_state`.
    states: tuple[State, ...] = ()
    route: str = ""
    #: As in `Filter`.
    routes: tuple[str, ...] | None = None
    #: The beginning of a reason word, that of the route's hold where the entry has none of its own.
    reason: str = ""
    #: A class and a code of a risk, which are known from the first outcome on.
    classification: str = ""
    risk: str = ""
    #: Names of results with their words: ("dmarc", "fail").
    verdicts: tuple[tuple[str, str], ...] = ()
    #: `EntryPage.more` of the page before; "" for the newest.
    before: str = ""
    limit: int = 100
    #: The time that may pass before the rest is left to the next page.
    seconds: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A look at the header of a mail, as `relay.message.glimpse` gives it: nothing of it is checked."""

    subject: str = ""
    author_name: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An entry in the list."""

    entry: Entry
    #: The document that was written with its last outcome; b"" before the first.
    shown: bytes = b""
    #: A look at the mail itself where there is no document; None with one, or where the mail is gone.
    head: Head | None = None
    #: In a fleet the node that accepted the mail, and the one that delivered it or tried to last; else "".
    accepted_by: str = ""
    delivered_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """The newest entries that fit, newest accepted first."""

    rows: tuple[Listed, ...]
    #: Continues the list as `EntryQuery.before`; "" at its end. A page may have fewer rows than asked for, or
    #: none, and go on all the same.
    more: str = ""
    #: When the last entry was accepted that was looked at, where the time was over before the page was full.
    stopped_at: datetime | None = None
    #: The entries whose subject and author were not compared with the words of a search, because they had no
    #: outcome yet and others were before them.
    unread: int = 0
