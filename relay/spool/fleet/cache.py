"""Mail in files that need not last: a large mail while it is received, and while it is delivered.

Owns these files. They have no name, so nothing of them is left when the process ends, however it ends; a file
system in memory will do. What counts lies in S3. Calls block: use a thread.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from relay.errors import SpoolFullError, SpoolSickError
from relay.spool.raw_file import RawFile

_FULL = frozenset({28, 122, 27})  # ENOSPC, EDQUOT, EFBIG


@contextmanager
def failures_told() -> Iterator[None]:
    """A block in which failures of the system become ours."""
    try:
        yield
    except OSError as exc:
        kind = SpoolFullError if exc.errno in _FULL else SpoolSickError
        raise kind(f"a file of the fleet's cache: {exc.strerror or exc}") from exc
    except ValueError as exc:  # the file is closed
        raise SpoolSickError("a file of the fleet's cache is closed") from exc


def find_folder(data_dir: Path) -> Path:
    """The folder for these files: in data_dir, or the system's own on a machine that has none, as an
    operator's.
    """
    usable = data_dir.is_dir() and os.access(data_dir, os.W_OK | os.X_OK)
    return data_dir / "fleet" if usable else Path(tempfile.gettempdir())


def open_nameless(folder: Path) -> BinaryIO:
    """A file without a name, to write and read.

    Raises:
        SpoolFullError, SpoolSickError: it cannot be made.
    """
    with failures_told():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)


class CacheFile(RawFile):
    """A large mail on its way in."""

    def __init__(self, folder: Path) -> None:
        self._file = open_nameless(folder)
        self._hash = hashlib.sha256()
        self._is_taken = False
        self.size = 0

    def write(self, octets: bytes) -> None:
        """Append octets."""
        with failures_told():
            self._file.write(octets)
        self._hash.update(octets)
        self.size += len(octets)

    def discard(self) -> None:
        """Close it, and so remove it, unless the spool has taken it."""
        if not self._is_taken:
            self._file.close()

    def take(self) -> None:
        """Note that the spool needs it from now on, and releases it."""
        self._is_taken = True

    def release(self) -> None:
        """Close what the spool had taken."""
        self._file.close()

    @contextmanager
    def view(self) -> Iterator[memoryview]:
        """The octets written so far."""
        with failures_told():
            self._file.flush()
            view = map_octets(self._file, self.size)
        with view as octets:
            yield octets

    def read(self, at: int, size: int) -> bytes:
        """At most `size` of the octets written so far, from this offset on."""
        with failures_told():
            self._file.flush()
            return os.pread(self._file.fileno(), size, at)

    def digest(self) -> bytes:
        """The SHA-256 of all octets."""
        return self._hash.digest()

    def rewind(self) -> BinaryIO:
        """The file itself, at its beginning, to be read and not written."""
        with failures_told():
            self._file.flush()
            self._file.seek(0)
        return self._file


@contextmanager
def map_octets(file: BinaryIO, size: int) -> Iterator[memoryview]:
    """The octets of a file, mapped; an empty file cannot be."""
    if not size:
        yield memoryview(b"")
        return
    with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as octets:
        yield octets
