"""The dialog with clamd, against fakes on real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.scan.clamd import ping_clamd, read_reply, scan_by_clamd
from relay.scan.model import ScanWord, build_scan_attributes

MAIL = (b"Subject: Hi\r\n\r\n", b"x" * 200_000)


async def stream(chunks):
    """A mail piece by piece, as a session gives it."""
    for chunk in chunks:
        yield chunk


@asynccontextmanager
async def serving(dialog, path=None):
    """A server whose every connection is given to `dialog`; the address of it."""
    tasks = set()

    async def meet(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await dialog(reader, writer)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the other side has what it wanted
        finally:
            writer.transport.abort()

    if path is not None:
        server, address = await asyncio.start_unix_server(meet, path), path
    else:
        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def take(reader):
    """The octets of a whole stream."""
    assert await reader.readexactly(10) == b"zINSTREAM\0"
    found = b""
    while size := int.from_bytes(await reader.readexactly(4), "big"):
        found += await reader.readexactly(size)
    return found


def answering(reply, got=None):
    async def dialog(reader, writer):
        octets = await take(reader)
        if got is not None:
            got.append(octets)
        writer.write(reply)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return dialog


async def scan(dialog, chunks=MAIL, seconds=5.0, path=None):
    async with serving(dialog, path) as address:
        return await scan_by_clamd(address, stream(chunks), seconds=seconds)


async def test_whole_mail_goes_out(tmp_path):
    """The mail reaches clamd whole, over TCP and over a Unix socket, and a clean one is told."""
    got = []
    for path in (None, str(tmp_path / "clamd")):
        result = await scan(answering(b"stream: OK\0", got), path=path)
        assert (result.word, result.name) == (ScanWord.CLEAN, "")
    assert got == [b"".join(MAIL)] * 2


async def test_virus():
    """The name of the virus is as clamd gave it, cut at 255 characters."""
    result = await scan(answering(b"stream: Eicar.UNOFFICIAL FOUND\0"))
    assert (result.word, result.name) == (ScanWord.VIRUS, "Eicar.UNOFFICIAL")
    result = await scan(answering(b"stream: " + b"n" * 3_000 + b" FOUND\0"))
    assert (result.word, result.name) == (ScanWord.VIRUS, "n" * 255)


@pytest.mark.parametrize("reply", [b"INSTREAM size limit exceeded. ERROR\0", b""])
async def test_larger_than_clamd_takes(reply):
    """A stream that clamd closes, with its reply or without, is too big, at once, where it is still there."""

    async def dialog(reader, writer):
        if await reader.readuntil(b"\0") == b"zPING\0":
            writer.write(b"PONG\0")
            await writer.drain()
            return
        await reader.readexactly(50_000)
        writer.write(reply)
        await writer.drain()

    result = await scan(dialog, chunks=(b"x" * 1_000_000,) * 20, seconds=20.0)
    assert result.word is ScanWord.TOO_BIG


async def test_clamd_that_breaks_down_over_a_mail():
    """A clamd that ends in the middle of a stream, and is gone then, has not called the mail too large."""

    async def dialog(reader, writer):
        if await reader.readuntil(b"\0") == b"zINSTREAM\0":
            await reader.readexactly(50_000)

    result = await scan(dialog, chunks=(b"x" * 1_000_000,) * 20, seconds=20.0)
    assert (result.word, result.answered) == (ScanWord.UNAVAILABLE, False)


@pytest.mark.parametrize(
    "reply", [b"", b"stream: OK", b"\0", b"ERROR\0", b"x" * 100_000, b"stream: maybe\0\xff"]
)
async def test_replies_that_are_no_verdict(reply):
    """Garbage, an endless reply and none at all are no verdict, and nothing is raised."""
    result = await scan(answering(reply))
    assert result.word is (ScanWord.CLEAN if reply == b"stream: OK" else ScanWord.UNAVAILABLE)


async def test_verdict_on_a_part_is_none():
    """An OK that comes before the mail was sent is not believed."""

    async def dialog(reader, writer):
        writer.write(b"stream: OK\0")
        await writer.drain()
        await reader.readexactly(10_000_000)

    result = await scan(dialog, chunks=(b"x" * 65_536,) * 100)
    assert result.word is ScanWord.UNAVAILABLE


async def test_clamd_that_hangs():
    """A clamd that takes nothing, that never answers, or that drips costs its time and no more."""

    async def silent(reader, writer):
        await asyncio.Event().wait()

    async def deaf(reader, writer):
        await take(reader)
        await asyncio.Event().wait()

    async def drip(reader, writer):
        await take(reader)
        while True:
            writer.write(b"s")
            await writer.drain()
            await asyncio.sleep(0.01)

    for dialog in (silent, deaf, drip):
        result = await asyncio.wait_for(scan(dialog, chunks=(b"x" * 1_000_000,) * 10, seconds=0.3), 5)
        assert result.word is ScanWord.UNAVAILABLE
        assert result.reason == "clamd did not answer within 0.3 s"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "/nowhere/clamd.sock"])
async def test_clamd_that_is_away(address):
    """A clamd that is not there is a value."""
    result = await scan_by_clamd(address, stream(MAIL), seconds=5)
    assert result.word is ScanWord.UNAVAILABLE
    assert not await ping_clamd(address, seconds=5)


async def test_ping():
    """PONG is a scanner, another word is none."""
    for word, alive in ((b"PONG\0", True), (b"HTTP/1.1 400\0", False)):

        async def dialog(reader, writer, word=word):
            assert await reader.readexactly(6) == b"zPING\0"
            writer.write(word)
            await writer.drain()

        async with serving(dialog) as address:
            assert await ping_clamd(address, seconds=5) is alive


@given(st.binary() | st.binary().map(lambda octets: b"stream: " + octets + b" FOUND"), st.booleans())
def test_any_reply(reply, complete):
    """No reply raises, or breaks a line of ours."""
    result = read_reply(reply, complete)
    assert result.word in ScanWord
    assert all(value.isascii() and value.isprintable() for value in build_scan_attributes([result]).values())
