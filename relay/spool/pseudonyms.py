"""Names in place of addresses: keyed hashes, by which a person is found again, and not read.

Owns their form, `hmac-` and 32 hexadecimal digits (128 bits of HMAC-SHA256, RFC 2104). Without the key nobody
can try addresses against them. `relay.spool.local.key` and the table of a fleet keep the key. Never does I/O.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Final

from relay.spool.duplicates import Likeness
from relay.spool.patterns import whole_address

KEY_BYTES: Final = 32
_DIGITS: Final = 32
_FORM = re.compile(rf"hmac-[0-9a-f]{{{_DIGITS}}}")

#: Gives the key; None where there is none, so that no name was ever made.
FindKey = Callable[[], bytes | None]


def name_address(key: bytes, address: str) -> str:
    """The name of an address, however it is written (`relay.spool.patterns`)."""
    return _name(key, "address", whole_address(address))


def is_name(text: str) -> bool:
    """Returns whether a word has the form of such a name."""
    return _FORM.fullmatch(text) is not None


def hide_words(key: bytes, text: str | None) -> str | None:
    """Words that are only ever compared, to the letter. None and "" hide nothing, and stay."""
    return _name(key, "words", text) if text else text


def hide_likeness(key: bytes, mail: Likeness) -> Likeness:
    """The facts of a mail as an erased record keeps them, so that the two can be compared."""
    return replace(mail, sender=hide_words(key, mail.sender), tag=hide_words(key, mail.tag))


def _name(key: bytes, kind: str, text: str) -> str:
    digest = hmac.new(key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), sha256).hexdigest()
    return f"hmac-{digest[:_DIGITS]}"
