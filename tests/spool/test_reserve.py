"""The ballast: room that a full disk cannot take from the mail that is here."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import closing

import apsw
import pytest
from disks import fill, free, small_disk, starve
from spool_helpers import NOW, LocalSpool, build_config, build_submission, later

from relay.errors import SpoolFullError, SpoolSickError
from relay.spool.local.layout import Layout
from relay.spool.local.room import Reserve
from relay.spool.model import State
from relay.spool.opening import open_desk, open_intake, open_outbox

pytestmark = pytest.mark.process

SIZE = 16 << 20


@pytest.fixture
def disk(tmp_path):
    """A disk of 128 MiB: its ballast is sixteen of them."""
    with small_disk(tmp_path / "disk", "size=128m,nr_inodes=400") as folder:
        yield folder


@pytest.fixture
def reserve(disk):
    layout = Layout(data_dir=disk / "data")
    layout.prepare()
    return Reserve(layout)


def test_it_takes_room_and_gives_it_back(reserve, disk):
    """Laid, it holds an eighth of a small disk; given up, all of that is free again."""
    before = free(disk)
    assert not reserve.is_out()
    assert reserve.lay()
    assert SIZE <= before - free(disk) < SIZE + 65_536
    assert reserve.lay(), "once more is no more"
    assert SIZE <= before - free(disk) < SIZE + 65_536
    assert reserve.release(SpoolFullError())
    assert before - free(disk) < 65_536
    assert (reserve.is_out(), reserve.is_needed()) == (True, False)
    assert not reserve.release(SpoolFullError()), "there is nothing left to give"


def test_it_is_laid_where_it_fits_twice(reserve, disk):
    """A disk that has just room for it would be full again at once: it waits for more."""
    filler = fill(disk, leave=2 * SIZE - 65_536)
    assert not reserve.lay()
    assert not reserve.is_out(), "one that never lay is not missed"
    filler.unlink()
    reserve.lay()
    fill(disk)
    reserve.release(SpoolFullError())
    assert not reserve.lay()
    assert reserve.is_needed()
    filler.unlink()
    assert reserve.lay()
    assert not reserve.is_needed()


def test_other_trouble_does_not_take_it(reserve):
    """A sick disk that is not full gets nothing by it."""
    reserve.lay()
    assert not reserve.release(SpoolSickError("EIO"))
    assert not reserve.is_out()


def test_what_was_half_laid_is_finished(reserve, disk):
    """A process that died over it leaves one that is out, and the next look lays the rest."""
    reserve.lay()
    for piece in sorted((disk / "data" / "spool" / "ballast").iterdir())[5:]:
        piece.unlink()
    assert reserve.is_out()
    assert reserve.lay()
    assert not reserve.is_out()


def test_file_system_without_a_word_for_it(reserve, disk, monkeypatch):
    """Where blocks cannot be had without writing, they are written."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "no fallocate here")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    before = free(disk)
    assert reserve.lay()
    assert SIZE <= before - free(disk) < SIZE + 65_536


def test_what_a_quota_forbids_is_not_missed(disk, monkeypatch):
    """A ballast that never could be laid closes no door, and is tried again in a minute, not each second."""
    layout = Layout(data_dir=disk / "data")
    layout.prepare()
    at = [0.0]
    reserve = Reserve(layout, monotonic=lambda: at[0])
    tries = []

    def refuse(*_):
        tries.append(at[0])
        raise OSError(errno.EDQUOT, "quota")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        for at[0] in (0.0, 1.0, 59.0, 61.0):
            assert not reserve.lay()
    assert tries == [0.0, 61.0]
    assert not reserve.is_out()
    at[0] = 200.0
    assert reserve.lay()


def test_nothing_is_laid_where_there_is_no_spool(tmp_path):
    """A spool that was moved away is left alone."""
    reserve = Reserve(Layout(data_dir=tmp_path / "nowhere"))
    assert not reserve.lay()
    assert not reserve.is_out()
    assert not reserve.release(SpoolFullError())
    assert list(tmp_path.iterdir()) == []


def test_pay_raises_what_room_does_not_mend(reserve):
    """What still finds no room fails the second time, whoever released the reserve."""
    reserve.lay()
    tries = []

    def act():
        tries.append(1)
        raise SpoolFullError

    with pytest.raises(SpoolFullError):
        reserve.pay(act)
    assert len(tries) == 2
    with pytest.raises(SpoolFullError):
        reserve.pay(act)
    assert len(tries) == 4


def test_reserve_that_another_process_released_is_room_for_both(reserve, disk):
    """Receivers and deliverer start on a full disk at the same moment: all of them begin to work."""
    reserve.lay()
    other = Reserve(Layout(data_dir=disk / "data"))

    def act():
        if not reserve.is_out():
            assert other.release(SpoolFullError())
            raise SpoolFullError
        return "there is room"

    assert reserve.pay(act) == "there is room"


async def test_a_long_queue_goes_out_on_a_full_disk(disk):
    """The outcomes of a thousand mails need many times the ballast; the log is used again and again, so it is
    enough.
    """
    config = build_config(disk / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    await outbox.make_room()
    await asyncio.gather(*(intake.put(build_submission(intake.new_id())) for _ in range(1_000)))
    fill(disk)
    done = 0
    while entries := await outbox.claim(now=NOW, limit=8, lease_seconds=60):
        for entry in entries:
            await outbox.save_request(
                entry, request=b"x" * 20_000, rung=entry.rung, token="t", expires_at=later(60), now=NOW
            )
            await outbox.finish(entry, contact_id="c", now=NOW)
            done += 1
    assert done == 1_000
    intake._room_left._look = None  # a second later
    with pytest.raises(SpoolFullError):
        await intake.put(build_submission(intake.new_id()))
    await intake.close()
    await outbox.close()


async def test_receivers_leave_it_alone(disk, monkeypatch):
    """While it is out nothing is taken, though there are free octets, and free pages, too."""
    config = build_config(disk / "data")
    intake, outbox, desk = open_intake(config), open_outbox(config), open_desk(config)
    await outbox.make_room()
    await intake.put(build_submission(intake.new_id()))
    filler = fill(disk)
    assert len(await outbox.claim(now=NOW, limit=8, lease_seconds=60)) == 1
    assert desk.disk_full()
    intake._room_left._look = None  # a second later
    assert free(disk) > 65_536
    assert not intake.room(10)
    with pytest.raises(SpoolFullError):
        await intake.put(build_submission(intake.new_id()))
    filler.unlink()
    intake._room_left._look = None
    assert intake.room(10), "there is room, whether or not the deliverer has laid it again"
    await outbox.make_room()
    assert not desk.disk_full()
    desk.close()
    await intake.close()
    await outbox.close()


async def test_spool_of_its_own_making_shrinks(disk):
    """A disk that our own finished mail filled has room again without help: what is done goes, and its pages
    with it.
    """
    config = build_config(disk / "data", large_message_bytes=2_000_000)
    intake, outbox, desk = open_intake(config), open_outbox(config), open_desk(config)
    await outbox.make_room()
    for _ in range(60):
        await intake.put(build_submission(intake.new_id(), body=os.urandom(1_000_000)))
    while entries := await outbox.claim(now=NOW, limit=8, lease_seconds=60):
        for entry in entries:
            await outbox.finish(entry, contact_id="c", now=NOW)
    layout = Layout(data_dir=config.data_dir)
    # What the thread of the log would copy later would take the octets that are left. While it copies, a
    # checkpoint of anybody else is "busy".
    with closing(apsw.Connection(str(layout.database))) as connection:
        async with asyncio.timeout(20):
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                await asyncio.sleep(0.01)
    Reserve(layout).release(SpoolFullError())
    fill(disk, leave=SIZE)
    intake._room_left._look = None
    assert not intake.room(10)
    gone = await outbox.make_room()
    assert gone == 60
    assert not desk.disk_full()
    assert desk.counts()[State.DONE] == 0
    intake._room_left._look = None
    await intake.put(build_submission(intake.new_id(), body=os.urandom(100_000)))
    desk.close()
    await intake.close()
    await outbox.close()


@pytest.mark.parametrize("lacking", ["octets", "inodes"])
async def test_spool_opens_on_a_full_disk(disk, lacking):
    """Both halves open where not an octet, or not an inode, is free, in either order; the queue is there."""
    config = build_config(disk / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    await outbox.make_room()
    await intake.put(build_submission(intake.new_id()))
    await intake.close()
    await outbox.close()
    for first in (open_intake, open_outbox):
        fillers = [fill(disk)] if lacking == "octets" else starve(disk)
        second = open_outbox if first is open_intake else open_intake
        halves = {first: first(config), second: second(config)}
        await halves[open_outbox].recover(now=NOW)
        assert len(await halves[open_outbox].claim(now=NOW, limit=8, lease_seconds=60)) == 1
        for half in halves.values():
            await half.close()
        for filler in fillers:
            filler.unlink()
        outbox = open_outbox(config)
        await outbox.recover(now=NOW)
        await outbox.make_room()
        await outbox.close()


async def test_operator_makes_room_on_a_full_disk(disk):
    """`relay queue drop` works where nothing can be written any more, with or without the daemon."""
    config = build_config(disk / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    await outbox.make_room()
    receipt = await intake.put(build_submission(intake.new_id()))
    await intake.close()
    await outbox.close()
    fill(disk)
    desk = open_desk(config)
    assert desk.drop([receipt.spool_id], now=NOW).count == 1
    assert desk.pause("intake", now=NOW)
    assert desk.counts()[State.QUEUED] == 0
    desk.close()


async def test_nothing_is_short_while_the_reserve_is_being_laid(tmp_path):
    """A reserve of which some pieces are not there yet is no full disk: outcomes keep what the page shows."""
    spool = LocalSpool(tmp_path)
    outbox = spool.open_outbox()
    layout = Layout(data_dir=spool.config.data_dir)
    assert Reserve(layout).lay()
    next(layout.reserve.iterdir()).unlink()
    assert not outbox.is_short()
    await spool.close()
