"""A list in a file: read anew when it has changed, and kept as it was while the file is not in order.

Owns the look at the file and its last good state. A file that cannot be read, is too large, or has a line
that is no entry changes nothing: its last good state stays in force, and the log says why once. At a start
there is no such state, and the lines that are entries count. A file that is written in place may be caught
half written: one that is empty, or does not end with a line end, counts only once two looks, two seconds of a
steady clock apart, have found it the same. No time of the file is compared with a clock: both can be set.
Put a new one in its place by a rename, as `relay list` does, and it counts at once.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from relay import telemetry
from relay.lists.entries import EntryError, is_on, read_lines

#: Octets of a file: half a million entries, which take some 60 MB of memory in each receiver.
MOST_BYTES = 16_777_216
#: Seconds for which a file must be seen unchanged that looks as if somebody were writing it.
STILL_SECONDS = 2.0
#: Writers hand over whole blocks of this size: such a file may be one that still grows.
_BLOCK_BYTES = 4_096

_Stamp = tuple[int, int, int, int, int]


class _UnfitError(Exception):
    """The file is not in order; the message says why, for an operator."""


class _UnfinishedError(Exception):
    """The file seems to be written at this moment."""


class ListFile:
    """The list in one file. The first look is due at once; looks block, and may come from any thread."""

    def __init__(
        self, name: str, path: Path, *, quiet: bool = False, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """The list, of which nothing is read yet. One that is `quiet` leaves the log alone, for a command."""
        self.name = name
        self.path = path
        #: The entries in force.
        self.entries: AbstractSet[str] = frozenset()
        #: The reason why the file as it stands is not in force; "" if it is.
        self.trouble = ""
        self._stamp: _Stamp | None = None
        #: The stamp of a file that could not be taken: it is looked at again when it has changed.
        self._unfit: _Stamp | None = None
        #: The stamp of a file that may be half written, and the instant of the look that saw it first.
        self._unfinished: tuple[_Stamp, float] | None = None
        self._steady = steady
        self._is_first = True
        self._quiet = quiet
        self._lock = threading.Lock()

    def holds(self, address: str) -> bool:
        """Returns whether the list has an entry that names this address."""
        return is_on(address, self.entries)

    @property
    def is_unfinished(self) -> bool:
        """Returns whether the file may be half written, so that another look is due in `STILL_SECONDS`."""
        return self._unfinished is not None

    def refresh(self) -> None:
        """Look at the file, and read it if it has changed."""
        with self._lock:
            try:
                self._look()
            except _UnfinishedError:
                pass
            except _UnfitError as exc:
                self._tell(str(exc))
            except OSError as exc:
                self._tell(f"it cannot be read: {exc.strerror or exc}")
            self._is_first = False

    def _look(self) -> None:
        seen = _stamp_of(os.stat(self.path))  # noqa: PTH116 - its errors name no path
        if seen in (self._stamp, self._unfit):
            self._unfinished = None
            return
        self._unfit = None
        is_still = self._is_still(seen)
        if self._unfinished is not None and not is_still:
            raise _UnfinishedError
        octets, stamp = _read(self.path)
        if not self._is_first and _seems_unfinished(octets) and not (is_still and stamp == seen):
            self._unfinished = stamp, self._steady()
            raise _UnfinishedError
        self._unfinished = None
        entries: set[str] = set()
        wrong = ""
        for number, entry in read_lines(io.BytesIO(octets)):
            if isinstance(entry, EntryError):
                wrong = wrong or f"line {number} {entry}"
                if not self._is_first:
                    break
            else:
                entries.add(entry)
        if wrong:
            self._unfit = stamp
            if self._is_first:
                self.entries = entries
            raise _UnfitError(wrong)
        self.entries, self._stamp, self.trouble = entries, stamp, ""
        if not self._quiet:
            telemetry.list_read(name=self.name, entries=len(entries))

    def _is_still(self, seen: _Stamp) -> bool:
        """Returns whether a file that may be half written has been the same for long enough. One that has
        changed meanwhile is looked at anew.
        """
        if self._unfinished is None:
            return False
        stamp, since = self._unfinished
        if stamp != seen:
            self._unfinished = None
            return False
        return self._steady() - since >= STILL_SECONDS

    def _tell(self, why: str) -> None:
        if why != self.trouble:
            self.trouble = why
            if self._quiet:
                return
            telemetry.list_unread(name=self.name, why=why, entries=len(self.entries))


def _stamp_of(found: os.stat_result) -> _Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path) -> tuple[bytes, _Stamp]:
    """The octets of a file, and its stamp, which was the same before and after."""
    # A pipe in its place must not hold the thread.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _UnfitError("it is no file")
        with open(descriptor, "rb", closefd=False) as file:
            octets = file.read(MOST_BYTES + 1)
        if len(octets) > MOST_BYTES:
            raise _UnfitError(f"it has more than {MOST_BYTES:,} octets")
        if _stamp_of(os.fstat(descriptor)) != _stamp_of(found) or len(octets) != found.st_size:
            raise _UnfinishedError
        return octets, _stamp_of(found)
    finally:
        os.close(descriptor)


def _seems_unfinished(octets: bytes) -> bool:
    """Returns whether the end of a file looks as if somebody were still writing it."""
    return not octets.endswith(b"\n") or len(octets) % _BLOCK_BYTES == 0
