"""An Intake in memory, for tests of the SMTP edge alone; fails on request by word."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

from relay.envelope import SpoolId
from relay.errors import SpoolFullError, SpoolSickError
from relay.spool.model import Receipt, Submission
from relay.spool.raw_file import RawFile
from relay.timing import utc_now


@dataclass
class FakeFile:
    """A large mail on its way, kept in memory."""

    spool: FakeSpool
    octets: bytearray = field(default_factory=bytearray)
    discarded: bool = False

    def write(self, octets: bytes) -> None:
        self.spool.disk.wait(20)
        self.spool.fail()
        self.octets += octets

    def discard(self) -> None:
        self.discarded = True

    @contextmanager
    def view(self):
        yield memoryview(bytes(self.octets))

    def read(self, at, size):
        return bytes(self.octets[at : at + size])


class FakeSpool:
    """Accepted mails, in order; `fault` is "", "full", "sick", "bug" or "hang"."""

    def __init__(self) -> None:
        self.mails: list[Submission] = []
        self.confirmed: list[SpoolId] = []
        self.counts: list = []
        self.files: list[FakeFile] = []
        self.fault = ""
        self.has_room = True
        self.is_paused = False
        #: Cleared, writes of large mail wait.
        self.disk = threading.Event()
        self.disk.set()
        self.release = asyncio.Event()
        self._ids = itertools.count(1)

    def now(self):
        return utc_now()

    def new_id(self) -> SpoolId:
        return SpoolId(f"T{next(self._ids):09d}")

    def open_file(self, spool_id: SpoolId) -> RawFile:
        self.fail()
        self.files.append(FakeFile(self))
        return self.files[-1]

    def fail(self) -> None:
        if self.fault == "full":
            raise SpoolFullError("no space left on /secret/path")
        if self.fault == "sick":
            raise SpoolSickError("EIO on /secret/path")
        if self.fault == "bug":
            raise RuntimeError("password=secret")

    async def put(self, submission: Submission) -> Receipt:
        if self.fault == "hang":
            await self.release.wait()
        await asyncio.sleep(0)
        self.fail()
        for mail in self.mails:
            if mail.fingerprint == submission.fingerprint and mail.message_id is not None:
                return Receipt(spool_id=mail.spool_id, duplicate=True)
        self.mails.append(submission)
        return Receipt(spool_id=submission.spool_id, duplicate=False)

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        return asyncio.get_running_loop().create_task(self.put(submission))

    def confirm(self, spool_id: SpoolId) -> None:
        self.confirmed.append(spool_id)

    def note_counts(self, counts) -> None:
        self.counts += counts

    def note_refusals(self, refusals) -> None:
        self.refusals = [*getattr(self, "refusals", []), *refusals]

    async def probe(self) -> None:
        if self.fault == "hang":
            await self.release.wait()
        self.fail()

    def room(self, size: int) -> bool:
        return self.has_room

    def paused(self) -> bool:
        return self.is_paused

    def release_now(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let commits that hang go on, as if nothing had been."""
        self.fault = self.fault.replace("hang", "")
        loop.call_soon_threadsafe(self.release.set)

    def raw(self, index: int = -1) -> bytes:
        """The whole mail, trace header included."""
        raw = self.mails[index].raw
        return bytes(raw.octets) if isinstance(raw, FakeFile) else bytes(raw)

    def body(self, index: int = -1) -> bytes:
        """The mail without our own header."""
        return self.raw(index)[self.mails[index].trace_size :]
