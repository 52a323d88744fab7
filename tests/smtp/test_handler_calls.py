"""Tests of `relay.smtp.handler_calls`: whatever a handler does, its call comes back in time."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time

import pytest

from relay import replies, telemetry
from relay.smtp.handler_calls import build_hook, call_handler
from relay.telemetry import log as log_module


@pytest.fixture
def log(monkeypatch):
    """The lines of the log, as they come."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure("json", "info")

    def lines():
        log_module._lines.flush()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield lines
    monkeypatch.undo()
    telemetry.configure("json", "info")


def hook(function, seconds=5.0):
    """A handler with this function for DATA."""
    made = type("Handler", (), {"handle_DATA": staticmethod(function)})()
    return build_hook("tests.handlers:Handler", made, seconds)


async def call(function, seconds=5.0):
    """The call of such a handler without arguments."""
    return await call_handler(hook(function, seconds), "DATA", (), spool_id="T1")


async def says(answer):
    """A handler that waits once, and answers."""
    await asyncio.sleep(0)
    return answer


async def test_answer_is_returned(log):
    """A handler that waits for something is waited for."""
    assert await call(lambda: says("250 OK")) is None
    reply = await call(lambda: says("550 5.7.1 no"))
    assert str(reply) == "550 5.7.1 no"
    assert log() == []


async def raises_late():
    await asyncio.sleep(0)
    raise RuntimeError("dsn=secret")


async def leaves():
    sys.exit("bye")


async def cancels_itself():
    raise asyncio.CancelledError


class OddError(BaseException):
    """An error outside of the tree of Exception."""


async def raises_oddly():
    raise OddError("odd")


def plain():
    return "250 OK"


async def wants_more(_one, _two):
    return "250 OK"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (raises_late, "RuntimeError: dsn=secret"),
        (leaves, "RuntimeError: the handler raised SystemExit"),
        (cancels_itself, "the handler cancelled itself"),
        (raises_oddly, "OddError: odd"),
        (plain, "TypeError: object str can't be used in 'await' expression"),
        (wants_more, "TypeError: wants_more() missing 2 required positional arguments: '_one' and '_two'"),
        (lambda: says("no reply"), "the answer is no reply"),
    ],
)
async def test_fault_defers(log, function, why):
    """A handler that fails in any way has the mail deferred, and the log says how; the reply does not."""
    reply = await call(function)
    assert reply is replies.LOCAL_ERROR
    (line,) = log()
    assert (line["event"], line["level"], line["spool_id"]) == ("hook.failed", "error", "T1")
    assert line["why"].startswith(why)


async def test_traceback_is_in_the_log_once(log):
    """The operator finds the line of a handler that raised; the same error of the same line is named
    without it.
    """

    async def raises_either(number):
        await asyncio.sleep(0)
        if number % 2:
            raise RuntimeError(f"odd {number}")
        raise RuntimeError(f"even {number}")

    made = hook(raises_either)
    for number in range(4):
        await call_handler(made, "DATA", (number,), spool_id="T1")
    lines = log()
    assert [line["why"] for line in lines] == [
        f"RuntimeError: {word}" for word in ("even 0", "odd 1", "even 2", "odd 3")
    ]
    assert ["exception" in line for line in lines] == [True, True, False, False]
    assert "raises_either" in lines[0]["exception"]


async def test_time_out_cancels(log):
    """A handler that is not done within its seconds is cancelled, and the mail deferred."""
    ended = asyncio.Event()

    async def hangs():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert await call(hangs, 0.05) is replies.LOCAL_ERROR
    await asyncio.wait_for(ended.wait(), 5)
    assert log()[0]["why"] == "no answer within 0.05 seconds"


async def test_handler_that_cannot_be_cancelled_is_left(log):
    """A handler that goes on after its cancellation keeps nobody waiting, and its late error is no news."""
    release = asyncio.Event()
    ended = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        raise RuntimeError("too late")

    began = time.monotonic()
    assert await call(stubborn, 0.05) is replies.LOCAL_ERROR
    assert time.monotonic() - began < 5
    release.set()
    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.sleep(0)
    assert len(log()) == 1


async def test_late_answer_counts_as_none(log):
    """A handler that blocks past its seconds is late, although its answer is there when the loop
    turns again.
    """

    async def blocks():
        time.sleep(0.2)  # noqa: ASYNC251 - the subject
        return "250 OK"

    assert await call(blocks, 0.1) is replies.LOCAL_ERROR
    assert [line["event"] for line in log()] == ["hook.failed"]


async def test_handler_that_blocks_is_named(log):
    """A handler that keeps the event loop from turning for over a second is named, however its mail ends."""

    async def blocks():
        await asyncio.sleep(0)
        time.sleep(1.05)  # noqa: ASYNC251 - the subject

    assert await call(blocks) is None
    (line,) = log()
    assert (line["event"], line["level"], line["hook"]) == (
        "hook.blocked",
        "warning",
        "tests.handlers:Handler",
    )
    assert line["seconds"] >= 1.05


async def test_handler_that_waits_long_does_not_block(log):
    """The time that a handler waits is not time for which it blocks."""

    async def waits():
        for _ in range(3):
            await asyncio.sleep(0.4)

    assert await call(waits) is None
    assert log() == []


async def test_cancelled_caller_cancels_the_handler():
    """When the process ends the call, the handler ends, too."""
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def hangs():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(call(hangs))
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)
