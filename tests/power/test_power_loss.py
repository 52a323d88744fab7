"""The promise under a power cut: whatever part of the unsynced writes is on the disk, no acknowledged mail is
missing and none becomes two contacts.
"""

from __future__ import annotations

import os
import random
import shutil

import pytest
from power.images import Disk, by_chance, everything, nothing, read_log
from power.judge import judge, start_and_judge
from power.story import tell
from sandboxes import fast_sandbox

#: Of `make crash`; CONTRIBUTING.md says how long it takes.
IMAGES = int(os.environ.get("POWER_IMAGES", "1000"))


def cuts_of(seen, records, rng, count):
    """So many records before which the power goes, in order: half of them by chance, a quarter just after a
    250 was read, a quarter just after Connect started a contact.
    """
    told = [[*seen.acknowledged.values()], [each.at for each in seen.contacts]]
    chosen = []
    for number in range(count):
        if number % 2:
            chosen.append(rng.randrange(len(records)))
            continue
        at = rng.choice(told[number // 2 % 2])
        chosen.append(next((n for n, record in enumerate(records) if record.at > at), len(records) - 1))
    return sorted(chosen)


def luck_of(rng):
    """One image in four has nothing but what was synced, one in eight all, the others a part by chance."""
    kind = rng.randrange(8)
    if kind < 2:
        return nothing
    return everything if kind == 2 else by_chance(rng, rng.choice((0.1, 0.5, 0.9)))


async def judge_images(home, report, box, seen, *, images, starts, seed):
    """Judge so many images of a story; over each `starts`th a daemon is started."""
    rng = random.Random(seed)
    records = list(read_log(seen.log))
    disk, done = Disk(), 0
    for number, cut in enumerate(cuts_of(seen, records, rng, images)):
        for record in records[done:cut]:
            disk.apply(record)
        done, at = cut, records[cut].at
        image = home / f"image-{number}"
        disk.lay(image, luck_of(rng))
        await judge(image / "data", seen, at)
        if number % starts == starts - 1:
            start_and_judge(home / f"life-{number}", image / "data", box, seen, at)
        shutil.rmtree(image)
        report(number + 1, images)
    told = f"{len(seen.acknowledged)} mails, {len(seen.contacts)} contacts, {len(records)} records"
    print(f"{told}, {images} images, {images // starts} starts")


def lay_without_syncs(home, seen, *, of, at):
    """The image at this instant of a disk that has ignored each sync of the files with such a name."""
    disk, deaf = Disk(), set()
    for record in read_log(seen.log):
        if record.at > at:
            break
        if record.kind == "create" and record.what[1].endswith(of):
            deaf.add(record.what[2])
        if record.kind != "sync" or record.what[0] not in deaf:
            disk.apply(record)
    disk.lay(home, nothing)
    return home / "data"


@pytest.mark.system
@pytest.mark.timeout(180)
async def test_power_cut(tmp_path, report):
    """Twelve power cuts, two of them followed by a whole daemon: nothing is lost, nothing is twice. On a disk
    that ignores a sync something is, and the judge says so.
    """
    with fast_sandbox(seed=2026) as box:
        seen = tell(tmp_path, box, mails=24, seed=2026)
        await judge_images(tmp_path, report, box, seen, images=12, starts=6, seed=2026)
    assert [at for at in sorted(seen.acknowledged.values()) if await is_lost(tmp_path / str(at), seen, at)]


async def is_lost(home, seen, at):
    """Returns whether the judge misses acknowledged mail on a disk that has ignored the syncs of the log
    until this instant. Just behind a checkpoint, which brings all mail into the database, none is missing.
    """
    try:
        await judge(lay_without_syncs(home, seen, of="-wal", at=at), seen, at)
    except AssertionError as error:
        return "acknowledged mails are lost" in str(error)
    return False


@pytest.mark.long
@pytest.mark.system
@pytest.mark.timeout(7_200)
async def test_many_power_cuts(tmp_path, report):
    """The same a thousand times."""
    with fast_sandbox(seed=11) as box:
        seen = tell(tmp_path, box, mails=120, seed=11)
        await judge_images(tmp_path, report, box, seen, images=IMAGES, starts=10, seed=11)
