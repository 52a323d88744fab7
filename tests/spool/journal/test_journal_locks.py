"""The lock of a mail among receivers: one at a time, whatever the order in which they read and write."""

from __future__ import annotations

import asyncio
import multiprocessing
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import SpoolSickError
from relay.spool.local.journal.locks import _BUCKETS, _ROW_WORDS, ROWS, MailLocks, Pause, Rows, State, acquire

KEY = 0x1234567


class Machine:
    """Receivers over the same memory, of which each takes the lock, holds it and gives it back, so many
    times; a scheduler says who does the next step.
    """

    def __init__(self, receivers, *, times=1):
        words = memoryview(bytearray(8 * ROWS * _ROW_WORDS)).cast("Q")
        self.rows = [Rows(words, row) for row in range(receivers)]
        for row in self.rows:
            row.enter(f"MARK{row.row}")
        self.inside = set()
        self.lives = [self.live(row, times) for row in self.rows]
        #: Who waits, and for whom nothing has changed since.
        self.waiting = set()
        self.done = set()

    def live(self, rows, times):
        for _ in range(times):
            for pause, _ in acquire(rows, KEY):
                yield pause
            self.inside.add(rows.row)
            assert len(self.inside) == 1, "two hold the lock"
            yield Pause.STEP
            self.inside.remove(rows.row)
            rows.set(KEY, State.NONE)
            yield Pause.STEP

    def able(self):
        """Those whose next step can change something."""
        return [one for one in range(len(self.lives)) if one not in self.done | self.waiting]

    def step(self, one):
        """The next step of one; all that wait are able again if it has done anything."""
        pause = next(self.lives[one], None)
        if pause is Pause.WAIT:
            self.waiting.add(one)
            return
        self.waiting.clear()
        if pause is None:
            self.done.add(one)


def run(receivers, choices, *, times=1):
    """One life of all; each choice says who of those that are able is next. Returns how many were able at
    each step.
    """
    machine, widths = Machine(receivers, times=times), []
    while len(machine.done) < receivers:
        able = machine.able()
        assert able, "all wait for each other"
        at = len(widths)
        machine.step(able[choices[at] % len(able) if at < len(choices) else 0])
        widths.append(len(able))
        assert at < 400, "nobody comes to an end"
    return widths


@pytest.mark.parametrize("times", [1, 2])
def test_two_receivers_in_every_order(times):
    """All interleavings of two, step by step: never both, never neither."""
    choices, count = [], 0
    while True:
        widths = run(2, choices, times=times)
        count += 1
        choices += [0] * (len(widths) - len(choices))
        while choices and choices[-1] + 1 >= widths[len(choices) - 1]:
            choices.pop()
        if not choices or count > 5_000:
            break
        choices[-1] += 1
    assert count > 100


@given(st.integers(2, 5), st.integers(1, 3), st.lists(st.integers(0, 59), max_size=120))
def test_several_receivers_in_any_order(receivers, times, choices):
    """Up to five, again and again."""
    run(receivers, choices, times=times)


def test_full_bucket_waits():
    """More mails of one bucket under way than it has words: the next waits until one is done."""
    (rows,) = Machine(1).rows
    keys = [KEY + number * _BUCKETS for number in range(5)]
    assert [rows.set(key, State.OWNED) for key in keys] == [True] * 4 + [False]
    pauses = acquire(rows, keys[4])
    assert next(pauses)[0] is Pause.WAIT
    rows.set(keys[0], State.NONE)
    assert next(pauses)[0] is Pause.STEP
    assert [rows.see(0, key) for key in keys[1:4]] == [State.OWNED] * 3


def fingerprint_of(number):
    return f"{number:064x}"


async def test_sessions_of_one_receiver_wait_for_each_other(tmp_path):
    """The same octets in two sessions; others are not kept waiting."""
    locks = MailLocks(tmp_path / "locks", "MARK1", is_alive=lambda _: True)
    told = []

    async def hold(name, fingerprint):
        async with locks.held(fingerprint):
            told.append(f"{name} in")
            await asyncio.sleep(0)
            told.append(f"{name} out")

    same, other = "a" * 64, "b" * 64
    await asyncio.gather(hold("first", same), hold("second", same), hold("third", other))
    assert told.index("first out") < told.index("second in")
    assert told.index("third in") < told.index("first out")
    locks.close()
    locks.close()


async def test_lock_is_given_back_after_an_error(tmp_path):
    """A mail that cannot be written keeps nobody from the same one."""
    locks = MailLocks(tmp_path / "locks", "MARK1", is_alive=lambda _: True)
    with pytest.raises(OSError, match="no"):
        async with locks.held("a" * 64):
            raise OSError("no")
    async with asyncio.timeout(5), locks.held("a" * 64):
        pass
    locks.close()


async def test_receiver_that_died_keeps_nobody_waiting(tmp_path):
    """Its mark is locked by no process any more; a live one is waited for."""
    alive = {"MARK1", "MARK2"}
    dead = MailLocks(tmp_path / "locks", "MARK1", is_alive=alive.__contains__)
    ours = MailLocks(tmp_path / "locks", "MARK2", is_alive=alive.__contains__)
    holding = dead.held("a" * 64)
    await holding.__aenter__()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), ours.held("a" * 64):
            pass
    alive.remove("MARK1")
    async with asyncio.timeout(10), ours.held("a" * 64):
        pass
    successor = MailLocks(tmp_path / "locks", "MARK3", is_alive=alive.__contains__)
    assert successor._rows.row == dead._rows.row, "the row of the dead is free"
    assert not successor._rows.see(dead._rows.row, int("a" * 16, 16) >> 2)
    successor.close()
    ours.close()


async def test_no_row_is_left(tmp_path):
    """As many receivers as may be, and one more."""
    opened = [
        MailLocks(tmp_path / "locks", f"M{number:04d}", is_alive=lambda _: True) for number in range(ROWS)
    ]
    with pytest.raises(SpoolSickError, match="64 receivers"):
        MailLocks(tmp_path / "locks", "M0064", is_alive=lambda _: True)
    opened[7].close()
    again = MailLocks(tmp_path / "locks", "M0065", is_alive=lambda _: True)
    assert again._rows.row == 7
    for one in (*opened, again):
        one.close()


def contend(path, mark, inside, broken, times):
    """A process that takes the lock of one mail again and again."""

    async def main():
        locks = MailLocks(path, mark, is_alive=lambda _: True)
        for _ in range(times):
            async with locks.held("a" * 64):
                try:
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                except FileExistsError:
                    broken.set()
                os.sched_yield()  # another process may run here
                inside.unlink()
            await asyncio.sleep(0)
        locks.close()

    asyncio.run(main())


@pytest.mark.process
def test_processes_take_turns(tmp_path):
    """Three processes over real shared memory: never two at once, and each comes to its end."""
    context = multiprocessing.get_context("spawn")
    broken = context.Event()
    arguments = (tmp_path / "inside", broken, 15)
    ours = [
        context.Process(target=contend, args=(tmp_path / "locks", f"MARK{number}", *arguments))
        for number in range(3)
    ]
    for process in ours:
        process.start()
    for process in ours:
        process.join(40)
        assert process.exitcode == 0
    assert not broken.is_set()
