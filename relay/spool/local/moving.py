"""A local spool from which mail moves, or into which it comes.

Owns the mark of such a spool, which says where its mail is going or coming from: no daemon begins on it, so
that no mail is delivered from two places. The deliverer's lock is held as well. The mark is written before
the first mail moves, and removed when the move is complete. Calls block.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw

from relay.config.sentences import show
from relay.errors import SpoolBusyError, SpoolError, SpoolUnfitError
from relay.spool.action import Action
from relay.spool.audit import Stage
from relay.spool.local import actions, clock
from relay.spool.local.database import Readers, WriteLock, close_database, open_database, query
from relay.spool.local.errors import translated
from relay.spool.local.health import deliverer_runs, receiver_runs
from relay.spool.local.layout import FILE_MODE, Layout, lock_file, sync_folder
from relay.timing import Clocks

#: Octets of the mark that are read; it names a table.
_MOST_BYTES = 1_024
#: Pages of the log after which it is copied into the database: 4 MiB.
_LOG_PAGES = 1_000
_OWED = "SELECT count(*) FROM entries WHERE state <> 'done'"


def read_mark(layout: Layout) -> str:
    """The words of the mark about where the mail is going; "" if there is none."""
    try:
        return layout.moving.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace").strip() or "?"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:
        return f"? ({exc.strerror})"


def check_unmoved(layout: Layout) -> None:
    """Check that no mail of a spool is moving.

    Raises:
        SpoolUnfitError: some is, or has been until its command ended.
    """
    if sentence := tell_moving(layout):
        raise SpoolUnfitError(sentence)


def tell_moving(layout: Layout) -> str:
    """The sentence about a spool whose mail is moving; "" if none is."""
    mark = read_mark(layout)
    if not mark:
        return ""
    command = "relay fleet export --to" if mark.startswith("from ") else "relay fleet import --from"
    return (
        f"data_dir = {show(str(layout.data_dir))}: mail of this spool is moving, {mark}, and may be there already; "
        f"finish that: {command} {layout.data_dir}"
    )


def check_settled(layout: Layout) -> None:
    """Check that no command moves the mail of a spool at this moment: a change of what has been read already
    would be lost. What a move has left may be changed.

    Raises:
        SpoolBusyError: one does.
    """
    mark = read_mark(layout)
    if mark and deliverer_runs(layout.data_dir):
        raise SpoolBusyError(
            f"mail of {layout.data_dir} is moving at this moment, {mark}; try again when that has ended"
        )


def lock_delivery(layout: Layout) -> int:
    """The deliverer's lock of a spool, which is held until the handle is closed.

    Raises:
        SpoolBusyError: another process delivers from this spool.
    """
    with translated():
        lock = lock_file(layout.deliver_lock)
    if lock is None:
        raise SpoolBusyError(f"another process delivers from {layout.root}")
    return lock


def open_unmoved(layout: Layout) -> apsw.Connection:
    """The database of a daemon, which is made, or brought up to date.

    Raises:
        SpoolUnfitError: mail of this spool is moving, or it is no spool of ours.
        SpoolFullError, SpoolSickError: it cannot be opened now.
    """
    check_unmoved(layout)
    return open_database(layout.database, create=True)


class Moving:
    """A spool that nobody else uses."""

    def __init__(self, data_dir: Path, *, mark: str, create: bool, clocks: Clocks) -> None:
        """Mark the spool; with `create` one that is missing is made.

        Raises:
            SpoolBusyError: a daemon uses it.
            SpoolError: there is none, or none that is usable.
        """
        self.layout = Layout(data_dir=data_dir)
        self._clocks = clocks
        if create:
            self.layout.prepare()
        elif not self.layout.database.exists():
            raise SpoolError(f"there is no spool in {data_dir}: {self.layout.database} is missing")
        self._lock = lock = lock_delivery(self.layout)
        #: True if an earlier move was not complete.
        self.was_marked = bool(read_mark(self.layout))
        try:
            self._mark(mark)
            self.connection = self._open()
        except BaseException:
            os.close(lock)
            raise
        self.write_lock = WriteLock(self.layout.gate)
        self.readers = Readers(self.layout.database)

    def _open(self) -> apsw.Connection:
        """The database. A spool that cannot be opened is left without a mark of ours."""
        try:
            connection = open_database(self.layout.database, create=True)
            with translated(self.layout.database):
                # No daemon copies the log meanwhile, and what is removed is written over in it.
                connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}").fetchall()
        except BaseException:
            if not self.was_marked:
                self.unmark()
            raise
        return connection

    def _mark(self, mark: str) -> None:
        """Write the mark, and then look for receivers: one that begins later sees it."""
        before = read_mark(self.layout)
        if before not in ("", mark):
            raise SpoolError(
                f"{self.layout.root}: mail of this spool is moving already ({before}); finish that first"
            )
        with translated():
            if not before:
                _write(self.layout.moving, mark)
            if receiver_runs(self.layout.data_dir):
                if not before:
                    self.layout.moving.unlink()
                raise SpoolBusyError(f"a relay receives into {self.layout.data_dir}; stop it first")

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query."""
        with translated(self.layout.database):
            return query(self.connection, sql, values)

    def owes(self) -> int:
        """The number of entries that are not finished."""
        return int(self.ask(_OWED)[0][0])

    def now(self) -> int:
        """The present instant of the spool's clock."""
        state = clock.load(self.connection)
        return clock.estimate(state, self._clocks) if state else self._clocks.wall()

    def note(self, action: Action, *, counts: Mapping[str, int], detail: str) -> None:
        """Append a row to the audit of the spool."""
        with translated(self.layout.database), self.write_lock.transaction(self.connection):
            actions.add(
                self.connection, action, at=self.now(), stage=Stage.DONE, counts=counts, detail=detail
            )

    def unmark(self) -> None:
        """Remove the mark: the move is complete."""
        with translated():
            self.layout.moving.unlink(missing_ok=True)
            sync_folder(self.layout.root)

    def close(self) -> None:
        """Let the spool go; a mark that is there stays."""
        with suppress(SpoolError):
            query(self.connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        self.readers.close()
        self.write_lock.close()
        close_database(self.connection)
        os.close(self._lock)


def _write(path: Path, text: str) -> None:
    """Write a small file, whole and on the disk."""
    part = path.with_name(f"{path.name}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        os.write(handle, f"{text}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    part.rename(path)
    sync_folder(path.parent)
