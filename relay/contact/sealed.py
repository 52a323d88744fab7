"""The encrypted content of a mail, which only its recipient's key can open.

Owns the look for such content, and the sentence that stands in its place. Never decrypts, never does I/O
beyond reading the first octets of the parts. Follows RFC 8551 §3.3 (S/MIME), RFC 3156 §4 (PGP/MIME) and RFC
9580 §6.2.
"""

from __future__ import annotations

from itertools import islice

from relay.message.model import Message, Part
from relay.message.smime import is_sealed

ENCRYPTED = (
    "This mail is encrypted. It can only be read with the key of the person it was encrypted for; please ask the "
    "customer to send it again without encryption.\n"
)
_TYPES = frozenset({"application/pgp-encrypted", "application/x-microsoft-rpmsg-message"})
_ARMOUR = b"-----BEGIN PGP MESSAGE-----"
_ARMOUR_END = "-----END PGP MESSAGE-----"
_MOST = 100


def find_sealed(message: Message) -> Part | None:
    """The part of a mail that holds its encrypted content. Returns None when there is none."""
    return next(filter(_is_sealed, islice(message.attachments, _MOST)), None)


def is_sealed_text(text: str) -> bool:
    """Returns whether a text is one encrypted block and nothing else, as programs without MIME write it."""
    text = text.strip()
    return text.startswith(_ARMOUR.decode()) and text.endswith(_ARMOUR_END)


def _is_sealed(part: Part) -> bool:
    if part.content_type in _TYPES:
        return True
    front = part.look()
    return is_sealed(front) or front.lstrip().startswith(_ARMOUR)
