"""The files without a name: workers put decoded octets into them, and small mails are handed over in them.

Owns `data_dir/work`. A file without a name goes with its last descriptor, however its process ends. Where the
file system cannot make such a file, it has a name for an instant, and a leftover of a crash is removed at the
next start.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from relay.understand.worker import write_all

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


def prepare_folder(folder: Path) -> None:
    """Make the folder where it is missing, and remove the leftovers of a crash.

    Raises:
        OSError: the folder cannot be made.
    """
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    if os.geteuid() == 0:  # the owner of the data directory owns everything in it
        owner = folder.parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
    for left in folder.iterdir():
        with suppress(OSError):  # a folder, or a file of another user: it does no harm
            left.unlink()


def open_unnamed(folder: Path, *, unnamed: int = os.O_TMPFILE) -> int:
    """A new empty file without a name, to be closed by the caller; `unnamed` is the flag that asks for one.

    Raises:
        OSError: no room, no descriptor, or no such folder.
    """
    with suppress(IsADirectoryError, NotImplementedError):  # EISDIR: a kernel that does not know the flag
        try:
            return os.open(folder, unnamed | os.O_RDWR | os.O_CLOEXEC, _FILE_MODE)
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:
                raise
    handle, name = tempfile.mkstemp(dir=folder)
    with suppress(FileNotFoundError):  # another process that starts has removed it
        Path(name).unlink()
    return handle


def open_memory(octets: bytes | memoryview = b"") -> int:
    """A new file in memory that holds these octets, to be closed by the caller.

    Raises:
        OSError: no room, or no descriptor.
    """
    handle = os.memfd_create("relay-mail", os.MFD_CLOEXEC)
    try:
        write_all(handle, octets)
    except BaseException:
        os.close(handle)
        raise
    return handle
