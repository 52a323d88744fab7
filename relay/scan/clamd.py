"""The virus scanner clamd, asked by INSTREAM over TCP or a Unix socket.

Owns the dialog with clamd and the reading of its reply. Never raises for what clamd does, never waits longer
than it is told, never keeps a mail in memory. Follows clamd(8), INSTREAM: pieces with their length, an empty
one at the end; clamd closes once a stream is longer than its StreamMaxLength.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import suppress

from relay.config.words import split_server
from relay.scan.model import ScannerKind, ScanResult, ScanWord

#: Octets of a reply that are read; a name of a virus has some dozen.
_REPLY_BYTES = 4_096
_NAME_CHARACTERS = 255
#: Octets sent at once: below the length of a piece that any clamd takes.
_PIECE_BYTES = 65_536


async def scan_by_clamd(address: str, chunks: AsyncIterable[bytes], *, seconds: float) -> ScanResult:
    """The verdict of the clamd at `address`, `host:port` or the path of a Unix socket."""
    try:
        async with asyncio.timeout(seconds):
            reply, complete = await _ask(address, chunks)
            # It closes at its limit, and its reply may be lost with the octets that it did not read. So does
            # one that breaks down over a mail, and only the other is there a moment later.
            if not reply and not complete and not await ping_clamd(address, seconds=seconds):
                return _unavailable("clamd ended in the middle of the mail", answered=False)
            return read_reply(reply, complete)
    except TimeoutError:
        return _unavailable(f"clamd did not answer within {seconds:.3g} s", answered=False)
    except (OSError, ValueError):
        return _unavailable("clamd cannot be reached", answered=False)


async def ping_clamd(address: str, *, seconds: float) -> bool:
    """Returns whether the clamd at this address answers PING."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _connect(address)
            try:
                writer.write(b"zPING\0")
                return await _read(reader) == b"PONG"
            finally:
                writer.transport.abort()
    except (OSError, ValueError):
        return False


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("/"):
        return await asyncio.open_unix_connection(address, limit=_REPLY_BYTES)
    return await asyncio.open_connection(*split_server(address), limit=_REPLY_BYTES)


async def _ask(address: str, chunks: AsyncIterable[bytes]) -> tuple[bytes, bool]:
    """The reply to a mail, and whether clamd took all of it."""
    reader, writer = await _connect(address)
    reply = asyncio.ensure_future(_read(reader))
    try:
        complete = await _send(writer, chunks, reply)
        return await reply, complete
    finally:
        reply.cancel()
        with suppress(asyncio.CancelledError):
            await reply
        writer.transport.abort()


async def _send(
    writer: asyncio.StreamWriter, chunks: AsyncIterable[bytes], reply: asyncio.Future[bytes]
) -> bool:
    """Send a mail until clamd has answered. Returns whether all of it went out."""
    try:
        writer.write(b"zINSTREAM\0")
        async for chunk in chunks:
            for start in range(0, len(chunk), _PIECE_BYTES):
                piece = chunk[start : start + _PIECE_BYTES]
                writer.write(len(piece).to_bytes(4, "big") + piece)
                await writer.drain()
                if reply.done():
                    return False
                await asyncio.sleep(0)  # others have their turn between two pieces of a large mail
        writer.write(bytes(4))
        await writer.drain()
    except ConnectionError:
        return False
    return True


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The reply up to its NUL, at most 4,096 octets; b"" where clamd closes without one."""
    found = b""
    while len(found) < _REPLY_BYTES and b"\0" not in found:
        try:
            piece = await reader.read(_REPLY_BYTES - len(found))
        except ConnectionError:
            break
        if not piece:
            break
        found += piece
    return found.partition(b"\0")[0].strip()


def read_reply(reply: bytes, complete: bool) -> ScanResult:
    """The result that a reply means, for a mail that went out whole or was cut short by clamd."""
    if reply == b"stream: OK" and complete:
        return ScanResult(kind=ScannerKind.VIRUS, word=ScanWord.CLEAN, reason="no virus found")
    if reply.startswith(b"stream: ") and reply.endswith(b" FOUND"):
        name = reply[len(b"stream: ") : -len(b" FOUND")].decode("utf-8", "replace")[:_NAME_CHARACTERS]
        return ScanResult(kind=ScannerKind.VIRUS, word=ScanWord.VIRUS, reason="virus found", name=name)
    if reply.startswith(b"INSTREAM size limit exceeded") or (not reply and not complete):
        reason = "the mail is larger than clamd takes"
        return ScanResult(kind=ScannerKind.VIRUS, word=ScanWord.TOO_BIG, reason=reason)
    return _unavailable("clamd gave no verdict")


def _unavailable(reason: str, *, answered: bool = True) -> ScanResult:
    return ScanResult(kind=ScannerKind.VIRUS, word=ScanWord.UNAVAILABLE, reason=reason, answered=answered)
