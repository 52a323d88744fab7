"""The marks of change: told to each listener, to so many at most, until the page stops."""

from __future__ import annotations

import asyncio

from page_values import ValueView, mail_view
from test_application import text_of


async def read_until(answer, wanted):
    """Read lines until one is wanted. Returns it."""
    async with asyncio.timeout(20):
        while wanted not in (line := await answer.content.readline()):
            assert line, "the stream has ended"
        return line


async def test_a_change_is_told_to_all(serve):
    """Two listeners hear of a change by one watch of the spool."""
    view = ValueView(mail_view())
    client = await serve(view)
    async with client.get("/events") as first, client.get("/events") as second:
        assert first.content_type == "text/event-stream"
        for answer in (first, second):
            await read_until(answer, b"retry:")
        await asyncio.wait_for(view.asked.wait(), 20)
        view.mark += 1
        for answer in (first, second):
            assert await read_until(answer, b"event:") == b"event: changed\n"
    assert view.watches == 1


async def test_a_spool_that_falls_sick_is_a_change(serve):
    """A page that is open hears that the spool cannot be read, and asks, and shows the sentence."""
    view = ValueView(mail_view())
    client = await serve(view)
    async with client.get("/events") as answer:
        await asyncio.wait_for(view.asked.wait(), 20)
        view.sick = "disk I/O error"
        await read_until(answer, b"event: changed")


async def test_listeners_are_limited(serve, monkeypatch):
    """One listener too many is told to come again."""
    monkeypatch.setattr("relay.web.list_pages.MOST_LISTENERS", 1)
    client = await serve(ValueView(mail_view()))
    async with client.get("/events") as answer:
        await read_until(answer, b"retry:")
        text, headers = await text_of(client, "/events", 503)
        assert headers["Retry-After"] == "10"
        assert "1 pages are open already" in text


async def test_the_stop_ends_the_streams(serve):
    """A page that stops leaves no listener waiting."""
    client = await serve(ValueView(mail_view()))
    answer = await client.get("/events")
    await read_until(answer, b"retry:")
    async with asyncio.timeout(5):
        await client.server.close()
