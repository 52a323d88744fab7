"""The reading of mails by workers, for delivery (the plan of a contact with its files) and reception (refused
files).

Owns the way of one mail to a worker and back: descriptors out, values in. The result is a plan, or the reason
why the mail is not understood; every trouble that may pass is raised as temporary.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from relay import telemetry
from relay.config import Config, Route
from relay.config.data_dir import WORK
from relay.contact.files import most_file_bytes
from relay.contact.plan import Context, Plan
from relay.errors import FailureClass, NotUnderstoodError, NotYetError, RemoteError
from relay.understand import wire
from relay.understand.attendance import Call, GivenUpError
from relay.understand.folder import open_memory, open_unnamed, prepare_folder
from relay.understand.forked import ForkedTemplate
from relay.understand.limits import Allowance
from relay.understand.pool import Pool
from relay.understand.supply import BusyError, LaneTakenError, NoWorkerError, Supply
from relay.vocabulary import Rung

_CHUNK_BYTES = 1 << 20
#: Seconds for which a mail waits where no worker can be started: several times what a try to start one takes.
_NO_WORKER_SECONDS = 10.0
#: Attempts after which a killed worker counts as killed by the mail: else a kernel that is always short of
#: memory would keep the mail for ever.
_KILLED_ATTEMPTS = 6
#: The cause of each death in the words of `vocabulary.Cause`; other deaths are a crash.
CAUSES = {"cpu": "limit", "memory": "limit", "silent": "limit", "files": "limit", "fault": "exception"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """The conversation that a mail belongs to, by its own header."""

    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    #: The addresses of From.
    authors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One mail, and the facts that its contact depends on."""

    #: The octets, with our own Received field.
    raw: memoryview = field(repr=False)
    #: A descriptor of the file that holds the same octets, where there is one.
    handle: int | None
    context: Context
    route: Route
    config: Config
    rung: Rung
    refused: frozenset[str] = frozenset()
    #: Starts of delivery so far, this one included.
    attempts: int = 1
    #: The search for the contact that a mail answers; None where the route wants no threads.
    find_related: Callable[[Thread], Awaitable[str | None]] | None = field(default=None, repr=False)


class Understanding(Protocol):
    """The interface by which delivery has a mail read."""

    def plan(self, task: Task) -> AbstractAsyncContextManager[Plan]:
        """The plan of the contact; its files can be read until the block ends.

        Raises:
            NotUnderstoodError: there is none, and never will be.
            NotYetError: there is no worker now, or the mail is slow to read, and other slow mails are before
                it.
            RemoteError: there is none now.
        """

    @property
    def aside(self) -> int:
        """The number of mails that are read slowly, and keep no other mail waiting."""


class Readers(Protocol):
    """The interface of a pool, to which mails are given."""

    @property
    def aside(self) -> int:
        """The number of mails that are read slowly."""

    async def run(self, call: Call) -> dict[str, Any]:
        """The result of the job for this mail; see `Pool.run`."""


class WorkerReading:
    """The reading of mails by the workers of a pool."""

    def __init__(self, pool: Readers, folder: Path) -> None:
        self._pool = pool
        self._folder = folder
        #: The lock of the one mail whose files are in memory, because the disk is full.
        self._memory = asyncio.Lock()

    @property
    def aside(self) -> int:
        """The number of mails that are read slowly, and keep no other mail waiting."""
        return self._pool.aside

    @asynccontextmanager
    async def plan(self, task: Task) -> AsyncIterator[Plan]:
        """The plan of the contact; see `Understanding`."""
        with ExitStack() as stack:
            try:
                raw = await self._hand_over(task, stack)
                found = await self._ask(task, raw, open_unnamed(self._folder), stack)
            except (BusyError, OSError) as exc:
                if not _is_full(exc):
                    raise _temporary(exc) from exc
                # With the files of one mail at a time in memory, mail goes out, and the disk becomes free.
                async with self._memory:
                    yield await self._ask_in_memory(task, stack)
                return
            yield found

    async def _ask_in_memory(self, task: Task, stack: ExitStack) -> Plan:
        try:
            raw = await self._hand_over(task, stack)
            return await self._ask(task, raw, open_memory(), stack)
        except (BusyError, OSError) as exc:
            raise _temporary(exc) from exc

    async def _hand_over(self, task: Task, stack: ExitStack) -> int:
        if task.handle is not None:
            return task.handle
        handle = open_memory(task.raw)
        stack.callback(os.close, handle)
        return handle

    async def _ask(self, task: Task, raw: int, files: int, stack: ExitStack) -> Plan:
        stack.callback(os.close, files)
        order = {
            "context": wire.pack(task.context),
            "route": task.route.name,
            "rung": str(task.rung),
            "refused": sorted(task.refused),
            "asks": task.find_related is not None,
        }
        call = Call(
            job="plan",
            order=order,
            raw=raw,
            files=files,
            size=len(task.raw),
            config=task.config,
            allowance=build_allowance(task.config),
            spool_id=task.context.spool_id,
            answer=partial(_answer, task),
            is_last=task.attempts >= _KILLED_ATTEMPTS,
        )
        try:
            with telemetry.step_timed("understand", size=len(task.raw)):
                result = await self._pool.run(call)
            return build_plan(result, files)
        except GivenUpError as exc:
            raise NotUnderstoodError(CAUSES.get(exc.kind, "crash"), str(exc)) from exc
        except wire.WireError as exc:
            raise NotUnderstoodError("crash", str(exc)) from exc


@asynccontextmanager
async def open_reading(
    config: Config, template: ForkedTemplate | None = None
) -> AsyncIterator[WorkerReading]:
    """The reading by workers; the first are started at once, from the forked template if there is one.

    Where `data_dir/work` cannot be made, on a full disk say, files are held in memory, those of one mail at a
    time.
    """
    folder = config.data_dir / WORK
    try:
        prepare_folder(folder)
    except OSError as exc:
        telemetry.workers_failed(why=f"{folder} cannot be made: {exc.strerror}")
    pool = Pool(Supply(config, first=template))
    try:
        with suppress(BusyError):  # logged; the first mail tries again
            await pool.start()
        yield WorkerReading(pool, folder)
    finally:
        await pool.close()


async def _answer(task: Task, question: Mapping[str, Any]) -> dict[str, Any]:
    """The contact that the mail answers, for the worker that asks."""
    assert task.find_related is not None
    return {"contact_id": await task.find_related(wire.unpack(Thread, dict(question)))}


def build_allowance(config: Config) -> Allowance:
    """The limits of one mail by the configuration."""
    limits = config.understand
    return Allowance(
        cpu_seconds=limits.cpu_seconds,
        memory_bytes=limits.memory_bytes,
        files_bytes=most_file_bytes(config),
    )


def build_plan(result: Mapping[str, Any], files: int) -> Plan:
    """The plan that a worker's result describes; its files are read from where the worker put them.

    Raises:
        WireError: the result describes none.
    """
    try:
        plan, offsets = dict(result["plan"]), list(result["offsets"])
        planned = list(plan["files"])
        if len(offsets) != len(planned):
            raise wire.WireError("files without a place")
        plan["files"] = [
            _locate(dict(file), offset, files) for file, offset in zip(planned, offsets, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as exc:
        raise wire.WireError(f"no plan: {exc!r}") from None
    return wire.unpack(Plan, plan)


def _locate(file: dict[str, Any], offset: Any, files: int) -> dict[str, Any]:
    """The data of a planned file, with the function that reads its octets."""
    size, end = file["size"], os.fstat(files).st_size
    if not (isinstance(offset, int) and isinstance(size, int) and 0 <= offset <= offset + size <= end):
        raise wire.WireError("a file outside of what was written")
    return file | {"chunks": partial(_read, files, offset, size)}


def _read(files: int, offset: int, size: int) -> Iterator[bytes]:
    """The octets of one file, in chunks."""
    end = offset + size
    while offset < end:
        chunk = os.pread(files, min(_CHUNK_BYTES, end - offset), offset)
        if not chunk:
            raise OSError("a file of a mail under way has become shorter")
        offset += len(chunk)
        yield chunk


def _is_full(exc: Exception) -> bool:
    """Returns whether the disk takes no file: it is full, or read-only, or the folder is missing."""
    error = exc.error if isinstance(exc, BusyError) else errno.errorcode.get(getattr(exc, "errno", 0) or 0)
    return error in ("ENOSPC", "EDQUOT", "EROFS", "ENOENT")


def _temporary(exc: Exception) -> NotYetError | RemoteError:
    """The failure that may pass; a mail that was given to no worker has not failed."""
    if isinstance(exc, LaneTakenError):
        return NotYetError(str(exc))
    if isinstance(exc, NoWorkerError):
        return NotYetError(str(exc), seconds=_NO_WORKER_SECONDS)
    return RemoteError(service="relay", failure=FailureClass.TEMPORARY, code="busy", detail=str(exc))
