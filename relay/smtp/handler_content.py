"""The octets of a mail as a handler gets them: `bytes` up to 1 MiB, else a read-only map of a file.

Owns the copy of a larger mail into a file without a name, which goes with its last map: memory does not grow
with the mail, and a handler's map may outlive the mail's own file. Calls block: use a thread where the mail is
large.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from relay.errors import SpoolError, SpoolFullError
from relay.understand.folder import open_unnamed, prepare_folder

#: A mail of so many octets at most is handed over as `bytes` (docs/smtp.md, "Handlers").
BYTES_LIMIT = 1_048_576


def build_content(chunks: Iterator[bytes], size: int, *, folder: Path) -> bytes | mmap.mmap:
    """The octets of a mail of this size; `folder` is the place of files without a name.

    Raises:
        SpoolFullError, SpoolError: the file cannot be made or written.
    """
    if size <= BYTES_LIMIT:
        return b"".join(chunks)
    try:
        with os.fdopen(_open(folder), "wb") as file:  # the map keeps the file
            file.writelines(chunks)
            file.flush()
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (SpoolFullError if full else SpoolError)(f"no file for a handler in {folder}: {exc}") from exc


def _open(folder: Path) -> int:
    """A file without a name, in a folder that the first who needs it makes."""
    try:
        return open_unnamed(folder)
    except FileNotFoundError:
        prepare_folder(folder)
        return open_unnamed(folder)
