"""The form in which every backend keeps instants and envelopes: whole microseconds, and a line of JSON whose
keys are the names of our fields.

Never does I/O. An envelope that cannot be read is a ValueError.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from relay.envelope import Envelope, ForwardPath, Peer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3_600_000_000
_LONGEST = 1 << 62


def hours_in_microseconds(hours: float) -> int:
    """A span of hours as rows count time: at most what SQLite's integers hold beside an instant."""
    return int(min(hours * _HOUR, _LONGEST))


def to_microseconds(at: datetime) -> int:
    """An aware instant in the form in which a row keeps it."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """The instant that a row holds."""
    return _EPOCH + timedelta(microseconds=count)


#: One line of JSON.
build_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def build_envelope_json(envelope: Envelope) -> str:
    """The envelope as one line of JSON, as a row keeps it.

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
            # Missing in the records of earlier versions.
            attributes=tuple((str(name), str(value)) for name, value in record.get("attributes", ())),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not an envelope record: {exc!r}") from exc
