"""The receiving half's view of the local spool (`Intake`).

Owns `put`: what is computed before the group commit, and who is told after it. Never reads a mail back. A
failed commit closes the database; the next group opens it again, so a disk that recovers needs no restart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import apsw

from relay import telemetry
from relay.config.model import Config
from relay.envelope import SpoolId
from relay.errors import SpoolError, SpoolFullError, SpoolSickError
from relay.faults import fault_point
from relay.spool.feed import Refusal
from relay.spool.ids import IdMaker
from relay.spool.interface import Intake
from relay.spool.local.accept import Prepared, accept, note_confirmed, prepare
from relay.spool.local.checkpoints import Checkpoints
from relay.spool.local.clock import SpoolClock
from relay.spool.local.database import WriteLock, check_in_place, close_database, open_database
from relay.spool.local.days import add_counts
from relay.spool.local.errors import translate_error, translated
from relay.spool.local.feed import add_refusals
from relay.spool.local.health import Place, probe_spool
from relay.spool.local.key import KeyFile
from relay.spool.local.layout import Layout
from relay.spool.local.moving import check_unmoved
from relay.spool.local.raw import IdLock, LargeFile
from relay.spool.local.room import Reserve, Room
from relay.spool.local.wake import Ringer
from relay.spool.local.writer import Job, Writer, tell
from relay.spool.model import DayCount, PolicyCount, Receipt, Submission
from relay.spool.raw_file import RawFile
from relay.spool.records import hours_in_microseconds
from relay.timing import MACHINE, Clocks

#: Files that are synced at the same time; more would only queue in the disk.
_SEALERS = 8
#: Mails without a Message-ID whose peers have not answered yet; when there are more, all of them are
#: forgotten.
_UNCONFIRMED_LIMIT = 10_000

_PutJob = Job[Prepared, Receipt]

#: Minutes of counts that wait while they cannot be written.
_MOST_COUNTS = 60


class LocalIntake(Intake):
    """The `Intake` over SQLite and files; one in each process, used from one event loop."""

    def __init__(self, config: Config, *, by_hand: bool = False, clocks: Clocks = MACHINE) -> None:
        self._layout = Layout(data_dir=config.data_dir)
        self._large_bytes = config.spool.large_message_bytes
        self._window = hours_in_microseconds(config.spool.duplicate_window_hours)
        self._key = KeyFile(self._layout.key)
        self._layout.prepare()
        reserve = Reserve(self._layout)
        # Only the daemon brings an older spool up to date: a command would lock out the one that runs.
        create = not by_hand or not self._layout.database.exists()
        self._connection: apsw.Connection | None = reserve.pay(
            lambda: open_database(self._layout.database, create=create)
        )
        self._place = Place(self._layout)
        self._write_lock = WriteLock(self._layout.gate)
        with translated():
            size = reserve.size()
        self._checkpoints = Checkpoints(self._layout.database, self._layout.gate, reserve_bytes=size)
        self._checkpoints.watch(self._connection)
        self._clock = reserve.pay(lambda: self._open_clock(clocks))
        self._maker = reserve.pay(lambda: IdLock(self._layout.makers))
        self._check_unmoved()
        self._ids = IdMaker(self._maker.mark, self._clock.microseconds)
        self._room_left = Room(self._layout, config.spool, clock=self._clock.microseconds)
        self._sealers = ThreadPoolExecutor(_SEALERS, thread_name_prefix="spool-seal")
        self._ringer = Ringer(config.data_dir)
        self._closed = False
        #: Mails without a Message-ID whose 250 is on its way: only these need to be confirmed.
        self._unconfirmed: set[SpoolId] = set()
        self._confirmed: deque[SpoolId] = deque()
        #: Counts that are not written yet.
        self._counts: deque[tuple[PolicyCount | DayCount, ...]] = deque(maxlen=_MOST_COUNTS)
        self._refusals: deque[tuple[Refusal, ...]] = deque(maxlen=_MOST_COUNTS)
        self._writer: Writer[Prepared, Receipt] = Writer(
            self._commit,
            name="spool-intake",
            idle=self._idle,
            close=self._end,
        )

    def _open_clock(self, clocks: Clocks) -> SpoolClock:
        assert self._connection is not None
        with translated(self._layout.database):
            return SpoolClock(self._connection, self._write_lock, clocks)

    def _check_unmoved(self) -> None:
        """Look for a move of mail, now that a move sees the lock of our ids."""
        try:
            check_unmoved(self._layout)
        except SpoolError:
            self._maker.close()
            if self._connection is not None:
                close_database(self._connection)
            raise

    def now(self) -> datetime:
        return self._clock.now()

    def new_id(self) -> SpoolId:
        return self._ids.new_id()

    def open_file(self, spool_id: SpoolId) -> RawFile:
        return LargeFile(self._layout.raw_path(spool_id))

    async def put(self, submission: Submission) -> Receipt:
        return await self.begin_put(submission)

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        if self._closed:
            raise SpoolSickError("the spool is closed")
        raw = submission.raw
        file = raw if isinstance(raw, LargeFile) else None
        if file is not None:
            file.take()
        try:
            return self._start(submission, file)
        except SpoolError:
            if file is not None:
                self._sealers.submit(file.remove)
            raise

    def confirm(self, spool_id: SpoolId) -> None:
        if spool_id in self._unconfirmed:
            self._unconfirmed.discard(spool_id)
            self._confirmed.append(spool_id)
            # At once, because the peer's next mail may be the same, and may come to another receiver.
            self._writer.nudge()

    def note_counts(self, counts: Sequence[PolicyCount | DayCount]) -> None:
        if counts:
            self._counts.append(tuple(counts))
            self._writer.nudge()

    def note_refusals(self, refusals: Sequence[Refusal]) -> None:
        if refusals:
            self._refusals.append(tuple(refusals))
            self._writer.nudge()

    async def probe(self) -> None:
        await asyncio.to_thread(probe_spool, self._layout)

    def room(self, size: int) -> bool:
        return self._room_left.fits(size)

    def paused(self) -> bool:
        return self._room_left.intake_paused()

    def has_moved(self) -> bool:
        return self._place.has_changed()

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._sealers.shutdown)
        await self._writer.close()
        await asyncio.to_thread(self._checkpoints.close)
        self._ringer.close()
        self._room_left.close()
        self._maker.close()
        self._write_lock.close()

    def _start(self, submission: Submission, file: LargeFile | None) -> asyncio.Future[Receipt]:
        """Start the work, if there is room. It goes on even if the caller stops waiting."""
        entries = len(submission.destinations)
        if not self._room_left.fits(submission.size, entries):
            raise SpoolFullError("a quota or the reserve of free space is reached")
        self._room_left.took(submission.size, entries)
        raw = submission.raw
        job: _PutJob = Job(prepare(submission, file=file))
        if isinstance(raw, bytes) and len(raw) <= self._large_bytes:
            self._writer.submit_soon(job)
        else:
            self._sealers.submit(self._seal, job)
        return job.future

    def _seal(self, job: _PutJob) -> None:
        """In a sealer's thread: bring a large mail to the disk as a file, before the commit that names it."""
        item = job.payload
        raw = item.submission.raw
        file = item.file
        try:
            if isinstance(raw, bytes):
                file = LargeFile(self._layout.raw_path(item.submission.spool_id))
                file.take()
                file.write(raw)
            assert file is not None
            digest = file.seal(item.submission.trace_size)
            job.payload = item._replace(trace_sha256=digest, file=file)
            self._writer.submit(job)
        except BaseException as exc:  # noqa: BLE001 - handed to the one who waits; a lost one would wait for ever
            if file is not None:
                file.remove()
            job.error = exc
            tell([job])

    def _commit(self, group: Sequence[_PutJob]) -> None:
        """In the writer's thread: one transaction for the group, or one for each mail if one of them cannot
        be stored.
        """
        try:
            self._store(group)
        except (apsw.ConstraintError, ValueError, TypeError) as exc:
            if len(group) > 1:
                for job in group:
                    self._commit([job])
            else:
                self._fail(group, SpoolError(f"this mail cannot be stored: {exc}"), certain=True)
        except (apsw.Error, OSError) as exc:
            self._drop()
            error = translate_error(exc, self._layout.database)
            self._fail(group, error, certain=isinstance(error, SpoolFullError))
        except SpoolError as exc:
            self._fail(group, exc, certain=True)

    def _store(self, group: Sequence[_PutJob]) -> None:
        if self._connection is None:
            self._connection = self._open()
        confirmed = tuple(self._confirmed)
        check_in_place(self._connection)
        with telemetry.step_timed("commit"), self._write_lock.transaction(self._connection):
            note_confirmed(self._connection, confirmed)
            answers = accept(
                self._connection,
                [job.payload for job in group],
                window_microseconds=self._window,
                find_key=self._key.find,
            )
            fault_point("spool.put.ready")
        fault_point("spool.put.committed")
        telemetry.entries_accepted(entries=sum(answer.entries for answer in answers))
        for _ in confirmed:
            self._confirmed.popleft()
        for job, answer in zip(group, answers, strict=True):
            job.answer = answer.receipt
            if job.payload.submission.message_id is None:
                self._expect(answer.receipt.spool_id)
            if not answer.stored and job.payload.file is not None:
                job.payload.file.remove()
        self._ringer.ring()

    def _expect(self, spool_id: SpoolId) -> None:
        """Note that the peer is about to get the 250 for a mail without a Message-ID."""
        if len(self._unconfirmed) >= _UNCONFIRMED_LIMIT:
            self._unconfirmed.clear()
        self._unconfirmed.add(spool_id)

    @staticmethod
    def _fail(group: Sequence[_PutJob], error: SpoolError, *, certain: bool) -> None:
        """Tell all who wait for the group, each with an exception of its own.

        After a failed sync nobody knows whether a crash would bring the row back (its frames may be in the
        log), so the file is then left to the sweep.
        """
        for job in group:
            job.error = type(error)(*error.args)
            if certain and job.payload.file is not None:
                job.payload.file.remove()

    def _idle(self) -> bool:
        """In the writer's thread, when it has nothing to commit: write what nobody waits for. Returns whether
        that is on disk.
        """
        return self._confirm() and self._count()

    def _count(self) -> bool:
        """Write the counts and the refusals. Returns whether they are on disk."""
        counts, refusals = tuple(self._counts), tuple(self._refusals)
        if counts or refusals:
            try:
                self._connection = self._connection or self._open()
                with self._write_lock.transaction(self._connection):
                    add_counts(self._connection, [each for some in counts for each in some])
                    add_refusals(self._connection, [each for some in refusals for each in some])
            except (apsw.Error, OSError, SpoolError):
                self._drop()
                return False
            for _ in counts:
                self._counts.popleft()
            for _ in refusals:
                self._refusals.popleft()
        return True

    def _confirm(self) -> bool:
        """In the writer's thread, when it is idle: note which 250s peers have seen. Returns whether that is
        on disk.
        """
        if confirmed := tuple(self._confirmed):
            try:
                self._connection = self._connection or self._open()
                with self._write_lock.transaction(self._connection):
                    note_confirmed(self._connection, confirmed)
            except (apsw.Error, OSError, SpoolError):
                self._drop()
                return False
            for _ in confirmed:
                self._confirmed.popleft()
        return True

    def _open(self) -> apsw.Connection:
        connection = open_database(self._layout.database)
        self._checkpoints.watch(connection)
        return connection

    def _drop(self) -> None:
        """Close a database that failed; the next group opens it anew."""
        if self._connection is not None:
            close_database(self._connection)
            self._connection = None

    def _end(self) -> None:
        """The last act of the writer."""
        self._idle()
        self._drop()
