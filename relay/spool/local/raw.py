"""A raw mail, read back: from its row or its file, and never without its hash.

Owns the check that what is delivered is what was accepted. Never changes anything.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import apsw

from relay.errors import SpoolCorruptError
from relay.spool.local.errors import translated
from relay.spool.local.layout import Layout
from relay.spool.local.readers import Readers

_CHUNK_BYTES = 1 << 20


class _Row(NamedTuple):
    """What a row says of its raw mail."""

    octets: bytes | None
    size: int
    trace_size: int
    trace_sha256: bytes
    fingerprint: str
    filed: int

    def check(self, spool_id: str, size: int, chunks: Iterable[memoryview]) -> None:
        """Nothing, when these octets are those that were accepted: our trace header, then the mail.

        Raises:
            SpoolCorruptError: they are not.
        """
        trace, mail = hashlib.sha256(), hashlib.sha256()
        left = self.trace_size
        for chunk in chunks:
            if left:
                trace.update(chunk[:left])
            mail.update(chunk[left:])
            left = max(left - len(chunk), 0)
        if (size, trace.digest(), mail.hexdigest()) != (self.size, self.trace_sha256, self.fingerprint):
            raise SpoolCorruptError(f"the stored mail {spool_id} does not hash to what was accepted")


@contextmanager
def open_raw(readers: Readers, layout: Layout, spool_id: str) -> Iterator[memoryview]:
    """The raw mail, checked; blocks. Views that outlive the block keep its memory.

    Raises:
        SpoolCorruptError: it is not what was accepted, or not there.
    """
    with readers.borrow() as connection:
        row = _read_row(connection, spool_id)
    if row.octets is not None:
        view = memoryview(row.octets)
        row.check(spool_id, len(view), [view])
        yield view
        return
    with _map(layout, spool_id, row) as view:
        yield view


def open_file(layout: Layout, spool_id: str) -> int | None:
    """A descriptor of the file of this mail; None where it lies in the database."""
    with translated():
        try:
            return os.open(layout.raw_path(spool_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None


def _read_row(connection: apsw.Connection, spool_id: str) -> _Row:
    found = connection.execute(
        "SELECT r.octets, m.size, m.trace_size, m.trace_sha256, m.fingerprint, m.filed "
        "FROM mails AS m LEFT JOIN raws AS r USING (mail_id) WHERE m.spool_id = ?",
        (spool_id,),
    ).fetchone()
    if found is None or (found[0] is None and not found[5]):
        raise SpoolCorruptError(f"the stored mail {spool_id} is not there")
    if not isinstance(found[0], bytes | None):
        raise SpoolCorruptError(f"the stored mail {spool_id} is no octets")
    return _Row(*found)


@contextmanager
def _map(layout: Layout, spool_id: str, row: _Row) -> Iterator[memoryview]:
    with translated():
        try:
            handle = os.open(layout.raw_path(spool_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as exc:
            raise SpoolCorruptError(f"the stored mail {spool_id} is not there") from exc
        try:
            # Read, not mapped, for the hash: a bad sector is then an error, and not the end of the process.
            row.check(spool_id, os.fstat(handle).st_size, _chunks(handle))
            mapped = mmap.mmap(handle, row.size, access=mmap.ACCESS_READ)
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


def _chunks(handle: int) -> Iterator[memoryview]:
    """The octets of a file, in one buffer after the other's place."""
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    while count := os.readv(handle, [buffer]):
        yield view[:count]
