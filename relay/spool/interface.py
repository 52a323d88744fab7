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

What an error of configuration stops stays S3 while its route is held (`Outbox.hold_route`), and is passed
over. An attempt is counted before it begins. Instants are aware, in UTC, and always arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from relay.envelope import SpoolId
from relay.spool.model import (
    Entry,
    Paused,
    RawFile,
    Receipt,
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
        """Accept a mail: when this returns, it is on disk, whatever happens next (group commit).

        Cancelling the wait does not undo it.

        A retransmission within the window (`relay.spool.duplicates`: a sender that lost our 250) answers with
        the first spool id and stores nothing for that destination. A mail without a Message-ID is only a
        duplicate while the peer has not shown that it saw our 250 (`confirm`). A mail that was dropped
        vouches for no other; one that is held does.

        Raises:
            SpoolFullError, SpoolSickError: nothing was stored.
        """

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        """`put` without a task: the future has the receipt or error; some errors are raised here."""

    def confirm(self, spool_id: SpoolId) -> None:
        """Note, soon and without waiting, that the peer has seen our 250 for this mail."""

    async def probe(self) -> None:
        """Bring a write of no meaning to the disk, by the way that mail takes.

        Raises:
            SpoolFullError, SpoolSickError: mail would not come there either.
        """

    def room(self, size: int) -> bool:
        """Returns whether a mail of so many octets would find room. Cheap: from a recent look at the disk."""

    def paused(self) -> bool:
        """Returns whether an operator has paused the intake. Cheap: at most a second old."""

    def has_moved(self) -> bool:
        """Returns whether another spool has come to lie where this one was opened. Blocks: use a thread."""

    async def close(self) -> None:
        """Commit what was begun, then let everything go; harmless when called twice."""


class Outbox(Protocol):
    """The delivering half's view of the spool; a change under a lease that was lost raises LeaseLostError."""

    async def recover(self, *, now: datetime, blame: bool = False, hung: bool = False) -> int:
        """Put the entries that dead runners left leased back into the queue, and sweep S2.

        Returns how many entries came back. `blame`: the runner before us ended by itself, so one of its
        leased mails may have killed it: each is counted as cut short and comes back after a delay that grows
        with that count. A recorded outcome clears it. `hung`: that end was a hang, which no mail need have
        brought about: only one that was leased alone is counted.
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

        Mail that answers a contact of its own sender comes before other mail of its route, which has one
        claim in four at least. Within these, networks of peers have turns, and domains of reverse-paths.
        Skipped are the routes that the caller holds, that are held in the spool (`hold_route`) and that an
        operator paused; but of `probes` (from `find_probes`) those that still wait are taken, due or not, in
        the turn of their route, unless it is paused.
        """

    async def find_probes(self, route: str) -> Sequence[str]:
        """References of entries by which `claim` may try whether a held route works again, first due first.

        Up to ten, one for each destination address, due or not, since an address that Connect does not have
        says nothing of the others. None for an address of which another entry is leased, none of a paused
        route.
        """

    async def move_clock(self, *, by: timedelta, lease_seconds: float, now: datetime) -> None:
        """Set the queue with the wall clock, which was set by so much: no entry waits longer than before."""

    async def renew(self, entry: Entry, *, lease_seconds: float, now: datetime) -> None:
        """Keep the lease for so much longer."""

    async def next_due_at(self, *, held_routes: Sequence[str] = ()) -> datetime | None:
        """The instant at which the next entry for `claim` is due, or a lease ends; None: none waits."""

    def open_raw(self, entry: Entry) -> AbstractAsyncContextManager[memoryview]:
        """The raw mail, trace header included, checked against what was accepted.

        Raises:
            SpoolCorruptError: it is not what was accepted.
        """

    def open_file(self, entry: Entry) -> int | None:
        """A descriptor of the file that a large raw mail lies in, for the caller to close.

        Returns None where it lies in none. Blocks; ask while `open_raw`, which checks it, is open.

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
        """Note that a request under this token goes out: it is in doubt until a definite answer."""

    async def refuse(
        self, entry: Entry, *, rung: Rung, token: str, reason: str, detail: str, now: datetime
    ) -> None:
        """Record that Connect refused the payload: the stored request goes, the next has this rung and token.

        Only this replaces a token. Nothing is in doubt any more.
        """

    async def find_token(self, token: str) -> tuple[bool, str | None]:
        """The ledger's row of a token: whether an entry has sent it, and the contact id where known."""

    async def begin_original(self, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
        """Drop the stored request, go on at the rung `original` and remember why (event "original")."""

    async def why_original(self, entry: Entry) -> str:
        """The reason that `begin_original` was given last. Returns "" when it is not known any more."""

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
        """S4 to S7; the ledger learns the contact id. A mail `dropped` by a policy vouches for no other."""

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

        `void`: the stored request is dropped, since it can be no contact and never will be. `settled`: no
        contact came of the request of this attempt, so that only `entry.in_doubt_since` is in doubt.
        """

    async def recall(self, references: Sequence[str], *, now: datetime) -> None:
        """Make these entries due now where they are queued for later: what put them off is over."""

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
        """S4 to S6. `afresh`: a retry begins with a new request on the first rung; `settled` as above."""

    async def find_contact(
        self, entry: Entry, *, message_ids: Sequence[str], since: datetime, instance_id: str | None = None
    ) -> str | None:
        """The contact that the newest known of these Message-IDs became, for RelatedContactId.

        A contact counts only where the entry's author or reverse-path is that of the mail that became it, and
        of several such contacts of one Message-ID the first. It can only be related within its own instance:
        give `instance_id`.
        """

    async def bury_aged(
        self, *, accepted_before: datetime, reason: str, detail: str, now: datetime
    ) -> Sequence[Entry]:
        """S3 and S5 to S6 for entries accepted before that instant, some at a time.

        Returns those buried, for alarms. An entry that an operator has retried or released in the last two
        hours is left until its attempt; the probes of a held route keep nothing.
        """

    async def hold_route(self, route: str, *, reason: str, detail: str, now: datetime) -> bool:
        """Claim no more of this route's entries, which stay queued, until `resume_route`; survives a restart.

        Returns whether the hold is new; one that is there learns the new reason.
        """

    async def resume_route(self, route: str) -> bool:
        """End a route's hold. Returns whether there was one."""

    async def paused(self) -> Paused:
        """The pauses and holds that are in force."""

    async def expire(self, *, now: datetime) -> int:
        """Remove mails past their retention, and ledger rows past the window. Returns how many mails went."""

    async def probe(self) -> None:
        """`Intake.probe`, for the side that has time to look."""

    async def make_room(self) -> int:
        """Remove finished mails early where room is short; cheap while it is not. Returns how many went."""

    def open_wake(self) -> AbstractContextManager[Wake]:
        """The wake-up by new entries, heard on the running event loop from now until it is closed."""

    async def load_alarms(self) -> str:
        """The text that `save_alarms` kept last, for whichever runner. Returns "" where there is none."""

    async def save_alarms(self, text: str) -> bool:
        """Keep the last alarms told for the runner that comes after. Returns whether they could be kept."""

    def has_moved(self) -> bool:
        """Returns whether another spool has come to lie where this one was opened. Blocks: use a thread."""

    async def close(self) -> None:
        """Commit what was begun and let the spool go; harmless when called twice."""
