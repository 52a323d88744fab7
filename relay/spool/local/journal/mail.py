"""A mail as a record of the journal, and back: all that its acceptance needs, in one line of JSON.

Owns the form of the facts. A mail with a file of its own is none of the journal's, and neither is one that an
operator puts into the spool: both go into the database at once. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from relay.envelope import Destination, SpoolId
from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.local.journal.record import MOST_FACTS_BYTES, Kind, Record
from relay.spool.model import PolicyHold, Submission
from relay.spool.records import build_envelope_json, from_microseconds, parse_envelope_json, to_microseconds

#: The form of the facts: a relay that does not know it leaves the record to a newer one.
_VERSION = 1


def build_mail(submission: Submission) -> Record:
    """The record of a mail whose octets are in memory.

    Raises:
        SpoolError: this mail cannot be stored: a text holds a lone surrogate, or there is too much beside it.
    """
    raw = submission.raw
    assert isinstance(raw, bytes)
    assert submission.action is None
    trace, mail = raw[: submission.trace_size], raw[submission.trace_size :]
    try:
        facts = orjson.dumps(
            {
                "version": _VERSION,
                "spool_id": submission.spool_id,
                "envelope": build_envelope_json(submission.envelope),
                "destinations": submission.destinations,
                "message_id": submission.message_id,
                "references": submission.references,
                "arrived_at": to_microseconds(submission.arrived_at or submission.envelope.received_at),
                "author": submission.author,
                "results": dict(submission.results),
                "holds": submission.holds,
                "first": submission.first,
            }
        )
    except (TypeError, ValueError) as exc:
        raise SpoolError(f"this mail cannot be stored: {exc}") from exc
    if len(facts) > MOST_FACTS_BYTES:
        raise SpoolError(f"this mail cannot be stored: {len(facts):,} octets of facts beside it")
    return Record(Kind.MAIL, facts, trace, mail, bytes.fromhex(submission.fingerprint))


def parse_mail(record: Record) -> Submission:
    """The mail of a record.

    Raises:
        SpoolCorruptError: a newer relay has written it, or no relay.
    """
    try:
        facts = orjson.loads(record.facts)
        if facts["version"] != _VERSION:
            raise SpoolCorruptError(
                f"the journal has a mail in the form {facts['version']}; ours is {_VERSION}"
            )
        return Submission(
            spool_id=SpoolId(facts["spool_id"]),
            envelope=parse_envelope_json(facts["envelope"]),
            destinations=tuple(
                Destination(**{**each, "forward_paths": tuple(each["forward_paths"])})
                for each in facts["destinations"]
            ),
            raw=record.trace + record.mail,
            size=len(record.trace) + len(record.mail),
            trace_size=len(record.trace),
            fingerprint=record.fingerprint.hex(),
            message_id=facts["message_id"],
            references=tuple(facts["references"]),
            arrived_at=from_microseconds(facts["arrived_at"]),
            author=facts["author"],
            results=facts["results"],
            holds=tuple(PolicyHold(**hold) for hold in facts["holds"]),
            first=tuple(facts["first"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise SpoolCorruptError(f"the journal has a mail that cannot be understood: {exc!r}") from exc


def build_confirmed(ids: Sequence[SpoolId]) -> Record:
    """The record that the peers of these mails have seen our 250."""
    return Record(Kind.CONFIRMED, orjson.dumps(list(ids)))


def parse_confirmed(record: Record) -> tuple[SpoolId, ...]:
    """The ids of such a record.

    Raises:
        SpoolCorruptError: no relay has written it.
    """
    try:
        return tuple(SpoolId(str(each)) for each in orjson.loads(record.facts))
    except (ValueError, TypeError) as exc:
        raise SpoolCorruptError(f"the journal has a record that cannot be understood: {exc!r}") from exc
