"""The line between the supervisor and a child."""

from __future__ import annotations

import socket

from relay.daemon.link import Link


async def ends() -> tuple[Link, Link]:
    ours, theirs = socket.socketpair()
    return await Link.open(ours), await Link.open(theirs)


async def test_words_arrive_in_order_and_whole():
    """Every object arrives as it was said, a large configuration too."""
    one, other = await ends()
    said = [{"do": "start", "config": "x" * 300_000}, {"do": "stop", "ünïcode": "\n"}]
    for words in said:
        one.say(**words)
    one.close()
    assert [words async for words in other.hear()] == said
    other.close()


async def test_end_of_the_line_is_heard():
    """When the other side is gone, hearing ends; a word cut short is no word."""
    ours, theirs = socket.socketpair()
    link = await Link.open(theirs)
    ours.sendall(b'{"do": "stop"}\n{"do": "half')
    ours.close()
    assert [words async for words in link.hear()] == [{"do": "stop"}]
    link.close()
