"""Addresses in the log, where the operator wants none of them: by their domain alone, or by a keyed hash.

Owns how an address is found in the value of a line, whoever put it there: a peer, Connect's error, an
exception. Addresses of the operator's own stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache

#: Replaces the addresses of a text.
Hide = Callable[[str], str]

#: What an atom may have (RFC 5322 §3.2.3, RFC 6532), within a set.
_ATEXT = r"\w.!#$%&'*+/=?^`{|}~-"
#: A local part of atoms or in quotes (RFC 5321 §4.1.2), and a domain or an address literal. Atoms begin where
#: no other ends, so that each is read once, however long it is.
_ADDRESS = re.compile(
    rf'(?P<local>"[^"\\\n]{{0,64}}"|(?<![{_ATEXT}])[{_ATEXT}]+)@'
    r"(?P<domain>\[[0-9A-Za-z.:]{1,64}\]|\w[\w.-]*)"
)
_KNOWN = 8_192


def build_hide(*, own: Collection[str], name: Callable[[str], str] | None) -> Hide:
    """The function that hides addresses but our `own`: each becomes its `name`, or without one `*@` and its
    domain.
    """
    kept = frozenset(address.lower() for address in own)

    @lru_cache(maxsize=_KNOWN)
    def replace(local: str, domain: str) -> str:
        host = domain.rstrip(".-")
        address = f"{local}@{host}"
        if address.lower() in kept:
            return f"{local}@{domain}"
        return (name(address) if name else f"*@{host}") + domain[len(host) :]

    def put(found: re.Match[str]) -> str:
        return replace(found["local"], found["domain"])

    def hide(text: str) -> str:
        return _ADDRESS.sub(put, text) if "@" in text else text

    return hide
