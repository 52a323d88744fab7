"""The line between the supervisor and a child."""

from __future__ import annotations

import socket

import pytest

from relay.config.builtin import builtin_config
from relay.daemon.link import Link
from relay.daemon.messages import (
    Alive,
    AskMetrics,
    Message,
    Metrics,
    Problem,
    Ready,
    Refused,
    Reload,
    Start,
    Stop,
    encode,
)

CONFIG = builtin_config(
    routes=[{"match": [f"{number}@example.com"], "destination": "a@example.com"} for number in range(3_000)]
)


async def ends() -> tuple[Link, Link]:
    ours, theirs = socket.socketpair()
    return await Link.open(ours), await Link.open(theirs)


@pytest.mark.parametrize(
    "message",
    [
        Start(
            name="receiver-1",
            config=CONFIG,
            sockets={0: (7, 8), 2: ()},
            after_crash=True,
            after_hang=False,
            index=1,
            receivers=2,
        ),
        Reload(name="deliverer", config=CONFIG),
        AskMetrics(ask=3),
        Stop(),
        Ready(),
        Alive(),
        Problem(why="ünïcode\n"),
        Metrics(ask=3, text="x" * 300_000),
        Refused(sentences=("one", "two")),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_message_arrives_as_it_was_sent(message: Message):
    """Each message arrives with the values it was sent with, a large configuration too."""
    one, other = await ends()
    one.send(message)
    one.send(Alive())
    one.close()
    assert [each async for each in other.messages()] == [message, Alive()]
    other.close()


async def test_end_of_the_line_is_heard():
    """When the other side is gone, the messages end; one that was cut short is none."""
    ours, theirs = socket.socketpair()
    link = await Link.open(theirs)
    ours.sendall(encode(Stop()) + encode(AskMetrics(ask=1))[:-5])
    ours.close()
    assert [message async for message in link.messages()] == [Stop()]
    link.close()
