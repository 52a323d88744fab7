"""A mail, its entries and its records of the ledger on their way from one spool into another.

Owns what moves: all that a backend knows of a mail, but the octets. Never does I/O. Instants are microseconds
since 1970, as the wall clock shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.envelope import Destination, Envelope, SpoolId
from relay.spool.model import Event, State
from relay.spool.page import Shown
from relay.vocabulary import Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedEntry:
    """An entry of a mail. None is leased: nobody has it under way while it moves."""

    #: The number that it had in the spool from which it comes.
    number: int
    destination: Destination
    state: State
    priority: int
    group: tuple[int, int]
    due_at: int
    accepted_at: int
    updated_at: int
    attempts: int
    cut_short: int
    rung: Rung
    released: bool
    token: str | None
    sent_at: int | None
    in_doubt_since: int | None
    request: bytes | None = field(repr=False)
    request_expires_at: int | None
    contact_id: str | None
    reason: str
    detail: str
    captured: Mapping[str, str] | None
    #: As in `Entry`.
    asked_instance: str | None
    dropped_at: int | None
    history: tuple[Event, ...]
    shown: Shown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedRecord:
    """A record of the ledger."""

    spool_id: SpoolId
    #: The number of its entry; one below zero if that is gone.
    number: int
    fingerprint: str
    destination: Destination
    message_id: str | None
    confirmed: bool
    token: str | None
    contact_id: str | None
    #: The instance that was asked, where it is not that of the destination.
    asked_instance: str | None
    accepted_at: int
    dropped_at: int | None
    author: str | None
    sender: str
    dmarc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedMail:
    """A mail with its entries and with what the ledger knows of them."""

    spool_id: SpoolId
    envelope: Envelope
    results: Mapping[str, str]
    fingerprint: str
    message_id: str | None
    size: int
    trace_size: int
    trace_sha256: bytes
    author: str | None
    sender: str
    accepted_at: int
    #: True if its peer has shown that it saw our 250.
    confirmed: bool
    #: True if its octets go with its last unfinished entry.
    is_forgotten: bool
    #: True if they are gone.
    is_gone: bool
    entries: tuple[MovedEntry, ...]
    records: tuple[MovedRecord, ...]


class Left(NamedTuple):
    """A mail that stays where it is, and why."""

    spool_id: str
    why: str


@dataclass(slots=True, kw_only=True)
class Move:
    """The facts of a move, as it goes on."""

    mails: int = 0
    #: Entries that are not finished, among those mails.
    owed: int = 0
    #: Mails that were there already: of a move that was cut short after its last word, for example.
    known: int = 0
    #: Records of the ledger of mails that are gone.
    records: int = 0
    left: list[Left] = field(default_factory=list)
