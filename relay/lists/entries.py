"""The entries of a list of senders: how a line is read, and the entries by which an address is found.

Owns the three forms: an address, `@domain` for all of one domain, `.domain` for that domain and all below it.
Addresses are compared as everywhere (`relay.domains`): without case, and in A-labels. An address is found by
looking up the few entries that could name it, so the length of a list does not count. Never reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from relay.domains import normalise_address, normalise_domain

#: RFC 5321 §4.5.3.1: 64 octets, an "@", 255 octets; in Unicode an address has no more characters.
_LONGEST = 320
#: Labels of a domain: 255 octets hold 127 of them (RFC 1035 §2.3.4).
_MOST_LABELS = 127
_COMMENT = re.compile(r"(?:^|\s)#.*$", re.DOTALL)
_DOMAIN = re.compile(r"[^\s@.,;:<>()\"\\]+(?:\.[^\s@.,;:<>()\"\\]+)*")
#: Characters that no address has: they would be shown in place of others.
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class EntryError(ValueError):
    """A line that is no entry; the message says what would be right."""


def read_entry(text: str) -> str:
    """The one form of an entry.

    Raises:
        EntryError: the text is none.
    """
    text = text.strip()
    if len(text) > _LONGEST or _HIDDEN.search(text):
        raise EntryError("is no entry; write an address, @domain or .domain")
    if text.startswith("."):
        return f".{_read_domain(text[1:])}"
    local, at, domain = text.rpartition("@")
    if not at or (local and any(c.isspace() for c in local) and not local.startswith('"')):
        raise EntryError("is no entry; write an address, @domain or .domain")
    return normalise_address(f"{local}@{_read_domain(domain)}")


def _read_domain(domain: str) -> str:
    domain = domain.rstrip(".")
    is_literal = domain.startswith("[") and domain.endswith("]")
    if not is_literal and not _DOMAIN.fullmatch(domain):
        raise EntryError("has no domain behind it; write an address, @domain or .domain")
    return normalise_domain(domain)


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, str | EntryError]]:
    """The entries of a file, each with the number of its line; for a line that is none, the error.

    Empty lines have none, nor does what follows a "#" at the beginning of a line or behind a blank.
    """
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            yield number, EntryError("is not UTF-8; write the list in UTF-8")
            continue
        text = _COMMENT.sub("", text).strip() if "#" in text else text.strip()
        if not text:
            continue
        try:
            entry: str | EntryError = read_entry(text)
        except EntryError as exc:
            entry = exc
        yield number, entry


def list_candidates(address: str) -> tuple[str, ...]:
    """The entries that name an address: itself, its domain, and that domain and all above it with a dot.

    Of more labels than a name of DNS can have, the last ones count. Returns none for what has no domain.
    """
    local, at, domain = address.strip().rpartition("@")
    domain = normalise_domain(domain.rstrip("."))
    if not at or not domain:
        return ()
    found = [f"@{domain}"] if not local else [normalise_address(f"{local}@{domain}"), f"@{domain}"]
    labels = domain.split(".")
    above = (".".join(labels[step:]) for step in range(max(0, len(labels) - _MOST_LABELS), len(labels)))
    return (*found, *(f".{each}" for each in above))


def is_on(address: str, entries: AbstractSet[str]) -> bool:
    """Returns whether an entry names this address."""
    return any(candidate in entries for candidate in list_candidates(address))
