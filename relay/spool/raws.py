"""A raw mail, read back: from its row or its file, and never without its hash.

Owns the check that what is delivered is what was accepted. Never changes anything.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from relay.errors import SpoolCorruptError
from relay.spool.files import Layout
from relay.spool.readers import Readers
from relay.spool.translate import translated

_CHUNK_BYTES = 1 << 20


@contextmanager
def open_raw(readers: Readers, layout: Layout, spool_id: str) -> Iterator[memoryview]:
    """The raw mail, checked; blocks. Views that outlive the block keep its memory.

    Raises:
        SpoolCorruptError: it is not what was accepted, or not there.
    """
    with readers.borrow() as connection:
        octets, size, sha256 = _read_row(connection, spool_id)
    if octets is not None:
        if len(octets) != size or hashlib.sha256(octets).digest() != sha256:
            raise SpoolCorruptError(f"the stored mail {spool_id} does not hash to what was accepted")
        yield memoryview(octets)
        return
    with _map(layout, spool_id, size, sha256) as view:
        yield view


def _read_row(connection: apsw.Connection, spool_id: str) -> tuple[bytes | None, int, bytes]:
    row = connection.execute(
        "SELECT r.octets, m.size, m.sha256, m.filed FROM mails AS m LEFT JOIN raws AS r USING (mail_id) "
        "WHERE m.spool_id = ?",
        (spool_id,),
    ).fetchone()
    if row is None or (row[0] is None and not row[3]):
        raise SpoolCorruptError(f"the stored mail {spool_id} is not there")
    octets, size, sha256, _ = row
    return octets, size, sha256


@contextmanager
def _map(layout: Layout, spool_id: str, size: int, sha256: bytes) -> Iterator[memoryview]:
    with translated():
        try:
            handle = os.open(layout.raw_path(spool_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as exc:
            raise SpoolCorruptError(f"the stored mail {spool_id} is not there") from exc
        try:
            # Read, not mapped, for the hash: a bad sector is then an error, and not the end of the process.
            if os.fstat(handle).st_size != size or _hash(handle) != sha256:
                raise SpoolCorruptError(f"the stored mail {spool_id} does not hash to what was accepted")
            mapped = mmap.mmap(handle, size, access=mmap.ACCESS_READ)
        finally:
            os.close(handle)
    view = memoryview(mapped)
    try:
        yield view
    finally:
        # Someone may still hold a slice: then the mapping goes when the slice does.
        with suppress(BufferError):
            view.release()
            mapped.close()


def _hash(handle: int) -> bytes:
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    while count := os.readv(handle, [buffer]):
        digest.update(view[:count])
    return digest.digest()
