"""A power cut while a spool is restored, or brought up to date: what is there afterwards is whole."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import closing

import pytest
from power.images import Disk, by_chance, everything, nothing, read_log
from power.story import logging_disk
from spool_helpers import build_config, build_submission, make_version_2, tables_of

from relay.spool.local.layout import sync_folder
from relay.spool.model import Filter
from relay.spool.opening import has_spool, open_desk, open_intake, open_outbox, restore_spool

LARGE = 4_096


def silent(_done, _total):
    """Nobody looks."""


async def make_spool(config):
    """Six mails, of which two lie in files. Returns their octets by id."""
    intake = open_intake(config)
    mails = {}
    for number in range(6):
        spool_id = intake.new_id()
        body = random.Random(number).randbytes(3 * LARGE if number % 3 == 0 else 500)
        submission = build_submission(spool_id, body=body)
        await intake.put(submission)
        mails[spool_id] = submission.raw
    await intake.close()
    return mails


def images_of(home, *, count, seed, after=0):
    """So many images of the disk whose log is in `home`, cut after an instant, each with that of its cut."""
    rng = random.Random(seed)
    records, disk, done = list(read_log(home / "log")), Disk(), 0
    late = [number for number, record in enumerate(records) if record.at > after]
    for number, cut in enumerate(sorted(rng.sample(late, count))):
        for record in records[done:cut]:
            disk.apply(record)
        done = cut
        place = home / f"image-{number}"
        disk.lay(place, (nothing, everything, by_chance(rng, 0.5), by_chance(rng, 0.9))[number % 4])
        yield place, records[cut].at
        shutil.rmtree(place)


def check_whole(config, mails):
    """All of the mails are there, with their octets, in a database without a fault."""
    with closing(open_desk(config)) as desk:
        assert {entry.spool_id for entry in desk.select(Filter())} == mails.keys()
        for spool_id, raw in mails.items():
            assert desk.export(spool_id) == raw
    with tables_of(config.data_dir) as tables:
        assert tables.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_restored_spool_has_its_name_when_it_is_whole(tmp_path):
    """Forty cuts: before the command has ended there is no spool, or all of it; after it, all of it. One that
    was cut short is restored by the same command.
    """
    config = build_config(tmp_path / "data", large_message_bytes=LARGE)
    mails = await make_spool(config)
    archive = tmp_path / "spool.tar"
    with closing(open_desk(config)) as desk:
        desk.back_up(archive, progress=silent)
    with logging_disk(tmp_path) as place:
        restore_spool(build_config(place / "data", large_message_bytes=LARGE), archive, progress=silent)
        ended = time.time_ns()
        await open_outbox(build_config(place / "data", large_message_bytes=LARGE)).close()
    found = {True: 0, False: 0}
    for image, at in images_of(tmp_path, count=40, seed=3):
        there = build_config(image / "data", large_message_bytes=LARGE)
        found[has_spool(there)] += 1
        if not has_spool(there):
            assert at <= ended, "a spool was restored, and is gone"
            restore_spool(there, archive, progress=silent)
        check_whole(there, mails)
    assert min(found.values()) > 2, found


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_spool_of_before_is_whole_at_each_step_of_its_upgrade(tmp_path):
    """Cuts while a spool of an earlier version is brought up to date: the next start ends that."""
    with logging_disk(tmp_path) as place:
        config = build_config(place / "data", large_message_bytes=LARGE)
        mails = await make_spool(config)
        make_version_2(config)
        sync_folder(config.data_dir / "spool")
        began = time.time_ns()
        await open_outbox(config).close()
    for image, _ in images_of(tmp_path, count=40, seed=4, after=began):
        there = build_config(image / "data", large_message_bytes=LARGE)
        await open_outbox(there).close()
        check_whole(there, mails)
