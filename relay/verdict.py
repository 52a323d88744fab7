"""What policy concludes of a transaction, and the reply that says so to the peer.

Owns the words *reply*, *disposition* and *verdict*. Never does I/O. Follows RFC 5321 §4.2 (replies) and
RFC 3463 (enhanced status codes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One SMTP reply; the class digit of the enhanced code comes from `code`, so the two cannot disagree."""

    #: Three digits, RFC 5321 §4.2.1.
    code: int
    #: "subject.detail" of RFC 3463, without the class; empty where none is allowed (220, 250 to HELO/EHLO, 334, 354).
    status: str
    #: Short and generic, ASCII, for the peer's eyes: never a path, bucket, ARN or exception text.
    text: str

    @property
    def enhanced(self) -> str:
        """The whole enhanced status code, as in "5.1.1", or the empty string."""
        return f"{self.code // 100}.{self.status}" if self.status else ""

    @property
    def positive(self) -> bool:
        """Whether the peer was told yes."""
        return self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.status else f"{self.code} {self.text}"


class Disposition(StrEnum):
    """What becomes of a mail at the door."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REJECT = "reject"


class Classification(StrEnum):
    """Who, or what, wrote a mail (RFC 3834 and the habits of the field)."""

    HUMAN = "human"
    AUTO_REPLY = "auto-reply"
    BOUNCE = "bounce"
    LIST = "list"
    BULK = "bulk"
