"""The interface of the spool, the one place where the two halves of the relay meet.

Owns the interface of both halves, which is the same for every backend (`relay.spool.opening` chooses one,
`relay.spool.desk` is the operator's part), and the way of an accepted mail through it. A mail is accepted at
the instant `put` commits: before it we owe nothing, after it we owe a contact.

    S1  unknown                 nothing is owed
    S2  raw, no entry           being received, or being removed: swept at start-up
    S3  queued                  accepted; due at next_attempt_at
    S4  leased                  being delivered until lease_until; then S3 again
    S5  held                    waits for a person
    S6  dead                    given up, with its reason; kept for a person
    S7  done                    contact id known; kept for `retain_days`

An entry that an error of configuration stops stays in S3 while its route is held (`Outbox.hold_route`), and
is passed over. An attempt is counted before it begins. Instants are aware, in UTC, and always arguments; they
are the spool's clock's (`now`), which nobody can set, unless another clock is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from typing import Protocol

from relay.envelope import SpoolId
from relay.spool.audit import Audited
from relay.spool.feed import FeedOutbox, Refusal
from relay.spool.lead import Lead, Witness
from relay.spool.model import (
    Aged,
    DayCount,
    Entry,
    Paused,
    PolicyCount,
    Receipt,
    Submission,
)
from relay.spool.page import Shown
from relay.spool.raw_file import RawFile
from relay.vocabulary import Rung

#: Waits for so many seconds between two steps of long work. Returns True if the work must end now.
Pause = Callable[[float], Awaitable[bool]]


class Wake(Protocol):
    """The wake-up by new entries: something may be due. One that is lost delays mail until the next poll."""

    async def wait(self, timeout_seconds: float) -> None:
        """Return when rung, at once if rung since the last wait, or after the time-out."""


class Intake(Witness, Protocol):
    """The receiving half's view of the spool."""

    def new_id(self) -> SpoolId:
        """A fresh id: 8 to 32 characters of [0-9A-Za-z], sortable by time, never repeated."""

    def now(self) -> datetime:
        """The present instant by the spool's clock (docs/spool.md, "Time"). Reads no disk."""

    def open_file(self, spool_id: SpoolId) -> RawFile:
        """A file to receive a large mail into. Blocks: use a thread.

        Raises:
            SpoolFullError, SpoolSickError: it cannot be made.
        """

    async def put(self, submission: Submission) -> Receipt:
        """Accept a mail: when this returns, it is on disk, whatever happens next (group commit).

        A caller that stops waiting does not undo it.

        A retransmission within the window (`relay.spool.duplicates`: its sender lost our 250) is answered
        with the first spool id, and nothing is stored for that destination. A mail without a Message-ID is a
        duplicate only while the peer has not shown that it saw our 250 (`confirm`). A mail that was dropped
        vouches for no other; one that is held does.

        Raises:
            SpoolFullError, SpoolSickError: nothing was stored.
        """

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        """Begin `put` without a task. Returns a future with the receipt or the error; some errors are raised
        here.
        """

    def confirm(self, spool_id: SpoolId) -> None:
        """Note, soon and without waiting, that the peer has seen our 250 for this mail."""

    def note_counts(self, counts: Sequence[PolicyCount | DayCount]) -> None:
        """Add to the counts of days, soon and without waiting. What cannot be written is tried again with the
        next write.
        """

    def note_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Tell the feed of these, as `note_counts` does."""

    async def probe(self) -> None:
        """Bring a write without meaning to the disk, by the way that mail takes.

        Raises:
            SpoolFullError, SpoolSickError: mail would not get there, either.
        """

    def room(self, size: int) -> bool:
        """Compare a size in octets with a recent look at the disk, which is cheap. Returns whether a mail of
        that size fits.
        """

    def paused(self) -> bool:
        """A look at most a second old. Returns whether an operator has paused the intake."""

    def has_moved(self) -> bool:
        """Look at the place of the spool; blocks: use a thread. Returns whether another spool is
        there now.
        """

    async def close(self) -> None:
        """Commit all mails whose `put` has begun, then close; harmless when called twice."""


class Outbox(FeedOutbox, Lead, Protocol):
    """The delivering half's view of the spool. A change under a lease that was lost raises LeaseLostError."""

    def now(self) -> datetime:
        """The present instant by the spool's clock. Reads no disk."""

    def is_clock_doubted(self) -> bool:
        """Compare the wall clock with the spool's. Returns whether a step of more than an hour is doubted, so
        that nothing may be given up for its age. Reads no disk.
        """

    async def look_at_clock(self) -> float:
        """Keep how far both clocks are. Returns the step of the wall clock that is doubted, in seconds,
        negative when back; 0.0 if none is.
        """

    async def recover(self, *, now: datetime, blame: bool = False, hung: bool = False) -> int:
        """Put the entries that dead runners left leased back into the queue, and sweep S2.

        Returns how many entries came back. `blame`: the runner before us died, so one of its leased mails may
        have killed it: each is counted as cut short and comes back after a delay that grows with that count.
        A recorded outcome clears it. `hung`: that runner hung and was ended, which no mail need have caused:
        only an entry that was leased alone is counted.

        Raises:
            SpoolUnfitError: an operator has to mend the spool first.
        """

    async def give_back(self, *, now: datetime) -> int:
        """Return every leased entry to the queue (S4 to S3), when the runner has ended its attempts. Returns
        their number. An attempt that was cut short counts, and its request stays in doubt.
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
        """Lease up to `limit` due entries, in turn (docs/spool.md, "States"), and count the attempt.

        Mail that answers a contact of its own sender comes before other mail of its route, which has at least
        one claim in four. Within these, networks of peers take turns, and within them domains of
        reverse-paths. Routes are skipped that the caller holds, that are held in the spool (`hold_route`) or
        that an operator paused. But `probes` (from `find_probes`) that still wait are claimed, due or not, in
        the turn of their route, unless it is paused.
        """

    async def find_probes(self, route: str) -> Sequence[str]:
        """References of entries by which `claim` may try whether a held route works again, the first due
        first.

        There are up to ten, one for each destination address, due or not, because an address that Connect
        does not have says nothing about the others. An address of which another entry is leased has none, and
        so has a paused route.
        """

    async def renew(self, entry: Entry, *, lease_seconds: float, now: datetime) -> None:
        """Extend the lease: it ends `lease_seconds` after `now`."""

    async def next_due_at(self, *, held_routes: Sequence[str] = ()) -> datetime | None:
        """The instant at which the next entry for `claim` is due or a lease ends. Returns None if no entry
        waits.
        """

    def open_raw(self, entry: Entry) -> AbstractAsyncContextManager[memoryview]:
        """The raw mail, trace header included, checked against the accepted octets.

        Raises:
            SpoolCorruptError: it is not what was accepted.
        """

    def open_file(self, entry: Entry) -> int | None:
        """A descriptor of the file of a large raw mail, which the caller closes. Returns None if the mail has
        no file.

        Blocks; call it while `open_raw`, which checks the mail, is open.

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
        captured: Mapping[str, str] | None = None,
        instance_id: str | None = None,
    ) -> None:
        """Store the exact request to this instance before it is sent, and note that it goes out, as
        `begin_sending` does. `captured` is what the route's patterns found; the first that is stored stays.
        """

    async def begin_sending(self, entry: Entry, *, token: str, now: datetime) -> None:
        """Note that a request under this token goes out: it is in doubt until a definite answer."""

    async def refuse(
        self, entry: Entry, *, rung: Rung, token: str, reason: str, detail: str, now: datetime
    ) -> None:
        """Record that Connect refused the payload: the stored request is removed, the next has this rung and
        token.

        Only this replaces a token. Nothing is in doubt any more.
        """

    async def find_token(self, token: str) -> tuple[bool, str | None]:
        """The ledger's record of a token: whether an entry has sent it, and the contact id if it is known."""

    async def begin_original(self, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
        """Drop the stored request, continue at the rung `original` and note why (event "original")."""

    async def why_original(self, entry: Entry) -> str:
        """The reason of the last `begin_original`. Returns "" if it is not known any more."""

    async def finish(
        self,
        entry: Entry,
        *,
        contact_id: str | None,
        reason: str = "",
        detail: str = "",
        dropped: bool = False,
        shown: Shown | None = None,
        forget: bool = False,
        now: datetime,
    ) -> None:
        """Move a leased entry to done (S4 to S7). The ledger learns the contact id. A mail `dropped` by a
        policy vouches for no other. `forget`: the raw mail is removed, here or with the last of its entries
        that is unfinished, and is then nowhere in the spool.

        `shown` is kept with the entry, for the page (`Desk.page`): it takes the place of the one before,
        unless that says more (`Shown.whole`); None leaves that. So in the other outcomes.
        """

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
        begun: bool = True,
        shown: Shown | None = None,
        now: datetime,
    ) -> None:
        """Move a leased entry back to the queue (S4 to S3), due at `until`; with a `rung`, the next request
        is made there.

        `void`: the stored request is dropped, because it is no contact and never will be. `settled`: the
        request of this attempt made no contact, so that only `entry.in_doubt_since` remains in doubt. If the
        attempt was not `begun`, it is not counted.
        """

    async def recall(self, references: Sequence[str], *, now: datetime) -> None:
        """Make these entries due now if they are queued for later, because the reason for the delay
        is over.
        """

    async def hold(
        self, entry: Entry, *, reason: str, detail: str, shown: Shown | None = None, now: datetime
    ) -> None:
        """Hold a leased entry for a person (S4 to S5)."""

    async def bury(
        self,
        entry: Entry,
        *,
        reason: str,
        detail: str,
        afresh: bool = False,
        settled: bool = False,
        shown: Shown | None = None,
        now: datetime,
    ) -> None:
        """Give a leased entry up (S4 to S6). `afresh`: a retry begins with a new request on the first rung;
        `settled` as above.
        """

    async def find_contact(
        self, entry: Entry, *, message_ids: Sequence[str], since: datetime, instance_id: str | None = None
    ) -> str | None:
        """The contact of the newest known mail with one of these Message-IDs, for RelatedContactId.

        A contact counts only if the entry's author or reverse-path is that of the mail that became it; of
        several such contacts with one Message-ID the first counts. It can be related only within its own
        instance: give `instance_id`.
        """

    async def bury_aged(
        self, *, accepted_before: datetime, reason: str, detail: str, now: datetime, after: int = 0
    ) -> Aged:
        """Give up entries accepted before that instant (S3 and S5 to S6), in small steps.

        Returns those given up, and `after` for the next step, which is None after the last. An entry that an
        operator has retried or released in the last two hours is left until its attempt; a probe of a held
        route is no reason to leave one.
        """

    async def hold_route(self, route: str, *, reason: str, detail: str, now: datetime) -> bool:
        """Claim no more entries of this route, which stay queued, until `resume_route`; survives a restart.

        Returns whether the hold is new; an existing hold gets the new reason.
        """

    async def resume_route(self, route: str) -> bool:
        """End a route's hold. Returns whether there was one."""

    async def resume_unused(self, route: str) -> bool:
        """End the hold of a route that no queued or leased entry names. Returns whether there was one."""

    async def paused(self) -> Paused:
        """The pauses and holds that are in force."""

    async def add_counts(self, counts: Sequence[PolicyCount | DayCount]) -> None:
        """Add to the counts of days; those of days over a year ago are forgotten."""

    async def untold_actions(self) -> Sequence[Audited]:
        """The oldest rows of the audit that do not stand in the log, a hundred at most."""

    async def note_told(self, number: int) -> None:
        """Note that the rows of the audit up to this number stand in the log."""

    async def expire(self, *, now: datetime, pause: Pause | None = None) -> int:
        """Remove mails past their retention, and ledger records past the window, in small steps. Returns how
        many mails were removed.

        Between two steps `pause` is awaited (by default a sleep), so that mail is accepted and delivered
        meanwhile. Where it returns True, the rest is left to the next call.
        """

    async def probe(self) -> None:
        """Bring a write to the disk, as `Intake.probe` does."""

    def is_short(self) -> bool:
        """Look at the disk, cheaply. Returns whether it is full, so that an outcome should write no more than
        it must (`Shown` is left out).
        """

    async def make_room(self) -> int:
        """Remove finished mails early if room is short; cheap while it is not. Returns how many were
        removed.
        """

    def open_wake(self) -> AbstractContextManager[Wake]:
        """The wake-up by new entries, heard on the running event loop until it is closed."""

    async def load_alarms(self) -> str:
        """The text that `save_alarms` kept last, by whichever runner. Returns "" if there is none."""

    async def save_alarms(self, text: str) -> bool:
        """Keep the state that alarms were last sent for, for the next runner. Returns whether it could be
        kept.
        """

    def has_moved(self) -> bool:
        """Look at the place of the spool; blocks: use a thread. Returns whether another spool is
        there now.
        """

    async def close(self) -> None:
        """Commit the changes that were begun, and close; harmless when called twice."""
