"""An event of a session, as a transcript shows it, and its form as one line of JSON.

Owns which events there are. Secrets and the content of mails are left out before an event is made. Values in,
values out; what is no event's line raises ValueError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

#: Characters of a line; what is longer is cut. The longest path of RFC 5321 §4.5.3.1 leaves room for its
#: parameters.
LINE_CHARACTERS = 1_000


class Direction(StrEnum):
    """The kind of an event: who spoke, or what happened."""

    #: The session began; it may have begun before anybody listened.
    OPENED = "opened"
    #: The peer spoke.
    IN = "in"
    #: We spoke.
    OUT = "out"
    #: The peer sent octets of a mail: their number stands for them.
    CONTENT = "content"
    #: TLS is up, or its handshake failed.
    TLS = "tls"
    #: The session ended; the line says why.
    CLOSED = "closed"
    #: Events were left out for this reader; the line says how many, and why.
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """One line of a transcript."""

    #: The name of the session among all of this machine; "" where the event is of none.
    session: str
    at: datetime
    direction: Direction
    #: The line without its end, secrets replaced by their length in brackets. A peer's characters may be in
    #: it.
    line: str
    #: The address of the peer.
    peer: str = ""
    #: The address of our listener.
    listener: str = ""
    #: The protocol and cipher of the session's TLS; "" in clear.
    tls: str = ""
    #: Seconds since the session began.
    seconds: float = 0.0


def encode(event: SessionEvent) -> bytes:
    """An event as one line of JSON, its line end included; `at` is in RFC 3339, in UTC."""
    record = {
        "session": event.session,
        "at": event.at,
        "direction": event.direction,
        "line": event.line,
        "peer": event.peer,
        "listener": event.listener,
        "tls": event.tls,
        "seconds": event.seconds,
    }
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # halves of surrogate pairs, which UTF-8 does not have
        return json.dumps({**record, "at": event.at.isoformat()}).encode() + b"\n"


def decode(line: bytes) -> SessionEvent:
    """The event that `encode` wrote.

    Raises:
        ValueError: the line is no event.
    """
    record: Any = orjson.loads(line)
    try:
        return SessionEvent(
            session=str(record["session"]),
            at=datetime.fromisoformat(record["at"]).astimezone(UTC),
            direction=Direction(record["direction"]),
            line=str(record["line"]),
            peer=str(record["peer"]),
            listener=str(record["listener"]),
            tls=str(record["tls"]),
            seconds=float(record["seconds"]),
        )
    except (KeyError, TypeError, IndexError, OverflowError) as exc:
        raise ValueError(f"no event of a session: {exc!r}") from exc
