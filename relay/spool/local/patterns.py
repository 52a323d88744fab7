"""What an operator means by an address: all of it, its domain, its local part, or some letters of it.

Owns the rule and the comparison, without case in any script. Never does I/O. Local parts are compared without
case as routes compare them: RFC 5321 §2.4 leaves that to the receiver.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

from relay.domains import normalise_domain, strip_brackets

Fits = Callable[[str], bool]


def _fold(text: str) -> str:
    """One form for all ways of writing the same letters (RFC 6532 §3.1 asks for NFC, and not all obey)."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).lower()


def _fold_address(address: str) -> str:
    """The same of an address, whose domain may be written in two ways: `bücher.example` is
    `xn--bcher-kva.example`.
    """
    local, at, domain = address.rpartition("@")
    return f"{_fold(local)}{at}{normalise_domain(domain)}" if at else _fold(address)


def equals(text: str) -> Fits:
    """Whether an address is this one."""
    wanted = _fold_address(strip_brackets(text))
    return lambda address: _fold_address(address) == wanted


def parse_pattern(text: str) -> Fits:
    """Whether an address fits: `a@b` is all of it, `@b` its domain, `a@` its local part, and `a` a part of
    it.
    """
    text = strip_brackets(text)
    if "@" not in text:
        part = _fold(text)
        return lambda address: part in _fold(address)
    wanted = _fold_address(text)
    local, _, domain = wanted.rpartition("@")
    if not local:
        return lambda address: _fold_address(address).endswith(wanted)
    if not domain:
        return lambda address: _fold(address).rpartition("@")[0] == local
    return lambda address: _fold_address(address) == wanted


def fits_sender(fits: Fits) -> Callable[..., bool]:
    """The rule as SQLite asks it of a reverse-path; the null one fits nothing."""
    return lambda reverse_path: isinstance(reverse_path, str) and fits(reverse_path)


def fits_recipient(fits: Fits) -> Callable[..., bool]:
    """The rule as SQLite asks it of a destination and of the forward-paths that led to it, a JSON list."""

    def fits_any(address: object, forward_paths: object) -> bool:
        if isinstance(address, str) and fits(address):
            return True
        try:
            paths = json.loads(forward_paths) if isinstance(forward_paths, str) else None
        except ValueError:  # a spoiled row fits nothing, and stops no list
            return False
        return isinstance(paths, list) and any(isinstance(path, str) and fits(path) for path in paths)

    return fits_any
