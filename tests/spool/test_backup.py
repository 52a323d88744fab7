"""The backup of a spool in use, and the spool made of it: nothing is missing, all that waited is in doubt."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import tarfile
from datetime import timedelta

import pytest
from spool_helpers import (
    NOW,
    build_config,
    build_submission,
    claim_one,
    hold_delivery,
    later,
    raw_files,
    tables_of,
)

from relay.errors import SpoolBusyError, SpoolError, SpoolFullError
from relay.faults import arm_fault
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox, restore_spool
from relay.vocabulary import Rung

LARGE = 4_096


@pytest.fixture
def config(tmp_path):
    return build_config(tmp_path / "data", large_message_bytes=LARGE)


@pytest.fixture(params=["spool.tar", "spool.tar.gz"])
def archive(request, tmp_path):
    return tmp_path / request.param


def silent(_done, _total):
    """Nobody looks."""


async def put(intake, *, large=False, **like):
    """A mail, whose octets lie in a file if it is large."""
    body = os.urandom(3 * LARGE) if large else os.urandom(50)
    spool_id = intake.new_id()
    raw = None
    if large:
        raw = await asyncio.to_thread(intake.open_file, spool_id)
        await asyncio.to_thread(raw.write, b"Received: from x\r\n" + body)
    receipt = await intake.put(build_submission(spool_id, body=body, raw=raw, **like))
    return receipt.spool_id


@pytest.fixture
async def four(config):
    """A spool with a mail done, one held, one whose request went out, and a large one. Gives their ids."""
    intake, outbox = open_intake(config), open_outbox(config)
    ids = {}
    for name in ("done", "held", "sent"):
        ids[name] = await put(intake)
        entry = await claim_one(outbox, lease_seconds=3_600)
        await outbox.save_request(
            entry, request=b"{}", rung=Rung.FULL, token=entry.token, expires_at=later(60), now=NOW
        )
        if name == "done":
            await outbox.finish(entry, contact_id="c-1", now=NOW)
        elif name == "held":
            await outbox.hold(entry, reason="policy.spam", detail="", now=NOW)
        else:
            await outbox.defer(entry, until=later(3_600), reason="connect.timeout", detail="", now=NOW)
    ids["large"] = await put(intake, large=True)
    yield ids
    await intake.close()
    await outbox.close()


def back_up(config, archive, progress=silent):
    desk = open_desk(config)
    try:
        return desk.back_up(archive, progress=progress)
    finally:
        desk.close()


def elsewhere(config, tmp_path):
    """The same configuration for another machine."""
    return config.model_copy(update={"data_dir": tmp_path / "other"})


async def test_restored_spool_has_all_mail(config, four, archive, tmp_path):
    """Each mail is there with its state, its history and its octets, large ones too; the numbers are told."""
    before = {}
    desk = open_desk(config)
    for name, spool_id in four.items():
        before[name] = desk.export(spool_id)
    made = back_up(config, archive)
    assert (made.mails, made.owed, made.lost) == (4, 3, ())
    assert made.octets == archive.stat().st_size
    assert archive.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", archive.name])
    other = elsewhere(config, tmp_path)
    assert restore_spool(other, archive, progress=silent) == made
    assert sorted(path.name for path in other.data_dir.iterdir()) == ["deliver.lock", "spool"]
    copy = open_desk(other)
    for name, spool_id in four.items():
        assert copy.export(spool_id) == before[name]
        (was,), (now,) = (one.select(Filter(ids=(spool_id,))) for one in (desk, copy))
        assert (now.state, now.token, now.request, now.reason) == (
            was.state,
            was.token,
            was.request,
            was.reason,
        )
        assert len(copy.history(now)) == len(desk.history(was))
    assert copy.remembered("c-1")
    desk.close()
    copy.close()


async def test_what_waited_is_in_doubt_since_the_backup(config, four, archive, tmp_path):
    """It may have become a contact since: an older doubt stays, a finished mail has none."""
    made = back_up(config, archive)
    other = elsewhere(config, tmp_path)
    restore_spool(other, archive, progress=silent)
    copy = open_desk(other)
    since = {}
    for name, spool_id in four.items():
        (entry,) = copy.select(Filter(ids=(spool_id,), states=tuple(State)))
        since[name] = (entry.in_doubt_since, entry.sent)
    assert since["large"] == (made.at, True)
    assert since["sent"][0] == NOW
    assert since["held"][0] is not None
    assert since["done"][0] is None
    copy.close()


async def test_a_week_after_the_backup_a_person_is_asked(config, archive, tmp_path):
    """Connect forgets tokens: what waited is let go only by somebody who agrees to a second contact."""
    intake = open_intake(config)
    spool_id = await put(intake)
    await intake.close()
    back_up(config, archive)
    other = elsewhere(config, tmp_path)
    restore_spool(other, archive, progress=silent)
    desk = open_desk(other)
    assert desk.hold([spool_id], now=desk.now()).count == 1
    late = desk.now() + timedelta(days=7)
    left = desk.release([spool_id], now=late).left
    assert [one.in_doubt_since is not None for one in left] == [True]
    assert desk.release([spool_id], now=late, agreed=True).count == 1
    desk.close()


async def test_mail_that_was_removed_meanwhile_is_not_owed(config, four, archive, tmp_path):
    """A large mail whose file went after the database was copied was finished: it is left out. One whose row
    stands is told as lost.
    """
    lost = open_intake(config)
    gone = await put(lost, large=True)
    await lost.close()
    (path,) = [path for path in raw_files(config.data_dir) if path.name == four["large"]]
    dropped = []

    def drop_once(_done, _total):
        if not dropped:
            dropped.append(gone)
            path.unlink()
            desk = open_desk(config)
            desk.drop([gone], now=NOW)
            desk.close()

    made = back_up(config, archive, progress=drop_once)
    assert made.lost == (four["large"],)
    other = elsewhere(config, tmp_path)
    restored = restore_spool(other, archive, progress=silent)
    assert (restored.mails, restored.lost) == (made.mails, made.lost)
    copy = open_desk(other)
    assert copy.select(Filter(ids=(gone,))) == []
    assert sum(copy.counts().values()) == 4
    copy.close()


async def test_backup_replaces_nothing(config, four, archive):
    """A file of this name stays as it is, and two backups into one file do not mix."""
    archive.write_bytes(b"last week's")
    with pytest.raises(SpoolError, match="exists; a backup never replaces"):
        back_up(config, archive)
    assert archive.read_bytes() == b"last week's"
    archive.unlink()

    def again(_done, _total):
        with pytest.raises(SpoolError, match="is being written by another"):
            back_up(config, archive)

    back_up(config, archive, progress=again)
    assert archive.exists()


async def test_restore_replaces_nothing(config, four, archive, tmp_path):
    """A spool that is there stays, and so does one that a daemon uses."""
    back_up(config, archive)
    for held in (True, False):
        other = elsewhere(config, tmp_path / str(held))
        other.data_dir.mkdir(parents=True)
        if held:
            handle = hold_delivery(other.data_dir)
            with pytest.raises(SpoolBusyError, match="stop it first"):
                restore_spool(other, archive, progress=silent)
            os.close(handle)
        else:
            (other.data_dir / "spool").mkdir()
            with pytest.raises(SpoolError, match="move it away first"):
                restore_spool(other, archive, progress=silent)


def members_of(archive):
    with tarfile.open(archive) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for member, octets in members:
            member.size = len(octets)
            tar.addfile(member, io.BytesIO(octets))


def spoil_nothing(members):
    return members


def lose_the_manifest(members):
    return members[:-1]


def change_an_octet(members):
    member, octets = members[0]
    return [(member, octets[:-1] + bytes([octets[-1] ^ 1])), *members[1:]]


def lose_a_mail(members):
    return members[1:]


def lead_outside(members):
    return [(tarfile.TarInfo("raw/../../../evil"), b"x"), *members]


def link_outside(members):
    link = tarfile.TarInfo("raw/06H7M2K9Q0XYZAB1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [(link, b""), *members]


def say_nonsense(members):
    return [*members[:-1], (members[-1][0], b'{"members": [[]], "spool_microseconds": 1e999}')]


def bring_another_database(members):
    index = next(number for number, (member, _) in enumerate(members) if member.name == "spool.db")
    document = json.loads(members[-1][1])
    member, octets = members[index]
    broken = octets[: len(octets) // 2] + b"\xff" * (len(octets) - len(octets) // 2)
    for one in document["members"]:
        if one["name"] == "spool.db":
            one["sha256"] = hashlib.sha256(broken).hexdigest()
    members[index] = (member, broken)
    members[-1] = (members[-1][0], json.dumps(document).encode())
    return members


@pytest.mark.parametrize(
    "spoil",
    [
        lose_the_manifest,
        change_an_octet,
        lose_a_mail,
        lead_outside,
        link_outside,
        say_nonsense,
        bring_another_database,
    ],
)
async def test_spoilt_archive_makes_no_spool(config, four, tmp_path, spoil):
    """An archive that is not whole, or not ours, is told as such, and nothing is left at the place."""
    archive = tmp_path / "spool.tar"
    back_up(config, archive)
    write_tar(tmp_path / "spoilt.tar", spoil(members_of(archive)))
    other = elsewhere(config, tmp_path)
    with pytest.raises(SpoolError, match="cannot be restored"):
        restore_spool(other, tmp_path / "spoilt.tar", progress=silent)
    assert [path.name for path in other.data_dir.iterdir()] == ["deliver.lock"]
    write_tar(tmp_path / "whole.tar", spoil_nothing(members_of(archive)))
    assert restore_spool(other, tmp_path / "whole.tar", progress=silent).mails == 4


async def test_archive_cut_anywhere_makes_no_spool(config, four, archive, tmp_path):
    """A disk that was full, a copy that was broken off: no part of an archive passes for all of it."""
    back_up(config, archive)
    octets = archive.read_bytes()
    # The end of a tar file is zeros, which carry nothing; compressed they take some octets.
    whole = octets.rstrip(b"\0") if archive.suffix == ".tar" else octets[:-100]
    other = elsewhere(config, tmp_path)
    for size in (0, 1, 511, 513, len(whole) // 2, len(whole) - 1_025, len(whole) - 1):
        (tmp_path / "part").write_bytes(octets[:size])
        with pytest.raises(SpoolError, match="cannot be restored"):
            restore_spool(other, tmp_path / "part", progress=silent)
        assert not (other.data_dir / "spool").exists()


@pytest.mark.parametrize("point", ["spool.backup.copied", "spool.backup.written"])
async def test_full_disk_leaves_no_half_archive(config, four, archive, tmp_path, point):
    """The error says that the archive found no room; no part of it stays."""
    arm_fault(f"{point}:enospc")
    try:
        with pytest.raises(SpoolFullError):
            back_up(config, archive)
    finally:
        arm_fault("")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert back_up(config, archive).mails == 4


def killed_at(point, work):
    """Whether a process of its own that does the work is killed at this step."""
    pid = os.fork()
    if pid == 0:
        try:
            arm_fault(point)
            work()
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.process
@pytest.mark.parametrize(
    "point",
    ["spool.backup.copied", "spool.backup.written", "spool.restore.unpacked", "spool.restore.named"],
)
async def test_killed_at_any_step(config, four, tmp_path, point):
    """After SIGKILL the same command works, and what stands under the name of the result is whole."""
    archive = tmp_path / "spool.tar"
    other = elsewhere(config, tmp_path)

    def work():
        if "backup" in point:
            back_up(config, archive)
        else:
            restore_spool(other, archive, progress=silent)

    if "restore" in point:
        back_up(config, archive)
    assert killed_at(point, work)
    if point == "spool.restore.named":
        with pytest.raises(SpoolError, match="exists"):
            work()
        with tables_of(other.data_dir) as tables:
            assert tables.execute("SELECT count(*) FROM mails WHERE 1").get == 4
        return
    assert not archive.exists() or "restore" in point
    work()
    if "backup" in point:
        assert restore_spool(other, archive, progress=silent).mails == 4
    else:
        shutil.rmtree(other.data_dir)
