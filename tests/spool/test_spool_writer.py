"""The writer thread: groups, answers, errors, and its end."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue

import pytest

from relay.errors import SpoolSickError
from relay.spool.local.writer import Job, Writer


class Recorder:
    """Commits by noting the groups; waits at the gate first."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.groups: list[list[object]] = []
        self.closed = 0

    def commit(self, group) -> None:
        self.gate.wait(10)
        self.groups.append([job.payload for job in group])
        for job in group:
            if job.payload == "bad":
                job.error = ValueError("bad")
            elif job.payload == "worse":
                raise RuntimeError("worse")
            else:
                job.answer = job.payload

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
async def recorder():
    return Recorder()


@pytest.fixture
async def writer(recorder):
    writer = Writer(recorder.commit, name="test", close=recorder.close)
    yield writer
    recorder.gate.set()
    await writer.close()


def submit(writer, payload):
    job = Job(payload)
    writer.submit(job)
    return job.future


async def test_what_waits_shares_a_group(writer, recorder):
    """All that came while the thread was busy is one group, in order."""
    futures = [submit(writer, number) for number in range(100)]
    recorder.gate.set()
    assert await asyncio.gather(*futures) == list(range(100))
    assert len(recorder.groups) <= 2
    assert [n for group in recorder.groups for n in group] == list(range(100))


async def test_group_has_a_limit(writer, recorder):
    """A thousand waiting are several groups."""
    futures = [submit(writer, number) for number in range(1_000)]
    recorder.gate.set()
    await asyncio.gather(*futures)
    assert max(map(len, recorder.groups)) <= 256


async def test_a_busy_writer_lets_its_next_group_grow(writer, recorder, monkeypatch):
    """After a large group the next takes in what comes a moment later; after a small one nobody waits."""
    grown = threading.Event()
    monkeypatch.setattr("relay.spool.local.writer.time.sleep", lambda _seconds: grown.wait(10))
    recorder.gate.set()
    assert await submit(writer, "alone") == "alone"
    recorder.gate.clear()
    many = [submit(writer, number) for number in range(40)]
    recorder.gate.set()
    await asyncio.gather(*many)
    recorder.gate.clear()
    late = [submit(writer, word) for word in ("first", "second")]
    grown.set()
    recorder.gate.set()
    await asyncio.gather(*late)
    assert ["first", "second"] in recorder.groups


async def test_what_one_turn_brings_shares_a_group(writer, recorder):
    """Jobs of one turn of the loop come to the thread together, even when it was free at the first
    of them.
    """
    recorder.gate.set()
    jobs = [Job(number) for number in range(300)]
    for job in jobs:
        writer.submit_soon(job)
    assert await asyncio.gather(*(job.future for job in jobs)) == list(range(300))
    assert recorder.groups[0][:256] == list(range(256))


async def test_what_a_turn_brought_is_committed_before_the_end(writer, recorder):
    """A close in the same turn loses nothing, and takes nothing more."""
    recorder.gate.set()
    job = Job("last")
    writer.submit_soon(job)
    await writer.close()
    assert await job.future == "last"
    with pytest.raises(SpoolSickError):
        writer.submit_soon(Job("too late"))


async def test_a_nudge_is_heeded_at_once(recorder):
    """What is to be done when nothing else is, is done when somebody says so, though nothing else ever is."""
    heeded = threading.Event()

    def idle():
        heeded.set()
        return True

    writer = Writer(recorder.commit, name="test", idle=idle, close=recorder.close)
    writer.nudge()
    assert await asyncio.to_thread(heeded.wait, 10)
    await writer.close()


async def test_error_of_one_is_his_alone(writer, recorder):
    """A job's own error does not touch its neighbours."""
    recorder.gate.set()
    results = await asyncio.gather(*(submit(writer, w) for w in ("a", "bad", "b")), return_exceptions=True)
    assert (results[0], results[2]) == ("a", "b")
    assert isinstance(results[1], ValueError)


async def test_fault_of_the_commit_reaches_all_and_the_thread_lives(writer, recorder):
    """An exception that nobody expected is told to all of the group, and the next group is served."""
    recorder.gate.set()
    with pytest.raises(RuntimeError, match="worse"):
        await submit(writer, "worse")
    assert await submit(writer, "next") == "next"


async def test_cancelled_waiter_is_left_alone(writer, recorder):
    """Who went away is not told, and the others are."""
    first, second = submit(writer, 1), submit(writer, 2)
    first.cancel()
    recorder.gate.set()
    assert await second == 2


async def test_close_commits_what_waits(writer, recorder):
    """What was submitted before the close is committed, and nothing after it is taken."""
    future = submit(writer, 1)
    recorder.gate.set()
    await writer.close()
    await writer.close()
    assert await future == 1
    assert recorder.closed == 1
    with pytest.raises(SpoolSickError, match="closed"):
        submit(writer, 2)


def test_loop_that_is_gone_is_no_fault():
    """A process that ends its loop before the commit does not hang its thread."""
    recorder = Recorder()

    async def begin():
        writer = Writer(recorder.commit, name="test", close=recorder.close)
        submit(writer, 1)
        return writer

    writer = asyncio.run(begin())
    recorder.gate.set()
    asyncio.run(writer.close())
    assert recorder.groups == [[1]]


async def test_idle_work_is_tried_until_it_is_done(recorder, monkeypatch):
    """What is left after a group is done when nothing else is, as often as it takes, and then the thread
    sleeps.
    """
    waits, answers, done = [], [False, False, True], threading.Event()
    monkeypatch.setattr("relay.spool.local.writer._AGAIN_SECONDS", 0.01)

    def idle():
        answer = answers.pop(0)
        if answer:
            done.set()
        return answer

    class Watched(SimpleQueue):
        def get(self, block=True, timeout=None):
            waits.append(timeout)
            return super().get(block, timeout)

    monkeypatch.setattr("relay.spool.local.writer.SimpleQueue", Watched)
    writer = Writer(recorder.commit, name="test", idle=idle, close=recorder.close)
    recorder.gate.set()
    await submit(writer, "group")
    assert await asyncio.to_thread(done.wait, 10)
    await writer.close()
    assert [timeout for timeout in waits if timeout] == [0.01] * 3
    assert waits[-1] is None, "nothing is left, and nothing wakes the thread"
