"""The records of a fleet's table: a mail, its entries, their guards and what the ledger keeps of them.

Owns what each of them knows (docs/fleet.md, "The table"); `relay.spool.fleet.encoding` turns them into items
and back. Never does I/O. Instants are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from relay.aws.values import Item, Value
from relay.envelope import Destination, Envelope, SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.fleet import tables
from relay.spool.ids import build_reference
from relay.spool.model import Entry, Event, State
from relay.spool.records import (
    from_microseconds,
)
from relay.vocabulary import Rung

_NOTHING: Final[Mapping[str, Value]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRecord:
    """An accepted mail, without its octets and its entries. Instants are microseconds since 1970."""

    spool_id: SpoolId
    envelope: Envelope
    results: Mapping[str, str]
    fingerprint: str
    message_id: str | None
    size: int
    trace_size: int
    #: SHA-256 of our own trace header; together with the fingerprint it covers all octets.
    trace_sha256: bytes
    #: Author and reverse-path in the form in which both are compared.
    author: str | None
    sender: str
    #: The number of its entries.
    entries: int
    accepted_at: int
    #: The node that accepted it.
    node: str
    #: The operation that wrote it.
    op: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """A request in S3."""

    #: The name that its object has, unlike any other.
    name: str
    size: int
    sha256: bytes
    #: When the URLs in it expire, in microseconds since 1970.
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """One entry of a mail. Instants are microseconds since 1970."""

    spool_id: SpoolId
    number: int
    destination: Destination
    state: State
    priority: int
    #: The network and the domain with which it takes turns.
    group: tuple[int, int]
    #: When it is due; once it is held or dead, since when.
    due_at: int
    accepted_at: int
    updated_at: int
    #: The operation that wrote it.
    op: str
    attempts: int = 0
    #: The epoch of the leader that leased it last, and its node.
    epoch: int = 0
    leader: str = ""
    cut_short: int = 0
    lease_until: int | None = None
    rung: Rung = Rung.FULL
    released: bool = False
    token: str | None = None
    sent_at: int | None = None
    in_doubt_since: int | None = None
    request: StoredRequest | None = None
    contact_id: str | None = None
    reason: str = ""
    detail: str = ""
    captured: Mapping[str, str] | None = None
    #: The instance of the last request that went out, or may have.
    asked_instance: str | None = None
    dropped_at: int | None = None
    history: tuple[Event, ...] = ()
    #: The attributes that this version does not know.
    rest: Item = field(default_factory=lambda: _NOTHING)

    @property
    def key(self) -> tables.Key:
        """The key in the table."""
        return tables.entry_key(self.spool_id, self.number)

    @property
    def reference(self) -> str:
        """The unique id, as commands print and take it."""
        return build_reference(self.spool_id, self.number)

    @property
    def queue(self) -> str | None:
        """The queue in which it stands. Returns None once it is finished."""
        match self.state:
            case State.QUEUED:
                return tables.queue_of(self.destination.route, self.priority)
            case State.LEASED:
                return tables.LEASED_QUEUE
            case State.HELD:
                return tables.HELD_QUEUE
            case State.DEAD:
                return tables.DEAD_QUEUE
            case State.DONE:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRecord:
    """The guard of some octets on their way to a destination: the newest mail that has them."""

    key: tables.Key
    spool_id: SpoolId
    number: int
    accepted_at: int
    #: The result of its DMARC check.
    dmarc: str
    #: When it may go, in seconds since 1970; DynamoDB removes it some hours after that.
    expires: int
    #: True if its peer has shown that it saw our 250.
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """The ledger's record of an entry. Instants are microseconds since 1970."""

    spool_id: SpoolId
    number: int
    destination: Destination
    message_id: str | None
    author: str | None
    sender: str
    #: The token under which it was sent; None if it was not.
    token: str | None
    contact_id: str | None
    accepted_at: int
    dropped_at: int | None
    #: As in a guard.
    expires: int
    #: The instance of the contact, where it is not that of the destination.
    asked_instance: str | None = None
    #: When its names were erased; None if they were not.
    erased_at: int | None = None


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)


def join(mail: MailRecord, entry: EntryRecord, *, request: bytes | None) -> Entry:
    """The entry as the interface has it, from its two records and its stored request.

    Raises:
        SpoolCorruptError: an instant is none.
    """
    try:
        return Entry(
            entry_id=entry.number,
            spool_id=entry.spool_id,
            destination=entry.destination,
            envelope=mail.envelope,
            results=mail.results,
            fingerprint=mail.fingerprint,
            message_id=mail.message_id,
            size=mail.size,
            trace_size=mail.trace_size,
            state=entry.state,
            attempts=entry.attempts,
            cut_short=entry.cut_short,
            next_attempt_at=from_microseconds(entry.due_at),
            lease_until=_instant(entry.lease_until),
            rung=entry.rung,
            released=entry.released,
            token=entry.token,
            sent=entry.sent_at is not None,
            in_doubt_since=_instant(entry.in_doubt_since),
            request=request,
            request_expires_at=_instant(entry.request.expires_at) if entry.request else None,
            contact_id=entry.contact_id,
            reason=entry.reason,
            detail=entry.detail,
            accepted_at=from_microseconds(entry.accepted_at),
            updated_at=from_microseconds(entry.updated_at),
            captured=entry.captured,
            asked_instance=entry.asked_instance,
        )
    except (OverflowError, ValueError) as exc:
        raise SpoolCorruptError(f"entry {entry.reference} cannot be read: {exc}") from exc
