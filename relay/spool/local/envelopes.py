"""An envelope as a spool keeps it: one line of JSON, its keys the names of our fields.

Owns that form. What is read back is the same value; what is no such record is a ValueError, and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson

from relay.envelope import Envelope, ForwardPath, Peer


def build_envelope_json(envelope: Envelope) -> str:
    """The envelope as one line of JSON, the form in which a spool keeps it.

    Raises:
        ValueError: a text holds a lone surrogate, which no peer's octets become.
    """
    if envelope.received_at.tzinfo is not UTC:
        envelope = replace(envelope, received_at=envelope.received_at.astimezone(UTC))
    try:
        return orjson.dumps(envelope).decode()
    except TypeError as exc:
        raise ValueError(f"not to be written as JSON: {exc}") from exc


def parse_envelope_json(text: str) -> Envelope:
    """The envelope that `build_envelope_json` wrote.

    Raises:
        ValueError: the text is no such record (KeyError and TypeError are turned into it).
    """
    try:
        record = orjson.loads(text)
        return Envelope(
            reverse_path=record["reverse_path"],
            forward_paths=tuple(ForwardPath(**path) for path in record["forward_paths"]),
            peer=Peer(**record["peer"]),
            received_at=datetime.fromisoformat(record["received_at"]),
            smtputf8=record["smtputf8"],
            ret=record["ret"],
            envid=record["envid"],
            repairs=tuple(record["repairs"]),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not an envelope record: {exc!r}") from exc
