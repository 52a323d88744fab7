"""Address patterns of an operator: a whole address, a domain, a local part, or a part of an address.

Owns the rule and the comparison, without case in any script. Never does I/O. Local parts are compared without
case, as routes compare them: RFC 5321 §2.4 leaves that to the receiver.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable

from relay.domains import normalise_domain, strip_brackets

Fits = Callable[[str], bool]

#: What a local part may have beside letters and digits (RFC 5322 §3.2.3, atext), within a set of a pattern.
_ATEXT = r"\w.!#$%&'*+/=?^`{|}~-"


def _fold(text: str) -> str:
    """The text in one form for all ways of writing the same letters (RFC 6532 §3.1 asks for NFC, but not
    everybody sends it).
    """
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).lower()


def _fold_address(address: str) -> str:
    """An address in that form. Its domain may be written in two ways: `bücher.example` is
    `xn--bcher-kva.example`.
    """
    local, at, domain = address.rpartition("@")
    return f"{_fold(local)}{at}{normalise_domain(domain)}" if at else _fold(address)


def whole_address(text: str) -> str:
    """A whole address in the form in which addresses are compared."""
    return _fold_address(strip_brackets(text))


def is_whole(text: str) -> bool:
    """Returns whether it may be a whole address: it has a local part and a domain."""
    local, _, domain = whole_address(text).rpartition("@")
    return bool(local and domain)


def name_pattern(address: str) -> re.Pattern[str]:
    """The pattern that finds a whole address in a text, in any case, but not within a longer one."""
    address = strip_brackets(address)
    forms = "|".join(sorted({re.escape(address), re.escape(whole_address(address))}))
    return re.compile(rf"(?<![{_ATEXT}])(?:{forms})(?![\w-])(?!\.\w)", re.IGNORECASE)


def equals(text: str) -> Fits:
    """A test for one whole address."""
    wanted = _fold_address(strip_brackets(text))
    return lambda address: _fold_address(address) == wanted


def parse_pattern(text: str) -> Fits:
    """A test for the addresses that a pattern means: `a@b` an address, `@b` its domain, `a@` its local part,
    `a` a part of it.
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
    """The test as a function of SQLite over a reverse-path. The null reverse-path fits no pattern."""
    return lambda reverse_path: isinstance(reverse_path, str) and fits(reverse_path)


def fits_recipient(fits: Fits) -> Callable[..., bool]:
    """The test as a function of SQLite over a destination and the forward-paths that led to it, a
    JSON list.
    """

    def fits_any(address: object, forward_paths: object) -> bool:
        if isinstance(address, str) and fits(address):
            return True
        try:
            paths = json.loads(forward_paths) if isinstance(forward_paths, str) else None
        except ValueError:  # a spoiled row fits no pattern, and does not stop the list
            return False
        return isinstance(paths, list) and any(isinstance(path, str) and fits(path) for path in paths)

    return fits_any
