"""The octets of a fleet's spool in S3: raw mails and stored requests, checked against what was stored.

Owns how they are read and how a request is put. A mail of more than one part is read into a file without a
name, so that memory holds no large mail.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from relay.aws.transport import PART_BYTES
from relay.errors import SpoolCorruptError
from relay.spool.fleet import tables
from relay.spool.fleet.cache import failures_told, map_octets, open_nameless
from relay.spool.fleet.records import EntryRecord, MailRecord, StoredRequest
from relay.spool.fleet.store import Store, new_op

#: Octets of which a hash is made on the event loop; more takes a thread.
_SMALL_BYTES = 262_144


async def put_request(store: Store, entry: EntryRecord, octets: bytes, *, expires_at: int) -> StoredRequest:
    """Store a request under a name of its own, so that none is overwritten."""
    request = StoredRequest(
        name=new_op(), size=len(octets), sha256=hashlib.sha256(octets).digest(), expires_at=expires_at
    )
    key = tables.request_object(store.prefix, entry.reference, request.name)
    async with store.asked() as (_, objects):
        # False: it is there already, by this very call, whose first answer was lost.
        await objects.put(key, octets, size=request.size, sha256=request.sha256)
    return request


async def read_request(store: Store, entry: EntryRecord) -> bytes | None:
    """The stored request of an entry. Returns None if it has none.

    Raises:
        SpoolCorruptError: it is not there, or not what was stored.
        SpoolSickError: it cannot be read now.
    """
    if entry.request is None:
        return None
    key = tables.request_object(store.prefix, entry.reference, entry.request.name)
    try:
        async with store.asked() as (_, objects):
            octets = b"".join([part async for part in objects.parts(key, size=entry.request.size)])
    except KeyError as exc:
        raise SpoolCorruptError(f"the request of {entry.reference} is missing in S3") from exc
    if hashlib.sha256(octets).digest() != entry.request.sha256:
        raise SpoolCorruptError(f"the request of {entry.reference} is not what was stored")
    return octets


@asynccontextmanager
async def open_raw(
    store: Store, mail: MailRecord, folder: Path
) -> AsyncIterator[tuple[memoryview, BinaryIO | None]]:
    """The raw mail, checked, and the file that holds it if it is large.

    Raises:
        SpoolCorruptError: it is not what was accepted.
        SpoolSickError: it cannot be read now.
    """
    if mail.size <= PART_BYTES:
        octets = b"".join([part async for part in _parts(store, mail)])
        with memoryview(octets) as raw:
            await _check(mail, raw)
            yield raw, None
        return
    file = await asyncio.to_thread(open_nameless, folder)
    try:
        async for part in _parts(store, mail):
            await asyncio.to_thread(_append, file, part)
        with map_octets(file, mail.size) as raw:
            await _check(mail, raw)
            yield raw, file
    finally:
        await asyncio.to_thread(file.close)


def _append(file: BinaryIO, part: bytes) -> None:
    with failures_told():
        file.write(part)
        file.flush()


async def _parts(store: Store, mail: MailRecord) -> AsyncIterator[bytes]:
    key = tables.raw_object(store.prefix, mail.spool_id)
    try:
        async with store.asked() as (_, objects):
            async for part in objects.parts(key, size=mail.size):
                yield part
    except KeyError as exc:
        raise SpoolCorruptError(f"the raw mail {mail.spool_id} is missing in S3") from exc


async def _check(mail: MailRecord, raw: memoryview) -> None:
    """Raise SpoolCorruptError unless these are the octets that were accepted."""
    small = len(raw) <= _SMALL_BYTES
    is_right = _is_right(mail, raw) if small else await asyncio.to_thread(_is_right, mail, raw)
    if not is_right:
        raise SpoolCorruptError(f"the raw mail {mail.spool_id} is not what was accepted")


def _is_right(mail: MailRecord, raw: memoryview) -> bool:
    trace, rest = raw[: mail.trace_size], raw[mail.trace_size :]
    return (
        hashlib.sha256(trace).digest() == mail.trace_sha256
        and hashlib.sha256(rest).hexdigest() == mail.fingerprint
    )
