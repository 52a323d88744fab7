"""The tag list: "v=1; a=rsa-sha256; …", the form of signatures, of key records and of policy records.

Owns the tags and the white space around and within their values. Never judges a value. RFC 6376 §3.2, read
for octets above 0x7F, too (RFC 8616). Linear in the octets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*+")
_BLANK = b" \t\r\n"
#: FWS, once the field is known to be one: white space with the line ends of its folds.
_BLANKS = re.compile(rb"[ \t\r\n]++")
#: Tags of a list; the RFCs know eighteen.
MOST_TAGS = 100
#: Octets that a list may have: all but controls (RFC 6376 §3.2, VALCHAR and FWS).
_FIT = bytes(octet for octet in range(256) if (octet >= 32 and octet != 127) or octet in _BLANK)


def parse_tags(octets: bytes) -> Mapping[bytes, bytes] | None:
    """The values by the names of a tag list, without the white space around them.

    Names have case. Returns None where the list is none: a name that is no name or stands twice, a part
    without "=", a control character, over a hundred tags. A semicolon may end the list (RFC 6376 §3.2).
    """
    parts = octets.split(b";", MOST_TAGS + 1)
    if len(parts) > MOST_TAGS + 1 or octets.translate(None, _FIT):
        return None
    if not parts[-1].strip(_BLANK):
        parts.pop()
    tags: dict[bytes, bytes] = {}
    for part in parts:
        name, equals, value = part.partition(b"=")
        name = name.strip(_BLANK)
        if not equals or _NAME.fullmatch(name) is None or name in tags:
            return None
        tags[name] = value.strip(_BLANK)
    return tags


def remove_blanks(value: bytes) -> bytes:
    """The value without any white space: base64 may be folded anywhere (RFC 6376 §2.10)."""
    return _BLANKS.sub(b"", value)


def split_colons(value: bytes) -> tuple[bytes, ...]:
    """The items of a list with colons, without the white space around them."""
    return tuple(item.strip(_BLANK) for item in value.split(b":"))


def empty_value(octets: bytes, name: bytes) -> bytes:
    """The octets of a tag list with the value of one tag deleted, and the white space around that value.

    All else stays as it is, folds among it: so a signature is hashed without itself (RFC 6376 §3.7).
    """
    parts = octets.split(b";")
    for at, part in enumerate(parts):
        written, equals, _ = part.partition(b"=")
        if equals and written.strip(_BLANK) == name:
            parts[at] = written + equals
            break
    return b";".join(parts)
