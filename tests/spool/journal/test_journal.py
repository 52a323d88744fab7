"""The journal: what it has told to be on the disk is read back, in order, whatever fails beside it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness import ROOT, until

from relay.errors import SpoolFullError, SpoolSickError
from relay.faults import VARIABLE, arm_fault
from relay.spool.local.journal import journal as room
from relay.spool.local.journal.journal import Journal
from relay.spool.local.journal.record import SECTOR_BYTES, Kind, Record
from relay.spool.local.journal.segments import Pool, begin_segment, make_segment, read_segment
from relay.spool.local.journal.syncer import ThreadSyncer

SIZE = 64 << 10


def record_of(number, *, size=100):
    mail = b"Subject: %d\r\n\r\n" % number + b"x" * size
    return Record(Kind.MAIL, b'{"n":%d}' % number, b"Received: y\r\n", mail, hashlib.sha256(mail).digest())


def read_all(folder):
    """All records of a folder's segments, by segment in the order of their names."""
    found = []
    for path in sorted(folder.iterdir()):
        with read_segment(path) as reading:
            if reading is not None:
                found += [each.record for each in reading.records]
    return found


@asynccontextmanager
async def opened(folder, *, ahead=2):
    """A journal and its pool, in which as many segments as shall be wait to be used."""
    pool = Pool(folder, "MARK", size=SIZE, ahead=ahead)
    try:
        assert await asyncio.to_thread(pool.wait_ready, 10)
        journal = Journal(pool, size=SIZE)
        await asyncio.to_thread(until, lambda: len(pool._ready) == ahead, so="segments are ready")
        try:
            yield journal, pool
        finally:
            await journal.close()
    finally:
        await asyncio.to_thread(pool.close)


@pytest.fixture
def fault():
    """A fault point, armed for the test."""
    yield arm_fault
    arm_fault("")


async def refused(future):
    """The error that a record was told."""
    with pytest.raises((SpoolFullError, SpoolSickError)) as caught:
        await future
    return caught.value


async def test_records_of_a_group_are_told_together(tmp_path):
    """A hundred appends of one turn of the loop are one write and one sync."""
    async with opened(tmp_path) as (journal, _):
        places = await asyncio.gather(*(journal.append(record_of(number)) for number in range(100)))
    assert read_all(tmp_path) == [record_of(number) for number in range(100)]
    assert [place.end for place in places] == [SECTOR_BYTES * (number + 2) for number in range(100)]


@pytest.mark.parametrize("way", ["kernel", "thread", "aside"])
async def test_segments_follow_each_other(tmp_path, monkeypatch, way):
    """More than a segment holds goes on in the next one, in each way to write and sync."""
    if way == "thread":
        monkeypatch.setattr(room, "open_syncer", lambda _: ThreadSyncer())
    if way == "aside":
        monkeypatch.setattr(room, "_SLOW_SECONDS", -1.0)
    async with opened(tmp_path) as (journal, pool):
        for start in range(0, 400, 50):
            await asyncio.to_thread(pool.wait_ready, 10)
            records = [record_of(number) for number in range(start, start + 50)]
            places = await asyncio.gather(*map(journal.append, records))
        assert len({place.segment for place in places}) <= 2
    assert read_all(tmp_path) == [record_of(number) for number in range(400)]


async def test_what_waits_at_the_end_is_written(tmp_path):
    """A stop is orderly: each future is done after it."""
    async with opened(tmp_path) as (journal, _):
        futures = [journal.append(record_of(number)) for number in range(3)]
    assert all(future.done() and not future.exception() for future in futures)
    with pytest.raises(SpoolSickError, match="closed"):
        journal.append(record_of(4))
    await journal.close()


async def test_cancelled_waiter_changes_nothing(tmp_path):
    """A session that ends meanwhile leaves its record, and the others are told."""
    async with opened(tmp_path) as (journal, _):
        first, second = journal.append(record_of(1)), journal.append(record_of(2))
        first.cancel()
        await second
    assert read_all(tmp_path) == [record_of(1), record_of(2)]


async def test_record_of_no_room_is_refused(tmp_path):
    """One that is larger than a segment never fits; one that is larger than the rest takes the next."""
    async with opened(tmp_path) as (journal, _):
        assert not journal.fits(SIZE)
        with pytest.raises(ValueError, match="in no segment"):
            journal.append(record_of(1, size=SIZE))
        assert journal.fits(SIZE - SECTOR_BYTES)
        await journal.append(record_of(2, size=SIZE - 3 * SECTOR_BYTES))
        await journal.append(record_of(3, size=SIZE // 2))


@pytest.mark.parametrize("step", ["journal.write", "journal.written"])
@pytest.mark.parametrize(("word", "kind"), [("eio", SpoolSickError), ("enospc", SpoolFullError)])
async def test_failed_write_refuses_its_group_and_no_other(tmp_path, fault, step, word, kind):
    """The segment is left for good: those before it and those after it are read, in another one."""
    async with opened(tmp_path) as (journal, _):
        before = await journal.append(record_of(1))
        fault(f"{step}:{word}:1")
        failed = [journal.append(record_of(2)), journal.append(record_of(3))]
        errors = [await refused(future) for future in failed]
        assert {type(error) for error in errors} == {kind}
        assert errors[0] is not errors[1]
        after = await journal.append(record_of(4))
        assert after.segment != before.segment
    found = read_all(tmp_path)
    assert found[0] == record_of(1)
    assert found[-1] == record_of(4)


async def test_failed_sync_refuses_its_group_and_no_other(tmp_path, monkeypatch):
    """Told by the kernel or by the thread: a failed sync is never tried again for the same segment."""
    async with opened(tmp_path) as (journal, _):
        before = await journal.append(record_of(1))
        sync = journal._syncer.sync
        synced = []

        def fail_once(handle, done):
            synced.append(os.fstat(handle).st_ino)
            failing = len(synced) == 1
            sync(handle, (lambda _: done(OSError(errno.EIO, "Input/output error"))) if failing else done)

        monkeypatch.setattr(journal._syncer, "sync", fail_once)
        assert isinstance(await refused(journal.append(record_of(2))), SpoolSickError)
        after = await journal.append(record_of(3))
        assert after.segment != before.segment
        assert synced[0] != synced[1]


async def test_no_segment_refuses_and_comes_back(tmp_path, fault):
    """A disk that has no room for the next segment refuses before anything is written, and is tried again."""
    async with opened(tmp_path, ahead=1) as (journal, pool):
        fault("journal.filled:enospc")
        await journal.append(record_of(1, size=SIZE - 3 * SECTOR_BYTES))
        await journal.append(record_of(2, size=SIZE - 3 * SECTOR_BYTES))
        until(lambda: pool._error is not None, so="the disk refuses")
        assert not journal.fits(2 * SECTOR_BYTES)
        assert isinstance(await refused(journal.append(record_of(3, size=1_000))), SpoolFullError)
        fault("")
        assert await asyncio.to_thread(until, pool.is_ready, so="a segment is ready again")
        assert journal.fits(2 * SECTOR_BYTES)
        await journal.append(record_of(4, size=1_000))
    assert read_all(tmp_path)[-1] == record_of(4, size=1_000)
    assert len(list(tmp_path.iterdir())) == 3, "nothing of a segment that could not be made is left"


@pytest.mark.parametrize("away", ["removed", "moved"])
async def test_segment_that_is_gone_refuses(tmp_path, away):
    """Mail that is written to a file without its name would be missing after the next start."""
    folder = tmp_path / "journal"
    folder.mkdir()
    async with opened(folder) as (journal, _):
        place = await journal.append(record_of(1))
        if away == "removed":
            place.segment.unlink()
        else:
            folder.rename(tmp_path / "elsewhere")
            folder.mkdir()
        assert "moved or removed" in str(await refused(journal.append(record_of(2))))


async def test_used_segment_is_used_again(tmp_path):
    """It gets another generation, and shows nothing of what it held."""
    path = tmp_path / "MARK.000000"
    make_segment(path, SIZE)
    segment = begin_segment(path, SIZE)
    segment.close()
    pool = Pool(tmp_path, "MARK", size=SIZE, ahead=1)
    assert await asyncio.to_thread(pool.wait_ready, 10)
    pool.give_back(path)
    pool.take().close()
    assert await asyncio.to_thread(pool.wait_ready, 10)
    again = pool.take()
    assert again.path == path
    assert again.generation != segment.generation
    again.close()
    await asyncio.to_thread(pool.close)
    with read_segment(path, generation=segment.generation, at=SECTOR_BYTES * 4) as reading:
        assert reading.generation == again.generation
        assert list(reading.records) == []


async def test_import_goes_on_where_it_was(tmp_path):
    """With the generation and the offset that it has noted, it reads what came since."""
    async with opened(tmp_path) as (journal, _):
        place = await journal.append(record_of(1))
        await journal.append(record_of(2))
        with read_segment(place.segment, generation=place.generation, at=place.end) as reading:
            assert [found.record for found in reading.records] == [record_of(2)]


def test_file_of_zeros_holds_nothing(tmp_path):
    """A segment whose first sector never came to the disk has nothing that was acknowledged."""
    make_segment(tmp_path / "MARK.000001", SIZE)
    with read_segment(tmp_path / "MARK.000001") as reading:
        assert reading is None


VICTIM = """
import asyncio, sys
from pathlib import Path
from spool.journal.test_journal import opened, record_of

async def main(folder):
    async with opened(folder, ahead=1) as (journal, pool):
        for number in range(400):
            await asyncio.to_thread(pool.wait_ready, 10)
            await journal.append(record_of(number, size=1_000))
            print(number, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "step",
    ["journal.filled", "journal.made", "journal.begun", "journal.write", "journal.written", "journal.synced"],
)
def test_kill_at_each_step_loses_nothing(tmp_path, step):
    """What was told before SIGKILL is read after it, and at most the one that was under way besides."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", VARIABLE: f"{step}:3"}
    ended = subprocess.run(
        [sys.executable, "-c", VICTIM, str(tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    told = [int(line) for line in ended.stdout.split()]
    found = [int(record.facts[5:-1]) for record in read_all(Path(tmp_path))]
    assert found in (told, [*told, len(told)])
