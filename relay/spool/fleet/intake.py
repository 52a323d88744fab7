"""The receiving half's view of a fleet's spool (`Intake`).

Owns `put`: the raw mail goes to S3, and only then one transaction makes the mail, its entries and their
guards (docs/fleet.md, "Accept"). After a failure nothing is known, and the peer is told to come again: to
whichever node it comes, a guard tells whether the mail is there. Never reads a mail back.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from relay import telemetry
from relay.aws.database import Condition, Put, Update
from relay.config.model import Config
from relay.envelope import SpoolId
from relay.errors import SpoolError, SpoolSickError
from relay.faults import fault_point
from relay.spool.feed import Refusal
from relay.spool.fleet import control, days, tables
from relay.spool.fleet.accept import MOST_WAYS, Planned, build_actions, plan, read_reasons
from relay.spool.fleet.beats import Heart
from relay.spool.fleet.cache import CacheFile, find_folder
from relay.spool.fleet.conversations import is_answer
from relay.spool.fleet.silence import Silence, tell_silence
from relay.spool.fleet.store import Store, new_op
from relay.spool.ids import IdMaker, build_mark
from relay.spool.interface import Intake
from relay.spool.local.wake import Ringer
from relay.spool.model import DayCount, PolicyCount, Receipt, Submission
from relay.spool.raw_file import RawFile
from relay.timing import MACHINE, Clocks, is_set_within

#: Mails without a Message-ID whose peers have not answered yet; of more, the oldest are forgotten.
_UNCONFIRMED_LIMIT = 10_000
#: Seconds between two looks at the pauses.
_LOOK_SECONDS = 1.0
#: Seconds for the question whether a mail answers one of ours; without an answer it is new mail.
_ANSWER_SECONDS = 1.0
_MARK_BITS = 25
#: Octets of which a hash is made on the event loop; more takes a thread.
_SMALL_BYTES = 262_144


class FleetIntake(Intake):
    """The `Intake` over a table and S3; one in each process, used from one event loop."""

    def __init__(self, config: Config, *, process: str = "", clocks: Clocks = MACHINE) -> None:
        """`process` is the name of this process among those of its node; without one it is not listed."""
        self._config = config
        self._folder = find_folder(config.data_dir)
        self._store = Store(config, clocks=clocks)
        self._ids = IdMaker(build_mark(secrets.randbits(_MARK_BITS)), self._store.clock.microseconds)
        self._work: set[asyncio.Task[Any]] = set()
        self._closed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._paused = False
        self._ringer = Ringer(config.data_dir)
        self._heart = Heart(self._store, process) if process else None
        self._silence = Silence()
        self._silent_seconds = 0.0
        #: The routes that the table is known to name.
        self._named: set[str] = set()
        #: Mails without a Message-ID whose 250 is on its way, with the keys of their guards.
        self._unconfirmed: OrderedDict[SpoolId, tuple[tables.Key, ...]] = OrderedDict()

    def now(self) -> datetime:
        return self._store.clock.now()

    def new_id(self) -> SpoolId:
        return self._ids.new_id()

    def open_file(self, spool_id: SpoolId) -> RawFile:  # noqa: ARG002 - the file has no name
        return CacheFile(self._folder)

    async def put(self, submission: Submission) -> Receipt:
        return await asyncio.shield(self.begin_put(submission))

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        if self._closed.is_set():
            raise SpoolSickError("the spool is closed")
        if isinstance(submission.raw, CacheFile):
            submission.raw.take()  # whoever stops waiting does not undo it
        return self._start(self._put(submission))

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin work that `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _put(self, submission: Submission) -> Receipt:
        raw = submission.raw
        try:
            return await self._accept(submission)
        finally:
            if isinstance(raw, CacheFile):
                await asyncio.to_thread(raw.release)

    async def _accept(self, submission: Submission) -> Receipt:
        trace, whole = await self._digests(submission)
        # A mail that no record holds is refused before anything is stored.
        planned = self._plan(submission, trace=trace, is_reply=False)
        stored, is_reply = await asyncio.gather(
            self._store_raw(submission, whole), self._is_answer(submission, planned), return_exceptions=True
        )
        if isinstance(stored, BaseException):
            raise stored
        fault_point("fleet.put.stored")
        if is_reply is True:
            planned = self._plan(submission, trace=trace, is_reply=True)
        await self._name_routes(planned)
        receipt, entries = await self._commit(planned)
        fault_point("fleet.put.committed")
        telemetry.entries_accepted(entries=entries)
        if entries:
            self._ringer.ring()  # the deliverer of this node, if it leads
        if self._heart and entries:
            self._heart.accepted += 1
        if receipt.duplicate:
            await self._forget_raw(submission.spool_id)
        if submission.message_id is None:
            self._expect(receipt.spool_id, planned)
        return receipt

    async def _digests(self, submission: Submission) -> tuple[bytes, bytes]:
        """The SHA-256 of our trace header, and that of all octets."""
        raw = submission.raw
        if isinstance(raw, bytes):
            trace = hashlib.sha256(raw[: submission.trace_size]).digest()
            if len(raw) <= _SMALL_BYTES:
                return trace, hashlib.sha256(raw).digest()
            return trace, await asyncio.to_thread(lambda: hashlib.sha256(raw).digest())
        if not isinstance(raw, CacheFile):
            raise SpoolError("a mail in a file of another spool")
        head = await asyncio.to_thread(raw.read, 0, submission.trace_size)
        return hashlib.sha256(head).digest(), raw.digest()

    def _plan(self, submission: Submission, *, trace: bytes, is_reply: bool) -> Planned:
        return plan(
            submission,
            trace_sha256=trace,
            is_reply=is_reply,
            window_hours=self._config.spool.duplicate_window_hours,
            node=self._store.node,
            op=new_op(),
        )

    async def _store_raw(self, submission: Submission, sha256: bytes) -> None:
        """Put the raw mail. An object that is there already is our own, whose answer was lost, or another
        mail's.
        """
        raw, size = submission.raw, submission.size
        body: bytes | BinaryIO = raw if isinstance(raw, bytes) else await asyncio.to_thread(_body_of, raw)
        key = tables.raw_object(self._store.prefix, submission.spool_id)
        async with self._store.asked() as (_, objects):
            about = {"fingerprint": submission.fingerprint, "trace": str(submission.trace_size)}
            if not await objects.put(key, body, size=size, sha256=sha256, about=about):
                found = await objects.find(key)
                if found is None or found.get("fingerprint") != submission.fingerprint:
                    raise SpoolSickError(f"another mail has the id {submission.spool_id}")

    async def _is_answer(self, submission: Submission, planned: Planned) -> bool:
        """Returns whether it answers a contact of its own sender, as far as the table tells in time."""
        if not submission.references:
            return False
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await is_answer(
                self._store,
                submission.references,
                author=planned.mail.author,
                sender=planned.mail.sender,
                at=planned.mail.accepted_at,
            )

    async def _name_routes(self, planned: Planned) -> None:
        """Have the leader know the routes of this mail before it is accepted."""
        routes = {way.entry.destination.route for way in planned.ways}
        if new := routes - self._named:
            await control.name_routes(self._store, new)
            self._named |= new

    async def _commit(self, planned: Planned) -> tuple[Receipt, int]:
        """Accept as many ways as are fresh, in as few transactions as DynamoDB allows. Returns the receipt,
        and the number of new entries.
        """
        waiting = list(planned.ways)
        spool_id, written = planned.mail.spool_id, 0
        first: str = spool_id
        while waiting:
            ways = waiting[:MOST_WAYS]
            actions = build_actions(planned, ways, is_first=not written)
            reasons = await self._store.transact(actions, seconds=self._config.limits.commit_seconds)
            if not reasons:
                written += len(ways)
                del waiting[:MOST_WAYS]
                continue
            verdict = read_reasons(planned, ways, reasons)
            if verdict.is_ours:
                written += len(ways)
                del waiting[:MOST_WAYS]
            elif verdict.fault or not verdict.earlier:
                raise SpoolSickError(f"fleet: {verdict.fault or 'a transaction failed without a reason'}")
            else:
                waiting = [way for way in waiting if way.entry.number not in verdict.earlier]
                first = list(verdict.earlier.values())[-1]
        duplicate = not written
        return Receipt(spool_id=SpoolId(first if duplicate else spool_id), duplicate=duplicate), written

    async def _forget_raw(self, spool_id: SpoolId) -> None:
        """Remove the octets of a mail that became no entry; where that fails, the janitor does."""
        try:
            async with self._store.asked() as (_, objects):
                await objects.remove(tables.raw_object(self._store.prefix, spool_id))
        except SpoolSickError as exc:
            telemetry.spool_failed(where="fleet.forget", why=str(exc), spool_id=spool_id)

    def _expect(self, spool_id: SpoolId, planned: Planned) -> None:
        """Note that the peer is about to get the 250 for a mail without a Message-ID."""
        self._unconfirmed[spool_id] = tuple(way.guard.key for way in planned.ways)
        while len(self._unconfirmed) > _UNCONFIRMED_LIMIT:
            self._unconfirmed.popitem(last=False)

    def confirm(self, spool_id: SpoolId) -> None:
        if keys := self._unconfirmed.pop(spool_id, ()):
            self._start(self._confirm(spool_id, keys))

    async def _confirm(self, spool_id: SpoolId, keys: Sequence[tables.Key]) -> None:
        condition = Condition(text="#sid = :sid", values={"sid": spool_id})
        for key in keys:
            try:
                await self._store.change(
                    Update(key=key, text="SET #confirmed = :yes", values={"yes": True}, condition=condition)
                )
            except SpoolSickError as exc:  # the next of such mails counts as a repetition
                telemetry.spool_failed(where="fleet.confirm", why=str(exc), spool_id=spool_id)

    def note_counts(self, counts: Sequence[PolicyCount | DayCount]) -> None:
        if counts and not self._closed.is_set():
            self._start(self._count(tuple(counts)))

    def note_refusals(self, refusals: Sequence[Refusal]) -> None:
        """A fleet keeps no feed."""

    async def _count(self, counts: Sequence[PolicyCount | DayCount]) -> None:
        try:
            await days.add_counts(self._store, counts)
        except SpoolSickError as exc:
            telemetry.spool_failed(where="fleet.counts", why=str(exc))

    async def probe(self) -> None:
        await probe(self._store)

    def room(self, size: int) -> bool:  # noqa: ARG002 - S3 has no end
        return True

    def paused(self) -> bool:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return self._paused

    async def _look(self) -> None:
        """Look at the pauses and at the leader's record until the end; while that fails, the last look
        counts.
        """
        while True:
            try:
                looked = await control.look(self._store)
            except SpoolError as exc:
                telemetry.spool_failed(where="fleet.control", why=str(exc))
            else:
                self._paused = looked.paused.intake
                self._silent_seconds = self._silence.see(looked.leader, at=self._store.clock.steady())
                telemetry.fleet_silent(seconds=self._silent_seconds)
                if self._heart:
                    await self._heart.beat()
            if await is_set_within(self._closed, _LOOK_SECONDS):
                return

    def undelivered(self) -> str:
        return tell_silence(self._silent_seconds, lease_seconds=self._config.fleet.lease_seconds)

    def has_moved(self) -> bool:
        return False

    async def close(self) -> None:
        self._closed.set()
        while self._work:
            await asyncio.wait(set(self._work))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
            self._looking = None
        if self._heart:
            await self._heart.stop()
        self._ringer.close()
        await self._store.close()


def _body_of(raw: RawFile) -> BinaryIO:
    assert isinstance(raw, CacheFile)
    return raw.rewind()


async def probe(store: Store) -> None:
    """Bring a write without meaning to the table and to S3, by the way that mail takes.

    Raises:
        SpoolSickError: mail would not get there, either.
    """
    item = {
        tables.PARTITION: tables.MEMORY,
        tables.SORT: tables.fit_key(f"probe#{store.node}"),
        "op": new_op(),
    }
    await store.change(Put(item=item))
    empty = hashlib.sha256(b"").digest()
    async with store.asked() as (_, objects):
        key = tables.probe_object(store.prefix, store.node)
        await objects.put(key, b"", size=0, sha256=empty, once=False)
