"""The changes of the delivering half, committed in groups, and what is done when the disk is full.

Owns the deliverer's connection for writing. All changes that wait share one transaction, each in a savepoint
of its own. Never knows what a change does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import apsw

from relay.errors import SpoolError, SpoolFullError
from relay.faults import fault_point
from relay.spool.local.checkpoints import Checkpoints
from relay.spool.local.database import WriteLock, close_database, open_database, restart_log, savepoint
from relay.spool.local.errors import translate_error, translated
from relay.spool.local.layout import Layout
from relay.spool.local.room import Reserve
from relay.spool.local.writer import Job, Writer

Answer = TypeVar("Answer")
_Change = Callable[[apsw.Connection], object]
#: Changes with their names, for the fault point after each.
_Named = tuple[str, _Change]


class Changes:
    """The writer's thread of a deliverer, and the connection that only this thread uses."""

    def __init__(
        self, connection: apsw.Connection, layout: Layout, gate: WriteLock, reserve: Reserve
    ) -> None:
        self._connection: apsw.Connection | None = connection
        self._layout = layout
        self._write_lock = gate
        self._reserve = reserve
        with translated():
            size = reserve.size()
        self._checkpoints = Checkpoints(layout.database, layout.gate, reserve_bytes=size)
        #: True while each long log is copied within a commit, because the disk has no room for a longer one.
        self._is_tight = False
        self._watch(connection)
        self._writer: Writer[_Named, object] = Writer(self._commit, name="spool-outbox", close=self._drop)

    async def run(self, name: str, change: Callable[[apsw.Connection], Answer]) -> Answer:
        """Have the change committed. Returns its answer once it is on disk."""
        job: Job[_Named, object] = Job((name, change))
        self._writer.submit(job)
        return cast("Answer", await job.future)

    async def close(self) -> None:
        """Commit what was begun and let the connection go; harmless when called twice."""
        await self._writer.close()
        await asyncio.to_thread(self._checkpoints.close)

    def _commit(self, group: Sequence[Job[tuple[str, _Change], object]]) -> None:
        """In the writer's thread: all changes in one transaction, in which each can fail alone."""
        error = self._try(group)
        if error is not None and self._win_room(error):
            error = self._try(group)
        if error is not None:
            for job in group:
                job.error = type(error)(*error.args)

    def _try(self, group: Sequence[Job[tuple[str, _Change], object]]) -> SpoolError | None:
        """Run the transaction. Returns the error that stopped all of it, or None."""
        for job in group:
            job.error = None
        try:
            if self._connection is None:
                self._connection = self._open()
            if self._is_tight:
                self._watch(self._connection)
            with self._write_lock.transaction(self._connection):
                for job in group:
                    try:
                        with savepoint(self._connection):
                            job.answer = job.payload[1](self._connection)
                    except SpoolError as exc:
                        job.error = exc
                    except (
                        ValueError,
                        TypeError,
                    ) as exc:  # a value that no row can hold; the others can be stored
                        job.error = SpoolError(f"this change cannot be stored: {exc}")
            for job in group:
                fault_point(f"spool.{job.payload[0]}.committed")
        except (apsw.Error, OSError) as exc:
            self._drop()
            return translate_error(exc)
        except SpoolError as exc:
            return exc
        return None

    def _win_room(self, error: SpoolError) -> bool:
        """Make room for us on a full disk: the reserve is released, and the log is overwritten from its
        beginning. Returns whether there is room now.
        """
        released = self._reserve.release(error)
        if not isinstance(error, SpoolFullError):
            return released
        try:
            with translated(), self._checkpoints.paused():
                self._connection = self._connection or self._open()
                return restart_log(self._connection) or released
        except SpoolError:
            self._drop()
            return released

    def _open(self) -> apsw.Connection:
        connection = open_database(self._layout.database)
        self._watch(connection)
        return connection

    def _watch(self, connection: apsw.Connection) -> None:
        """Leave checkpoints to the thread, but not while the reserve is out: the log would grow into the last
        room before the thread comes.
        """
        self._is_tight = self._reserve.is_out()
        if self._is_tight:
            connection.wal_autocheckpoint(self._checkpoints.pages)
        else:
            self._checkpoints.watch(connection)

    def _drop(self) -> None:
        if self._connection is not None:
            close_database(self._connection)
            self._connection = None
