"""Looks at a spool from outside: is it fit for use, does a deliverer run, has another spool taken its place,
does it take a write?

Owns the sentences about kind, owner and mode of its folders and files, and about a damaged database, for the
operator who can mend that. The deliverer's lock is never tried, not for an instant: a deliverer that starts
in that instant would be told that another one runs. Only the probe opens the database, as every writer does.
All others look at names and modes: opening and closing the file itself would release SQLite's locks of this
process (fcntl).
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.config.data_dir import TALLY
from relay.config.sentences import show
from relay.errors import SpoolDamagedError, SpoolError, SpoolSickError, SpoolUnfitError
from relay.faults import fault_point
from relay.spool.local.database import WriteLock, close_database, open_database
from relay.spool.local.errors import translated
from relay.spool.local.layout import Layout
from relay.spool.local.wake import is_listening

_FILE = os.R_OK | os.W_OK
_FOLDER = os.R_OK | os.W_OK | os.X_OK
_NEEDS = {_FILE: "read and write it", _FOLDER: "list it and write to it"}


def find_unfit(data_dir: Path, *, user: int | None = None) -> tuple[str, ...]:
    """Sentences about the parts that we cannot use, one for each folder; a part that does not exist yet is
    fit.

    With `user` (a uid) owner and mode are judged for that user, as far as they tell: root itself may do all.
    """
    return tuple(_say(data_dir, path, wrong) for path, wrong in _look(Layout(data_dir=data_dir), user))


def explain_failure(data_dir: Path, error: SpoolError) -> SpoolError:
    """The error in an operator's words if an unfit part of the spool is its cause, else the error itself."""
    if isinstance(error, SpoolDamagedError):
        return SpoolUnfitError(_say_damage(data_dir, error))
    if type(error) in (SpoolError, SpoolSickError) and (sentences := find_unfit(data_dir)):
        return SpoolUnfitError(*sentences)
    return error


@contextmanager
def diagnosed(data_dir: Path) -> Iterator[None]:
    """A block in which a failure that an unfit spool causes is told as such.

    Raises:
        SpoolUnfitError: the sentences, in place of what the library or the system said.
        SpoolError: any other failure.
    """
    try:
        yield
    except SpoolError as exc:
        told = explain_failure(data_dir, exc)
        if told is exc:
            raise
        raise told from exc


def _say(data_dir: Path, path: Path, wrong: str) -> str:
    return f"data_dir = {show(str(data_dir))}: {wrong if path == data_dir else f'{path} {wrong}'}"


def _say_damage(data_dir: Path, error: SpoolDamagedError) -> str:
    layout = Layout(data_dir=data_dir)
    why = str(error).removeprefix(f"{layout.database}: ")
    return _say(
        data_dir,
        layout.database,
        f"cannot be read as a database ({why}); stop the relay and bring back a copy, or move {layout.root} away: "
        "a new one is made, without the mail that was in it",
    )


def _look(layout: Layout, user: int | None) -> Iterator[tuple[Path, str]]:
    """The parts that are unfit, each with its sentence, from the outside in; the inside of an unfit folder is
    not looked at.
    """
    database = layout.database
    log, index = (database.with_name(f"{database.name}-{word}") for word in ("wal", "shm"))
    for folder, files in (
        (layout.data_dir, (layout.deliver_lock, layout.data_dir / TALLY, layout.key)),
        (layout.root, (database, log, index, layout.gate)),
    ):
        if wrong := _judge(folder, _FOLDER, user):
            yield folder, wrong
            return
        yield from _first(files, _FILE, user)
    for folder, need in ((layout.raw, _FOLDER), (layout.makers, _FILE), (layout.reserve, _FILE)):
        if wrong := _judge(folder, _FOLDER, user):
            yield folder, wrong
        elif folder.is_dir():
            yield from _first(sorted(folder.iterdir()), need, user)


def _first(paths: Iterable[Path], need: int, user: int | None) -> Iterator[tuple[Path, str]]:
    """The first unfit one of several files, for all of them: they were made, or spoilt, together."""
    for path in paths:
        if wrong := _judge(path, need, user):
            yield path, wrong
            return


def _judge(path: Path, need: int, user: int | None) -> str:
    """The fault of one part, and what would be right. Returns "" if the part is fit or does not exist."""
    is_folder = need == _FOLDER
    try:
        found = path.stat()
        disk = os.statvfs(path)
    except FileNotFoundError:
        return "is a link to nothing; remove it, or make what it leads to" if path.is_symlink() else ""
    except OSError as exc:
        return f"cannot be reached ({exc.strerror}); name a directory that the user relay runs as can get at"
    if stat.S_ISDIR(found.st_mode) != is_folder or not (is_folder or stat.S_ISREG(found.st_mode)):
        kind = "directory" if is_folder else "file"
        return f"is no {kind}; move it away, and the relay makes the {kind} that belongs there"
    if disk.f_flag & os.ST_RDONLY:
        return "lies on a file system that is mounted read-only; mount it for writing"
    may = os.access(path, need, effective_ids=True) if user is None else _may(found, user, need)
    return "" if may else _refuse(found, os.geteuid() if user is None else user, need)


def _may(found: os.stat_result, user: int, need: int) -> bool:
    """Judge by the mode. The members of the group are not known here, so what the group may do counts as
    allowed.
    """
    mode = found.st_mode >> 6 if found.st_uid == user else found.st_mode >> 3 | found.st_mode
    return mode & need == need


def _refuse(found: os.stat_result, user: int, need: int) -> str:
    mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
    if found.st_uid == user:
        return (
            f"may not be used by its own owner, {_name(user)} ({mode}); let it {_NEEDS[need]} (chmod u+rwX)"
        )
    return (
        f"belongs to {_name(found.st_uid)} ({mode}), and the user {_name(user)} may not {_NEEDS[need]}; run this as the user relay "
        "runs as, or give that user all of data_dir (chown -R)"
    )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


_LOCKS = Path("/proc/locks")
#: More receivers than server.receivers allows, and marks that crashes left.
_MOST_MARKS = 1_024


def deliverer_runs(data_dir: Path) -> bool:
    """Look for a deliverer's doorbell or lock. Returns whether one runs; True also if that cannot be known.
    Never blocks, never raises.
    """
    return is_listening(data_dir) or _is_locked(Layout(data_dir=data_dir).deliver_lock)


def receiver_runs(data_dir: Path) -> bool:
    """Look for the locks of those that give out ids, as each receiver does for as long as it runs. Returns
    whether there is one; True also if that cannot be known. Never blocks, never raises.
    """
    makers = Layout(data_dir=data_dir).makers
    try:
        marks = sorted(os.listdir(makers))[:_MOST_MARKS]  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(_is_locked(makers / mark) for mark in marks)


def _is_locked(path: Path) -> bool:
    """Look for a lock (flock(2)) on the file in the kernel's list. Returns whether there is one; a deliverer
    has it before it listens.

    Only the number of the file is compared: on some file systems (btrfs, overlayfs) the kernel's list names
    another device than stat(2). The same number on two devices, locked on the other, costs an operator a
    hint.
    """
    try:
        number = path.stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except FileNotFoundError:
        return not _LOCKS.exists()
    except OSError:
        return True
    # proc_locks(5): "1: FLOCK  ADVISORY  WRITE 4711 fe:00:2146638 0 EOF"; a waiting process has "->" first.
    return any(
        len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(number)
        for words in map(str.split, lines)
    )


_Identity = tuple[int, int]


class Place:
    """The identity of the database file that a process has opened, to be compared later. Calls block: use a
    thread.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._opened = self._look()

    def has_changed(self) -> bool:
        """Compare with the file that is there now. Returns whether it is another one; False while there is
        none, because the next write will tell.
        """
        now = self._look()
        return now is not None and now != self._opened

    def _look(self) -> _Identity | None:
        try:
            found = self._layout.database.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


#: A new value each time: SQLite writes no page for a value that stays the same.
_COUNT = "INSERT INTO totals VALUES ('probes', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"


def probe_spool(layout: Layout) -> None:
    """Bring one write to the disk, on a connection of its own. Blocks as long as the disk does: use a thread.

    Raises:
        SpoolFullError, SpoolSickError: the write failed.
    """
    connection = open_database(layout.database)
    try:
        gate = WriteLock(layout.gate)
        try:
            with translated(layout.database):
                with gate.transaction(connection):
                    connection.execute(_COUNT)
                fault_point("spool.probed")
        finally:
            gate.close()
    finally:
        close_database(connection)
