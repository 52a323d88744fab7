"""XCLIENT and XFORWARD: the attributes by which a listed front-end describes the client for which it speaks.

Owns the attributes of these commands of Postfix (its README files are the specification). Values in, values
out.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from relay.networks import normalise_address

_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*")
_HEX = re.compile(rb"\+([0-9A-Fa-f]{2})")
_BOTH = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO"})
#: The attributes of each command.
XCLIENT = _BOTH | {"LOGIN", "DESTADDR", "DESTPORT", "REVERSE_NAME"}
XFORWARD = _BOTH | {"IDENT", "SOURCE"}
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Xclient:
    """The attributes of a client. None stands where the front-end said nothing or did not know."""

    address: str | None = None
    port: int | None = None
    login: str | None = None
    helo: str | None = None


def parse_xclient(argument: bytes, names: AbstractSet[str] = XCLIENT) -> Xclient | None:
    """The attributes, of which `names` are known. Returns None when one is malformed or unknown, or there is
    none.
    """
    words = argument.split()
    if not words:
        return None
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition(b"=")
        key = name.upper().decode("ascii", "replace")
        if not equals or key not in names or not _XTEXT.fullmatch(value):
            return None
        plain = _HEX.sub(lambda match: bytes([int(match[1], 16)]), value)
        text = plain.decode("utf-8", "replace")
        if not text.isprintable():
            return None
        if text.upper() not in _UNKNOWN:
            values[key] = text
    address, port = values.get("ADDR"), values.get("PORT")
    try:
        if address is not None:
            address = normalise_address(address.lower().removeprefix("ipv6:"))
    except ValueError:
        return None
    if port is not None and not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65_536):
        return None
    return Xclient(
        address=address,
        port=int(port) if port is not None else None,
        login=values.get("LOGIN"),
        helo=values["HELO"][:255] if "HELO" in values else None,
    )
