"""The key of names (`relay.spool.pseudonyms`) in a file of its own: `address.key` in data_dir.

Owns the file: 64 hexadecimal digits and a line end, its owner's alone. It is made once, when the first name
is wanted, and never changed: with another key nobody would be found again, and no retransmission of an erased
mail would be known. A backup has it.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from relay.errors import SpoolError, SpoolUnfitError
from relay.spool.local.database import query, reading
from relay.spool.local.errors import translated
from relay.spool.local.layout import FILE_MODE, adopt, sync_folder
from relay.spool.pseudonyms import KEY_BYTES

#: The version of the spool from which on records can be erased.
_FIRST_VERSION = 16


def read_key(path: Path) -> bytes | None:
    """The key. Returns None if there is none yet.

    Raises:
        SpoolUnfitError: the file holds no key.
        SpoolError: it cannot be read.
    """
    with translated():
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            octets = os.read(handle, 4 * KEY_BYTES)
        finally:
            os.close(handle)
    return check_key(path, octets)


class KeyFile:
    """The key as one process has it: looked for until it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: bytes | None = None

    def find(self) -> bytes | None:
        """The key. Returns None if there is none, or none that can be read, of which `relay check` tells."""
        if self._key is None:
            with suppress(SpoolError):
                self._key = read_key(self._path)
        return self._key

    def make(self) -> bytes:
        """The key, which is made if there is none.

        Raises:
            SpoolUnfitError: the file holds no key.
            SpoolError: it cannot be made.
        """
        self._key = self._key or make_key(self._path)
        return self._key


def check_key(path: Path, octets: bytes) -> bytes:
    """The key that these octets of a file are.

    Raises:
        SpoolUnfitError: they are none.
    """
    with suppress(ValueError):
        key = bytes.fromhex(octets.decode("ascii").strip())
        if len(key) == KEY_BYTES:
            return key
    raise SpoolUnfitError(
        f"{path} holds no key of ours ({2 * KEY_BYTES} hexadecimal digits); bring it back from a backup: without it "
        "nobody who was erased is found again"
    )


def find_fault(path: Path, database: Path) -> str:
    """The sentence about a key that is spoilt, or lost while records need it. Returns "" if there is none."""
    try:
        if read_key(path) is not None:
            return ""
    except SpoolUnfitError as exc:
        return str(exc)
    with reading(database) as connection:
        if connection is None or connection.pragma("user_version") < _FIRST_VERSION:
            return ""
        erased = query(connection, "SELECT 1 FROM ledger WHERE erased_at IS NOT NULL LIMIT 1")
    return (
        f"{path} is lost, and records of erased mail need it; bring it back from a backup" if erased else ""
    )


def make_key(path: Path) -> bytes:
    """The key, which is made if there is none; of several who make one at once, all get the same.

    Raises:
        SpoolUnfitError: the file holds no key.
        SpoolError: it cannot be made.
    """
    while (key := read_key(path)) is None:
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with translated():
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            try:
                os.write(handle, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
                os.fsync(handle)
                adopt(part)
                with suppress(FileExistsError):  # another was quicker
                    os.link(part, path)
                sync_folder(path.parent)
            finally:
                os.close(handle)
                part.unlink(missing_ok=True)
    return key
