"""A change of a small text file of an operator: some lines more or less, the rest as it was.

Owns that a reader never sees half of it: the new file is written beside the old one, synced, and renamed over
it, with the old one's mode and owner. Two changes at the same time wait for each other. Calls block.
"""

from __future__ import annotations

import fcntl
import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def rewrite_lines(path: Path, change: Callable[[list[bytes]], list[bytes]], *, mode: int = 0o644) -> bool:
    """Put the lines that `change` makes of the file's lines (with their ends) in their place; a missing file
    is made, with this mode. Returns whether anything changed.

    Raises:
        OSError: the file cannot be read or written.
    """
    path = path.resolve()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        lines = list(io.BytesIO(path.read_bytes())) if path.exists() else []
        changed = change(list(lines))
        if changed == lines:
            return False
        _put(path, b"".join(changed), mode)
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _put(path: Path, octets: bytes, mode: int) -> None:
    """Put a file in the place of another, which it takes mode and owner from."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            if path.exists():
                found = path.stat()
                mode = found.st_mode & 0o7777
                with suppress(PermissionError):  # only root may give a file away
                    os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise
