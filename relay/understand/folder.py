"""Files without a name: where workers put what they decode, and where a small mail is handed over.

Owns `data_dir/work`. Such a file goes when its last descriptor does, however its process ends; only where the file system
cannot make one without a name has it one for an instant, and what a crash left then is removed at the next start.
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
    """Make the folder where it is missing, and remove what a crash left in it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    if os.geteuid() == 0:  # as everything in the data directory: its owner's, whoever runs this
        owner = folder.parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
    for left in folder.iterdir():
        with suppress(OSError):  # a folder, or another's: nobody needs it gone
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
    with suppress(FileNotFoundError):  # another process has just begun, and removed it
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
