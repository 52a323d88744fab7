"""The filters and the words of the list, compared with an entry of a fleet.

Owns what fits. Never does I/O. `relay.spool.page` has the fields and the form of words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from relay.spool.fleet.listing import Found, paths_of, shown_reason
from relay.spool.fleet.rows import Described
from relay.spool.page import EntryQuery, fold

#: The least characters of an id that is found by its beginning.
_ID_CHARACTERS = 6


def fits(wanted: EntryQuery) -> Callable[[Found], bool]:
    """The test of what an entry says of itself."""

    def test(each: Found) -> bool:
        return (
            (not wanted.states or each.shown_state in wanted.states)
            and wanted.route in ("", each.entry.destination.route)
            and (wanted.routes is None or each.entry.destination.route in wanted.routes)
            and shown_reason(each).startswith(wanted.reason)
        )

    return test


def fits_shown(wanted: EntryQuery, row: Described) -> bool:
    """Returns whether class, risk and results fit: before the first outcome there are results alone."""
    if wanted.classification and row.classification != wanted.classification:
        return False
    if wanted.risk and f" risk={wanted.risk} " not in row.marks:
        return False
    results: Mapping[str, str] = row.found.mail.results if row.found.mail else {}
    for name, word in wanted.verdicts:
        found = f" {name}={word} " in row.marks if row.has_words else results.get(f"relay_{name}") == word
        if not found:
            return False
    return True


def fits_text(words: Sequence[str], row: Described, heads: Mapping[str, str]) -> bool:
    """Returns whether each word stands in the text of an entry, or the only one begins an id of it."""
    entry = row.found.entry
    may_be_id = len(words) == 1 and len(words[0]) >= _ID_CHARACTERS
    if may_be_id and any(
        fold(each).startswith(words[0]) for each in (entry.reference, entry.contact_id or "")
    ):
        return True
    text = row.words or _build_text(row.found, heads)
    return all(word in text for word in words)


def _build_text(found: Found, heads: Mapping[str, str]) -> str:
    """The text of an entry that no outcome has described: its addresses, and its header if it was read."""
    mail = found.mail
    if mail is None:
        return ""
    texts = (
        mail.author,
        mail.envelope.reverse_path,
        found.entry.destination.address,
        paths_of(found.entry),
        mail.message_id,
        heads.get(mail.spool_id),
    )
    return fold(" ".join(text for text in texts if text))
