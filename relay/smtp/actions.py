"""Answers: what a session may decide, for the protocol to carry out.

Owns these values only; what each of them takes (a socket, a thread, time) is the protocol's.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.smtp.auth import Credentials
from relay.vocabulary import Reply


@dataclass(frozen=True, slots=True)
class Hangup:
    """Say this, then close."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Delayed:
    """Say this, but not at once: whoever guesses has time."""

    reply: Reply
    seconds: float


@dataclass(frozen=True, slots=True)
class StartTls:
    """Begin TLS, with whatever was pipelined behind it forgotten."""


@dataclass(frozen=True, slots=True)
class StartData:
    """Read a mail up to its dot."""


@dataclass(frozen=True, slots=True)
class StartChunk:
    """Read so many octets; drop them when `refusal` is not None, and then say that."""

    size: int
    last: bool
    refusal: Reply | None


#: One reply, several lines ready for the wire, a password to be checked, or one of the above.
Answer = Reply | bytes | Credentials | Hangup | Delayed | StartTls | StartData | StartChunk
