"""The journal under a power cut: what it has told to be on the disk is read back, whichever part of the rest
is there.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time

import pytest
from power.images import Disk, by_chance, everything, nothing, read_log
from power.story import logging_disk
from spool.journal.test_journal import opened, record_of

from relay.spool.local.journal.segments import read_segment
from relay.spool.local.layout import make_folder

RECORDS = 600


def number_of(record):
    return int(record.facts[5:-1])


async def write(folder, rng):
    """Append records in groups of chance, and have each full segment used again. Returns the instants at
    which each record was told, and at which it was imported.
    """
    told, imported, by_segment = {}, {}, {}

    async def append(journal, number):
        place = await journal.append(record_of(number, size=number % 7 * 300))
        told[number] = time.time_ns()
        by_segment.setdefault(place.segment, []).append(number)

    make_folder(folder)
    async with opened(folder) as (journal, pool):
        done = 0
        while done < RECORDS:
            await asyncio.to_thread(pool.wait_ready, 10)
            count = rng.randrange(1, 12)
            await asyncio.gather(*(append(journal, number) for number in range(done, done + count)))
            done += count
            while len(by_segment) > 1:
                path = next(iter(by_segment))
                imported |= dict.fromkeys(by_segment.pop(path), time.time_ns())
                pool.give_back(path)
    return told, imported


def read_all(folder):
    """The numbers of the records that are read, each compared with what was written."""
    found = []
    for path in folder.iterdir():
        with read_segment(path) as reading:
            for each in reading.records if reading else ():
                number = number_of(each.record)
                assert each.record == record_of(number, size=number % 7 * 300)
                found.append(number)
    return found


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_journal_after_power_cuts(tmp_path):
    """Eighty images: no record that was told is missing, none is there twice, and none is another's octets,
    though segments are used again and again.
    """
    rng = random.Random(7)
    with logging_disk(tmp_path) as place:
        told, imported = await write(place / "journal", rng)
    assert len(imported) > RECORDS // 2, "hardly a segment was used again"
    records = list(read_log(tmp_path / "log"))
    disk, done = Disk(), 0
    for number, cut in enumerate(sorted(rng.sample(range(len(records)), 80))):
        for record in records[done:cut]:
            disk.apply(record)
        done, at = cut, records[cut].at
        image = tmp_path / f"image-{number}"
        disk.lay(image, (nothing, everything, by_chance(rng, 0.2), by_chance(rng, 0.7))[number % 4])
        found = read_all(image / "journal") if (image / "journal").exists() else []
        assert len(found) == len(set(found))
        owed = {each for each, when in told.items() if when < at}
        safe = {each for each, when in imported.items() if when < at}
        assert owed <= safe | set(found), "a record that was told is missing"
        shutil.rmtree(image)
