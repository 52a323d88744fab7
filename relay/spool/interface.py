"""What a spool is: the one place where the two halves of the relay meet.

Owns the interface that every spool has (SQLite today, S3 with SQS next) and the way of an accepted mail through it.
A mail is accepted at the instant `put` commits: before it we owe nothing, after it we owe a contact.

    S1  unknown                 nothing is owed
    S2  raw, no entry           being received, or being removed: swept at start-up
    S3  queued                  accepted; due at next_attempt_at
    S4  leased                  being delivered until lease_until; then S3 again
    S5  held                    waits for a person
    S6  dead                    given up, with its reason; kept for a person
    S7  done                    contact id known; kept for `retain_days`

What an error of configuration stops stays S3 while its route is held (`Outbox.hold_route`), and is passed over. An
attempt is counted before it begins. Instants are aware, in UTC, and always arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from relay.envelope import SpoolId
from relay.errors import SpoolError
from relay.spool.model import (
    Backlog,
    Changed,
    Entry,
    Event,
    Filter,
    Paused,
    RawFile,
    Receipt,
    Remembered,
    State,
    Submission,
)
from relay.vocabulary import Rung


class Wake(Protocol):
    """The word that something may have become due; one that is lost costs a poll, never a mail."""

    async def wait(self, timeout_seconds: float) -> None:
        """Return when rung, at once when it was rung since the last wait, or after the time-out."""


class Intake(Protocol):
    """The receiving half's view of the spool."""

    def new_id(self) -> SpoolId:
        """A fresh id: 8 to 32 characters of [0-9A-Za-z], sortable by time, never repeated."""

    def open_file(self, spool_id: SpoolId) -> RawFile:
        """A file to receive a large mail into. Blocks: use a thread.

        Raises:
            SpoolFullError, SpoolSickError: none can be made.
        """

    async def put(self, submission: Submission) -> Receipt:
        """Accept a mail: when this returns, it is on disk, whatever happens next (group commit). Cancelling the
        wait does not undo it.

        A retransmission within the window (`relay.spool.duplicates`: a sender that lost our 250) answers with the first
        spool id and stores nothing for that destination. A mail without a Message-ID is only a duplicate while the
        peer has not shown that it saw our 250 (`confirm`). What was dropped vouches for nothing; what is held does.

        Raises:
            SpoolFullError, SpoolSickError: nothing was stored.
        """

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        """`put` without a task of its own: what it returns or raises comes with the future, or is raised here."""

    def confirm(self, spool_id: SpoolId) -> None:
        """Note, soon and without waiting, that the peer has seen our 250 for this mail."""

    async def probe(self) -> None:
        """Write something of no meaning, by the way that mail takes: when this returns, it is on disk.

        Raises:
            SpoolFullError, SpoolSickError: mail would not come there either.
        """

    def room(self, size: int) -> bool:
        """Whether a mail of this many octets would find room now; cheap, from a recent look at the disk."""

    def paused(self) -> bool:
        """Whether an operator has paused the intake; cheap, at most a second old."""

    def has_moved(self) -> bool:
        """Returns whether another spool has come to lie where this one was opened. Blocks: use a thread."""

    async def close(self) -> None:
        """Commit what was begun, then let everything go; harmless when called twice."""


class Outbox(Protocol):
    """The delivering half's view of the spool. A change of an entry whose lease was lost raises LeaseLostError."""

    async def recover(self, *, now: datetime, blame: bool = False, hung: bool = False) -> int:
        """Return what dead runners left leased to the queue, sweep S2; how many entries came back.

        `blame`: the runner before us ended by itself, so one of its leased mails may have killed it: each is
        counted as cut short and comes back after a delay that grows with that count. A recorded outcome clears it.
        `hung`: that end was a hang, which no mail need have brought about: only one that was leased alone is counted.
        """

    async def claim(
        self,
        *,
        now: datetime,
        limit: int,
        lease_seconds: float,
        held_routes: Sequence[str] = (),
        probes: Sequence[str] = (),
    ) -> Sequence[Entry]:
        """Lease up to `limit` due entries, in turn (docs/spool.md, fairness), counting the attempt.

        Mail that answers a contact of its own sender comes before other mail of its route, which has one claim in four at
        least. Within these networks of peers have turns, and domains of reverse-paths. Skipped are the routes that the caller
        holds, that are held in the spool (`hold_route`) and that an operator paused; but of `probes` (from
        `find_probes`) those that still wait are taken, due or not, in the turn of their route, unless it is paused.
        """

    async def find_probes(self, route: str) -> Sequence[str]:
        """Entries of a held route to find out whether it works again: references for `claim`, in the order of their due times.

        Up to ten, one for each destination address, due or not, since an address that Connect does not have says
        nothing of the others. None for an address of which another entry is leased, none of a paused route.
        """

    async def move_clock(self, *, by: timedelta, lease_seconds: float, now: datetime) -> None:
        """The wall clock was set by so much, back when negative: what is queued or leased waits no longer than before."""

    async def renew(self, entry: Entry, *, lease_seconds: float, now: datetime) -> None:
        """Keep the lease for so much longer."""

    async def next_due_at(self, *, held_routes: Sequence[str] = ()) -> datetime | None:
        """When the next entry that `claim` would take falls due (or the next lease ends); None when none waits."""

    def open_raw(self, entry: Entry) -> AbstractAsyncContextManager[memoryview]:
        """The raw mail, trace header included, checked against what was accepted.

        Raises:
            SpoolCorruptError: it is not what was accepted.
        """

    def open_file(self, entry: Entry) -> int | None:
        """A descriptor of the file that a large raw mail lies in, for the caller to close; None where it lies in none.

        To be asked for while `open_raw` has it open, which checks it. Blocks.

        Raises:
            SpoolError: it cannot be opened.
        """

    async def save_request(
        self,
        entry: Entry,
        *,
        request: bytes,
        rung: Rung,
        token: str,
        expires_at: datetime,
        now: datetime,
    ) -> None:
        """Store the exact request before it is sent, and note that it goes out: `begin_sending` is in it."""

    async def begin_sending(self, entry: Entry, *, token: str, now: datetime) -> None:
        """Note that a request under this token goes out: it is in doubt from the first such note until a definite answer."""

    async def refuse(
        self, entry: Entry, *, rung: Rung, token: str, reason: str, detail: str, now: datetime
    ) -> None:
        """Connect has refused the payload: the stored request goes, and what comes next has this rung and this token.

        Only this replaces a token. Nothing is in doubt any more.
        """

    async def find_token(self, token: str) -> tuple[bool, str | None]:
        """Whether an entry that the ledger remembers has sent this token, and its contact id where that is known."""

    async def begin_original(self, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
        """Drop the stored request, go on at the rung `original` and remember why (event "original")."""

    async def why_original(self, entry: Entry) -> str:
        """The reason that `begin_original` was given last; "" when it is not known any more."""

    async def finish(
        self,
        entry: Entry,
        *,
        contact_id: str | None,
        reason: str = "",
        detail: str = "",
        dropped: bool = False,
        now: datetime,
    ) -> None:
        """S4 to S7, and the ledger learns the contact id; what is `dropped` by a policy vouches for no other mail."""

    async def defer(
        self,
        entry: Entry,
        *,
        until: datetime,
        reason: str,
        detail: str,
        rung: Rung | None = None,
        void: bool = False,
        settled: bool = False,
        now: datetime,
    ) -> None:
        """S4 to S3, due again at `until`; with a `rung`, that is where the next request is made.

        `void`: the stored request is dropped, since it can be no contact and never will be. `settled`: nothing came of what went out in this attempt, so that only `entry.in_doubt_since` is in doubt.
        """

    async def recall(self, references: Sequence[str], *, now: datetime) -> None:
        """Those of the entries with these references that are queued for later are due now: what put them off is over."""

    async def hold(self, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
        """S4 to S5."""

    async def bury(
        self,
        entry: Entry,
        *,
        reason: str,
        detail: str,
        afresh: bool = False,
        settled: bool = False,
        now: datetime,
    ) -> None:
        """S4 to S6; `afresh`, a retry by an operator begins with a new request on the first rung; `settled` as above."""

    async def find_contact(
        self, entry: Entry, *, message_ids: Sequence[str], since: datetime, instance_id: str | None = None
    ) -> str | None:
        """The contact that the newest known of these Message-IDs became, for RelatedContactId.

        A contact counts only where the entry's author or reverse-path is that of the mail that became it, and of several
        such contacts of one Message-ID the first. It can only be related within its own instance: give `instance_id`.
        """

    async def bury_aged(
        self, *, accepted_before: datetime, reason: str, detail: str, now: datetime
    ) -> Sequence[Entry]:
        """S3 and S5 to S6 for what was accepted before that instant, some at a time; those buried, for alarms.

        What an operator has retried or released in the last two hours is left until its attempt; the probes of a
        held route keep nothing.
        """

    async def hold_route(self, route: str, *, reason: str, detail: str, now: datetime) -> bool:
        """Claim no more of this route's entries, which stay queued, until `resume_route`; survives a restart.

        Whether the hold is new; one that is there learns the new reason.
        """

    async def resume_route(self, route: str) -> bool:
        """End a route's hold; whether there was one."""

    async def paused(self) -> Paused:
        """What stands still on purpose."""

    async def expire(self, *, now: datetime) -> int:
        """Remove finished mails past their retention, and ledger rows past the window; how many mails went."""

    async def probe(self) -> None:
        """`Intake.probe`, for the side that has time to look."""

    async def make_room(self) -> int:
        """Where room is short, remove finished mails before their time: how many. Does next to nothing while there is room."""

    def open_wake(self) -> AbstractContextManager[Wake]:
        """The word of new entries, heard on the running event loop from now until it is closed."""

    async def load_alarms(self) -> str:
        """The text that `save_alarms` kept last, by whichever runner; "" where there is none."""

    async def save_alarms(self, text: str) -> bool:
        """Keep a text (what a person was told last) for the runner that comes after. Returns whether it could be kept."""

    def has_moved(self) -> bool:
        """Returns whether another spool has come to lie where this one was opened. Blocks: use a thread."""

    async def close(self) -> None:
        """Commit what was begun and let the spool go; harmless when called twice."""


class Desk(Protocol):
    """The operator's view of the spool: works while the daemon runs and while it does not. Calls block.

    A spool of an older relay is looked at as it is; each change of it raises SpoolOlderError: the daemon brings it up to
    date when it starts. An id is a spool id (all its entries) or `Entry.reference` (one of them). What is queued on a route that
    an error of configuration holds is stored as queued, and seen as held: `Entry.shown_state`.
    """

    def select(self, wanted: Filter) -> Sequence[Entry]:
        """Entries that fit, oldest accepted first; without their requests unless chosen by id."""

    def retry(self, ids: Sequence[str], *, now: datetime, agreed: bool = False) -> Changed:
        """Queued, held or dead entries become due now.

        What has been in doubt for too long (`relay.spool.doubt`) only where a person has `agreed` to a second contact: then
        it is in doubt from now on.
        """

    def hold(self, ids: Sequence[str], *, now: datetime) -> Changed:
        """Queued entries become held."""

    def release(self, ids: Sequence[str], *, now: datetime, agreed: bool = False) -> Changed:
        """Held entries become due now, those too that only their route holds: they wait for it all the same.

        Doubt is as in `retry`.
        """

    def drop(self, ids: Sequence[str], *, now: datetime) -> Changed:
        """Entries not under way are removed for good, some hundreds at a time, the raw mail with the last of them.

        Their octets are overwritten. One that was not finished may be sent again; of a finished one its contact stays known.
        """

    def others(self, submission: Submission) -> Sequence[SpoolId]:
        """The mails with the octets of this one for a destination of it, of which it would be no retransmission.

        They are here, or the ledger remembers them, and none of them was dropped: it would be a second contact.
        """

    def unknown(self, ids: Sequence[str]) -> Sequence[str]:
        """Those of the ids that name no entry."""

    def export(self, word: str) -> bytes | None:
        """The raw mail that an id names, our trace header included; None when no entry has the id."""

    def trace(self, word: str, *, limit: int = 1_000) -> Sequence[Entry]:
        """The newest entries that a Message-ID, spool id, contact id or address names, oldest first.

        An address is meant as in `Filter`, and whole where it has no "@".
        """

    def history(self, entry: Entry) -> Sequence[Event]:
        """What happened to an entry, oldest first; the last events when there were many."""

    def remembered(self, word: str, *, limit: int = 1_000) -> Sequence[Remembered]:
        """The newest that the ledger knows of a Message-ID, spool id or contact id, oldest first."""

    def counts(self) -> Mapping[State, int]:
        """The number of entries that are stored in each state; a state that the backend cannot count is left out."""

    def tally(self, wanted: Filter) -> Mapping[State, int]:
        """How many entries fit, whatever the limit, by `Entry.shown_state`: of the states that are wanted."""

    def aside(self) -> Mapping[State, tuple[int, datetime | None]]:
        """Of what is stored as held and as dead, at one instant: how many, and when the last came to be so."""

    def originals(self, *, reasons: Sequence[str], since: datetime) -> tuple[int, datetime | None]:
        """How many entries have begun the rung `original` since then, for one of these reasons, and when the last did."""

    def routes(self) -> Sequence[str]:
        """The names of the routes of the entries that are here, finished ones too; a walk over all of them."""

    def attended(self) -> bool:
        """Whether a daemon delivers from this spool, or starts to; True where nobody can tell."""

    def disk_full(self) -> bool:
        """Whether the disk ran full: mail goes out, and none comes in before there is room again."""

    def backlog(self, *, limits: Sequence[timedelta], now: datetime) -> Sequence[Backlog]:
        """The age histogram of each route with undelivered entries, by name of the route."""

    def pause(self, subject: str, *, now: datetime) -> bool:
        """Stop "intake", "delivery" or "route NAME"; whether it ran before."""

    def resume(self, subject: str) -> bool:
        """Let what was paused run again, a route held by an error too; whether it stood still before."""

    def paused(self) -> Paused:
        """What stands still on purpose."""

    def explain(self, error: SpoolError) -> SpoolError:
        """The error that an operator understands: what of the spool is unfit for use where that is why, else the error."""

    def close(self) -> None:
        """Let the spool go; harmless when called twice."""
