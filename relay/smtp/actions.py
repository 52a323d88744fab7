"""Actions: the steps that a session decides on, for the protocol to carry out.

Owns these values only. Each of them takes something that a session never touches: a socket, a thread, or
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relay.logins.users import Credentials
from relay.vocabulary import Reply


@dataclass(frozen=True, slots=True)
class Hangup:
    """An order to say this reply as the last word, and then to close."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Delayed:
    """A reply that is held back for some seconds: guessing is made slow."""

    reply: Reply
    seconds: float


@dataclass(frozen=True, slots=True)
class StartTls:
    """An order to begin TLS. Commands pipelined behind STARTTLS are discarded."""


@dataclass(frozen=True, slots=True)
class StartData:
    """An order to read a mail up to its final dot."""


@dataclass(frozen=True, slots=True)
class StartChunk:
    """An order to read so many octets. With a `refusal` they are dropped, and then it is said."""

    size: int
    last: bool
    refusal: Reply | None


@dataclass(frozen=True, slots=True)
class AskHandlers:
    """An order to ask the operator's handlers about a command that is fine by us: MAIL or RCPT."""

    command: Literal["MAIL", "RCPT"]


#: A reply, several lines ready for the wire, a password to be checked, or one of the orders above.
Answer = Reply | bytes | Credentials | Hangup | Delayed | StartTls | StartData | StartChunk | AskHandlers
