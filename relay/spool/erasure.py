"""The values of an erasure: what the spool has of a person, what was removed, and what was left and why.

Never does I/O. Nothing here holds an address or a word of a mail, so all of it may be shown and logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.envelope import SpoolId
from relay.spool.model import State

#: What a person can do about a mail that is still owed.
_OWED = {
    State.QUEUED: "is queued: wait until it is delivered, or drop it first",
    State.LEASED: "is being delivered: wait",
    State.HELD: "is held: release or drop it first",
    State.DEAD: "is dead: retry or drop it first",
}
_SIBLING = "another entry of its mail is owed: see there"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """One destination of a mail, in the spool or in the ledger alone."""

    #: `Entry.reference`; the spool id where only the ledger knows of it.
    id: str
    #: The shown state; None where only the ledger knows of it.
    state: State | None
    address: str
    instance_id: str
    contact_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMail:
    """A mail of the person."""

    spool_id: SpoolId
    accepted_at: datetime
    #: The octets of the mail that the spool holds; 0 where it is gone.
    size: int
    entries: tuple[FoundEntry, ...]
    #: True if its names were erased before: what is outside of the spool may be there still.
    erased: bool = False
    #: The names of the attributes that handlers had set; none where only the ledger knows of the mail.
    attributes: tuple[str, ...] = ()

    @property
    def is_owed(self) -> bool:
        """Returns whether an entry is not finished, so that the mail stays."""
        return any(each.state not in {None, State.DONE} for each in self.entries)

    def tell_owed(self) -> tuple[tuple[str, str], ...]:
        """Each entry of a mail that stays, with the reason."""
        return tuple(
            (each.id, _OWED.get(each.state, _SIBLING) if each.state else _SIBLING) for each in self.entries
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPerson:
    """All that the spool has of a person, or of one mail."""

    #: The name by which the audit and the log speak of it: a keyed hash, or the id that was asked for.
    name: str
    #: Oldest first.
    mails: tuple[FoundMail, ...] = ()
    #: Rows of the audit that have the address in their words.
    audited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """The result of an erasure in the spool."""

    #: Mails that were removed, and records of the ledger whose names were.
    mails: int = 0
    records: int = 0
    #: Rows of the audit in which the name took the place of the address.
    audited: int = 0
    #: Rows of counts in which "other" took the place of a domain that only this person had.
    counted: int = 0
    #: Each entry that stays, with the reason.
    left: tuple[tuple[str, str], ...] = ()
    #: Sentences about what could not be overwritten yet.
    notes: tuple[str, ...] = ()
