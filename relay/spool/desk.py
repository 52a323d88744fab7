"""The operator's view of the spool (`Desk`), the third part of the interface of every backend.

Owns the questions and changes of commands and of the alarms' watch. They work while the daemon runs and
while it does not. The two halves of the relay use `relay.spool.interface`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from relay.envelope import SpoolId
from relay.errors import SpoolError
from relay.spool.action import Action
from relay.spool.archive import BackedUp, Progress
from relay.spool.audit import Audited, AuditFilter, Stage
from relay.spool.change import Changed, Target
from relay.spool.erasure import Erased, FoundPerson
from relay.spool.model import (
    Backlog,
    Bulk,
    DayCount,
    Entry,
    Event,
    Filter,
    Paused,
    PolicyCount,
    Remembered,
    State,
    Submission,
)
from relay.spool.nodes import Beat
from relay.spool.page import EntryPage, EntryQuery, Listed

#: A day after every day.
LAST_DAY = "9999-12-31"


class Desk(Protocol):
    """The operator's view of the spool: works while the daemon runs and while it does not. Calls block.

    The spool of an older relay can be read as it is; each change of it raises SpoolOlderError: the daemon
    brings it up to date when it starts. Instants are the wall clock's, as it showed them or shows them now;
    where a person asks for ages (`oldest_at`, `aside`, `holds_after`, `originals`, `backlog`) they are those
    of the spool's clock (`now`). An id is a spool id (all its entries) or `Entry.reference` (one of
    them). An entry that is queued on a route held by an error of configuration is stored as queued, and shown
    as held: `Entry.shown_state`.

    A change with an `action` writes its row of the audit in the transaction that makes it: the action was
    done exactly if a row says so. What is done outside of the spool, and each look at the content of a mail,
    is noted by `note_action`.
    """

    def now(self) -> datetime:
        """The present instant by the spool's clock."""

    def clock_step_seconds(self) -> float:
        """The step of the wall clock that is doubted, in seconds, negative when back; 0.0 if none is."""

    def select(self, wanted: Filter) -> Sequence[Entry]:
        """The entries that fit, oldest accepted first; without their requests unless chosen by id."""

    def retry(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        """Make queued, held or dead entries due now.

        An entry that has been in doubt for too long (`relay.spool.doubt`) is changed only if a person has
        `agreed` to a second contact: then it is in doubt from now on.
        """

    def hold(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        """Hold queued entries."""

    def release(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        """Make held entries due now, also those that only their route holds; doubt is as in `retry`."""

    def reroute(
        self,
        ids: Sequence[str],
        target: Target,
        *,
        now: datetime,
        agreed: bool = False,
        action: Action | None = None,
    ) -> Changed:
        """Make queued, held or dead entries due now by another route, under a new token, to its destination,
        else to their first forward-path. A retransmission of the mail stays one.

        An entry in doubt, however long, is changed only if a person has `agreed` to a second contact; one
        whose mail goes there already is not (`Left.twin`).
        """

    def drop(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        """Remove entries that are not under way for good, and the raw mail with the last of them.

        Some hundreds are removed at a time; their octets are overwritten. An unfinished one may be sent again
        by its sender and is then no duplicate; of a finished one the ledger still knows the contact.
        """

    def others(self, submission: Submission) -> Sequence[SpoolId]:
        """The mails with the octets and a destination of this one, of which it would be no retransmission.

        They are in the spool or in its ledger, and none was dropped: this mail would be a second contact.
        """

    def unknown(self, ids: Sequence[str]) -> Sequence[str]:
        """Those of the given ids that name no entry."""

    def export(self, word: str) -> bytes | None:
        """The raw mail that an id names, our trace header included. Returns None if no entry has the id."""

    def trace(self, word: str, *, limit: int = 1_000) -> Sequence[Entry]:
        """The newest entries that a Message-ID, spool id, contact id or address names, oldest first.

        An address is meant as in `Filter`; without "@" it is a whole address.
        """

    def history(self, entry: Entry) -> Sequence[Event]:
        """The events of an entry, oldest first; only the last of them if there were many."""

    def remembered(self, word: str, *, limit: int = 1_000) -> Sequence[Remembered]:
        """The newest records of the ledger for a Message-ID, spool id, contact id or whole address, oldest
        first.
        """

    def find_person(self, word: str) -> FoundPerson:
        """All that there is of whom a whole address means (who wrote from it: as author or reverse-path), or
        of one mail, by its spool id or contact id; also what was erased before, by address or name.
        """

    def name_address(self, address: str) -> str:
        """The name (`relay.spool.pseudonyms`) of an address; the key is made if there is none."""

    def erase(self, found: FoundPerson, *, address: str = "", now: datetime, compact: bool = False) -> Erased:
        """Remove the mails that were found, but those of which an entry is owed, and hide the names in their
        records; with an `address`, in the audit and the counts, too. The caller notes it in the audit, before
        and after it.

        A record keeps what a retransmission is known by, until the window of duplicates ends. `compact`: the
        database is written anew if its free space still holds what was removed, however long that takes.

        Raises:
            SpoolError: it was not done, or in part; it can be repeated.
        """

    def counts(self) -> Mapping[State, int]:
        """The number of entries stored in each state. A state that the backend cannot count is left out."""

    def tally(self, wanted: Filter) -> Mapping[State, int]:
        """The number of entries that fit, by `Entry.shown_state`, whatever the limit. A state that
        the backend cannot count is left out, as in `counts`.
        """

    def aside(self) -> Mapping[State, tuple[int, datetime | None]]:
        """The number of entries stored as held and as dead, and the instants of the last of each."""

    def holds_after(self, after: datetime | None, *, limit: int) -> Sequence[tuple[datetime, str]]:
        """The instants and the reasons of the entries stored as held that came to be so after then, the
        earliest first.
        """

    def originals(self, *, reasons: Sequence[str], since: datetime) -> tuple[int, datetime | None]:
        """The number of entries that began the rung `original` since then for one of these reasons, and when
        the last did.
        """

    def page(self, wanted: EntryQuery) -> EntryPage:
        """The entries of all states that fit, newest accepted first, each with what is shown of it.

        Pages follow each other by `EntryPage.more`, also while mail comes: an entry stands in one of them
        only. A page ends after `EntryQuery.seconds` with what was found by then. Reads the header of a mail
        that has had no outcome, those of a bounded number.
        """

    def listed(self, ids: Sequence[str]) -> Sequence[Listed]:
        """The entries that these ids name as a page has them, newest accepted first; at most 100."""

    def thread(self, message_ids: Sequence[str], *, contact_id: str = "", limit: int) -> Sequence[Listed]:
        """The newest entries of finished mails with these Message-IDs, and that of a contact, as a page has
        them, newest accepted first.
        """

    def accepted(self, *, since: datetime) -> int:
        """The number of mails of the spool that were accepted since this instant of its clock; at most a
        million are counted, in a fleet a thousand, and none while S3 is away.
        """

    def reasons(self) -> Mapping[State, Mapping[str, int]]:
        """The numbers of unfinished entries by `Entry.shown_state` and by the word of `Entry.shown_reason`;
        those without a reason are left out.
        """

    def contacts(self, *, since: datetime) -> int:
        """The number of entries that became contacts since this instant of the spool's clock; at most
        100,000 are counted.
        """

    def version(self) -> str:
        """A mark of the spool as it is: another one than before if anybody has changed it meanwhile. Cheap.
        Only marks of one desk can be compared.
        """

    def look_seconds(self) -> float:
        """Seconds between two looks by `version` of somebody who waits for a change, by what one costs."""
        return 0.4

    def unlooked(self) -> str:
        """The part of the spool that the last `select`, `tally` or `trace` did not look at, as a sentence; ""
        if it looked at everything.
        """
        return ""

    def policy_counts(self, *, since: str, until: str = LAST_DAY) -> Sequence[PolicyCount]:
        """The counts of the days from that one on ("2026-11-29", in UTC), the largest first; `day` is ""."""

    def day_counts(self, *, since: str, until: str = LAST_DAY) -> Sequence[DayCount]:
        """The counts of what happened on those days, by name, the largest first; `day` is ""."""

    def routes(self) -> Sequence[str]:
        """The names of the routes of all entries, finished ones too. Costs a walk over all entries."""

    def attended(self) -> bool:
        """Look for a daemon. Returns whether one delivers from this spool or is about to; True also if that
        cannot be known.
        """

    def disk_full(self) -> bool:
        """Look at the reserve. Returns whether the disk is full: mail is delivered, and none is accepted
        until there is room again.
        """

    def bulk(self) -> Bulk:
        """The size of the database's log, and the number of the ledger's records."""

    def oldest_at(self) -> datetime | None:
        """The acceptance of the first entry queued, leased, or held by anything but a rule of the policy
        (`BY_POLICY`). Returns None if there is none.
        """

    def held_by_policy(self) -> int:
        """The number of entries stored as held that a rule of the policy holds (`BY_POLICY`)."""

    def backlog(self, *, limits: Sequence[timedelta], now: datetime) -> Sequence[Backlog]:
        """The age histogram of each route with undelivered entries, by name of the route. Costs a walk over
        all of them.
        """

    def pause(self, subject: str, *, now: datetime, action: Action | None = None) -> bool:
        """Stop "intake", "delivery" or "route NAME". Returns whether it was running before."""

    def resume(self, subject: str, *, action: Action | None = None) -> bool:
        """End a pause, and a route's hold by an error, too; "clock" trusts the wall clock as it is. Returns
        whether the subject was stopped, or the clock doubted, before.
        """

    def switch(
        self, route: str, *, standby: bool, leaving: str, now: datetime, action: Action | None = None
    ) -> bool:
        """Lead a route to its standby, or back to its own instance; `leaving` is the instance that it led to.
        Returns whether it led elsewhere before.

        Mail of which no request is in doubt goes to the other instance, at once; what is in doubt stays with
        the instance of its request until that is settled. A hold of the route by an error ends.
        """

    def feed(self) -> tuple[int, int]:
        """The number of events that wait to be told, and of those that were given up."""

    def retry_feed(self, *, action: Action | None = None) -> int:
        """Make the events due that were given up. Returns how many there are."""

    def note_action(
        self,
        action: Action,
        *,
        stage: Stage = Stage.DONE,
        counts: Mapping[str, int] | None = None,
        detail: str = "",
        begun: int | None = None,
    ) -> int:
        """Append a row to the audit. Returns its number, which is `begun` in later rows of the same action.

        Raises:
            SpoolError: the row is not on the disk; whoever was to read a mail must not, then.
        """

    def actions(self, wanted: AuditFilter) -> Sequence[Audited]:
        """The rows of the audit that are wanted, the newest last."""

    def paused(self) -> Paused:
        """The pauses and holds that are in force."""

    def nodes(self) -> Sequence[Beat]:
        """The last sign of life of every process of the nodes that share this spool; none if no other node
        may.
        """
        return ()

    def back_up(self, archive: Path, *, progress: Progress) -> BackedUp:
        """Write all of the spool into a new archive, while mail flows on; `restore_spool` reads it. The
        archive has its name only when it is whole and on the disk.

        Raises:
            SpoolError: the archive exists, or another backup is writing it.
        """

    def explain(self, error: SpoolError) -> SpoolError:
        """The error in an operator's words if an unfit spool is its cause, else the error itself."""

    def close(self) -> None:
        """Close the spool; harmless when called twice."""
