"""Errors of SQLite and of the file system, turned into ours: no room, a sick disk, or a fault of ours.

Owns this translation for the local spool (once, at the edge). An unknown error counts as a sick disk, which
is temporary.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from relay.errors import SpoolDamagedError, SpoolError, SpoolFullError, SpoolSickError

#: EMFILE and ENFILE are not here: a want of file handles is a matter of the process, and passes sooner than a
#: full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def translate_error(exc: apsw.Error | OSError, place: Path | None = None) -> SpoolError:
    """Our error for theirs. SQLite does not name the file it speaks of; `place` does."""
    if isinstance(exc, OSError):
        kind = SpoolFullError if exc.errno in _FULL else SpoolSickError
        return kind(f"{exc.strerror or exc} ({exc.filename})" if exc.filename else str(exc))
    # The index of the log cannot be enlarged: the library does not report that as a full disk.
    no_index = (
        isinstance(exc, apsw.IOError) and getattr(exc, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    )
    if isinstance(exc, apsw.FullError) or no_index:
        full = "database or disk is full"
        return SpoolFullError(f"{place}: {full}" if place else full)
    damaged = isinstance(exc, apsw.NotADBError | apsw.CorruptError)
    return (SpoolDamagedError if damaged else SpoolSickError)(
        f"{place}: {type(exc).__name__}: {exc}" if place else f"{type(exc).__name__}: {exc}"
    )


@contextmanager
def translated(place: Path | None = None) -> Iterator[None]:
    """A block in which errors of SQLite and of the file system become ours."""
    try:
        yield
    except (apsw.Error, OSError) as exc:
        raise translate_error(exc, place) from exc
