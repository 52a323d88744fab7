"""A disk that fails: full, sick, read-only; what is said then, and that it works again when the disk does."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import apsw
import pytest
import structlog.testing
from disks import fill, remount, small_disk
from harness import until
from spool_helpers import NOW, build_config, build_submission, claim_one, raw_files

from relay import faults
from relay.errors import SpoolCorruptError, SpoolError, SpoolFullError, SpoolSickError, SpoolUnfitError
from relay.spool.local.database import open_database
from relay.spool.local.errors import translate_error
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox


class FailingFile(apsw.VFSFile):
    """A file of SQLite whose writes or syncs fail on request, with the kernel's word."""

    def xWrite(self, data, offset):  # noqa: N802 - a method of SQLite's file system
        FailingDisk.strike("write")
        super().xWrite(data, offset)

    def xSync(self, flags):  # noqa: N802 - a method of SQLite's file system
        FailingDisk.strike("sync")
        super().xSync(flags)


class FailingDisk(apsw.VFS):
    """The disk below SQLite."""

    failing: str = ""
    error: type[apsw.Error] = apsw.IOError

    def __init__(self):
        super().__init__("failing", "unix", makedefault=True)

    @classmethod
    def strike(cls, what):
        if cls.failing == what:
            raise cls.error(f"{what} failed")

    def xOpen(self, name, flags):  # noqa: N802 - a method of SQLite's file system
        return FailingFile("unix", name, flags)


@pytest.fixture
def disk():
    """SQLite's files on a disk that fails when told."""
    standing = FailingDisk()
    FailingDisk.failing = ""
    FailingDisk.error = apsw.IOError
    yield FailingDisk
    standing.unregister()


@pytest.fixture
def fault():
    """Arms a fault point of this process."""
    yield faults.arm_fault
    faults.arm_fault("")


@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize(
    ("error", "ours"),
    [(apsw.IOError, SpoolSickError), (apsw.FullError, SpoolFullError)],
    ids=["eio", "enospc"],
)
async def test_failed_commit_is_told_and_the_next_one_works(disk, intake, desk, what, error, ours):
    """A commit that fails stores nothing and says why; when the disk is well again, so is the spool."""
    await intake.put(build_submission(intake.new_id()))
    disk.failing, disk.error = what, error
    with pytest.raises(ours):
        await intake.put(build_submission(intake.new_id()))
    disk.failing = ""
    receipt = await intake.put(build_submission(intake.new_id()))
    assert not receipt.duplicate
    assert len(desk.select(Filter())) == 2


async def test_failed_commit_of_an_outcome_keeps_the_lease(disk, intake, outbox, desk):
    """An outcome that cannot be written leaves the entry leased; it can be written later."""
    await intake.put(build_submission(intake.new_id()))
    entry = await claim_one(outbox)
    disk.failing = "sync"
    with pytest.raises(SpoolSickError):
        await outbox.finish(entry, contact_id="c", now=NOW)
    disk.failing = ""
    assert desk.counts()[State.LEASED] == 1
    await outbox.finish(entry, contact_id="c", now=NOW)
    assert desk.counts()[State.DONE] == 1


async def test_file_of_a_failed_commit_is_left_to_the_sweep(disk, intake, outbox, spool):
    """After a failed sync the row may come back from the log, so its file stays until the sweep knows
    better.
    """
    file = intake.open_file(spool_id := intake.new_id())
    file.write(b"Received: from x\r\nlarge")
    disk.failing = "sync"
    with pytest.raises(SpoolSickError):
        await intake.put(build_submission(spool_id, body=b"large", raw=file))
    disk.failing = ""
    file.discard()
    assert len(raw_files(spool.config.data_dir)) == 1
    await intake.close()
    await outbox.recover(now=NOW)
    assert raw_files(spool.config.data_dir) == []


async def test_what_a_peer_saw_is_noted_when_the_disk_is_well(disk, spool, intake, monkeypatch):
    """A sick disk at the moment in which a peer shows that it saw our 250: its next mail is its own, all the
    same.
    """
    monkeypatch.setattr("relay.spool.local.writer._AGAIN_SECONDS", 0.01)
    other = spool.open_intake()

    def alarm(receiver):
        return build_submission(receiver.new_id(), body=b"door bell rang", message_id=None)

    first = await intake.put(alarm(intake))
    disk.failing = "sync"
    intake.confirm(first.spool_id)
    until(lambda: intake._connection is None, so="the note could not be written")
    disk.failing = ""
    async with asyncio.timeout(10):
        while (await other.put(alarm(other))).duplicate:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("point", ["spool.raw.written", "spool.raw.synced", "spool.raw.folder_synced"])
@pytest.mark.parametrize(("word", "ours"), [("eio", SpoolSickError), ("enospc", SpoolFullError)])
async def test_failing_file_is_told_and_removed(fault, intake, spool, desk, point, word, ours):
    """A file that cannot be written or synced is no mail: nothing is stored and nothing is left."""
    file = intake.open_file(spool_id := intake.new_id())
    fault(f"{point}:{word}")

    async def receive() -> None:
        file.write(b"Received: from x\r\nlarge")
        await intake.put(build_submission(spool_id, body=b"large", raw=file))

    with pytest.raises(ours):
        await receive()
    file.discard()
    fault("")
    assert raw_files(spool.config.data_dir) == []
    assert desk.select(Filter()) == []
    await intake.put(build_submission(intake.new_id(), body=b"large" * 100_000))
    assert len(desk.select(Filter())) == 1


async def test_one_failed_file_does_not_harm_the_group(fault, intake, desk):
    """A mail whose file fails fails alone."""
    file = intake.open_file(spool_id := intake.new_id())
    file.write(b"Received: from x\r\nlarge")
    fault("spool.raw.synced:eio")
    bad = intake.put(build_submission(spool_id, body=b"large", raw=file))
    await intake.put(build_submission(intake.new_id()))
    with pytest.raises(SpoolSickError):
        await bad
    assert len(desk.select(Filter())) == 1


async def test_database_full_is_told_as_full(intake, desk):
    """SQLite's own limit of pages is a full spool, and more pages make it work again."""
    connection = intake._connection
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages + 4)
    with pytest.raises(SpoolFullError):
        await intake.put(build_submission(intake.new_id(), body=b"x" * 30_000))
    await intake.put(build_submission(intake.new_id(), body=b"y" * 30_000))  # the connection was opened anew
    assert len(desk.select(Filter())) == 1


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "size"),
    [("size=1m", 100), ("size=1m", 20_000), ("size=64m,nr_inodes=40", 20_000)],
    ids=["bytes-small", "bytes-large", "inodes"],
)
async def test_really_full_disk(tmp_path, options, size):
    """On a full disk a refused mail is told as full, every accepted one is there, and room is room again."""
    with small_disk(tmp_path / "disk", options) as disk:
        config = build_config(disk / "data", large_message_bytes=4_096)
        intake = open_intake(config)
        accepted = []

        async def fill() -> None:
            for _ in range(20_000):
                submission = build_submission(intake.new_id(), body=os.urandom(size))
                accepted.append((await intake.put(submission)).spool_id)

        with pytest.raises(SpoolFullError):
            await fill()
        remount(disk, "size=64m,nr_inodes=10000")
        accepted.append((await intake.put(build_submission(intake.new_id()))).spool_id)
        desk = open_desk(config)
        assert [e.spool_id for e in desk.select(Filter(limit=10**6))] == accepted
        assert len(raw_files(config.data_dir)) == (len(accepted) - 1 if size > 4_096 else 0)
        desk.close()
        await intake.close()


@pytest.mark.process
async def test_queue_on_a_full_disk_can_be_looked_at(tmp_path):
    """Not an octet is free: the operator sees what waits all the same."""
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        config = build_config(disk / "data")
        intake = open_intake(config)
        spool_id = (await intake.put(build_submission(intake.new_id()))).spool_id
        fill(disk)
        desk = open_desk(config)
        assert [entry.spool_id for entry in desk.select(Filter())] == [spool_id]
        assert desk.export(spool_id) is not None
        desk.close()
        await intake.close()


@pytest.mark.process
async def test_really_read_only_disk(tmp_path):
    """On a disk that is read-only nothing can be opened; once it can be written, it can."""
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        config = build_config(disk / "data")
        intake = open_intake(config)
        first = await intake.put(build_submission(intake.new_id()))
        await intake.close()
        remount(disk, "ro")
        with pytest.raises(SpoolUnfitError, match="mounted read-only"):
            open_intake(config)
        remount(disk, "rw")
        intake = open_intake(config)
        assert (await intake.put(build_submission(intake.new_id()))).spool_id > first.spool_id
        await intake.close()


async def test_library_that_says_read_only_is_told_as_sick(disk, intake):
    """SQLITE_READONLY is a sick disk, not a full one."""
    disk.failing, disk.error = "write", apsw.ReadOnlyError
    with pytest.raises(SpoolSickError):
        await intake.put(build_submission(intake.new_id()))


def _spoil(spool, spool_id, *, how):
    """Damage the stored mail behind the spool's back."""
    (path,) = raw_files(spool.config.data_dir)
    match how:
        case "rotten":
            octets = bytearray(path.read_bytes())
            octets[len(octets) // 2] ^= 1
            path.write_bytes(octets)
        case "rotten trace":
            octets = bytearray(path.read_bytes())
            octets[3] ^= 1
            path.write_bytes(octets)
        case "torn":
            os.truncate(path, path.stat().st_size // 2)
        case "empty":
            os.truncate(path, 0)
        case "longer":
            with path.open("ab") as file:
                file.write(b"x")
        case "gone":
            path.unlink()


@pytest.mark.parametrize("how", ["rotten", "rotten trace", "torn", "empty", "longer", "gone"])
async def test_spoiled_file_is_never_delivered(intake, outbox, desk, spool, how):
    """A large mail that is not what was accepted is an error of its own kind, each time, for runner and
    operator.
    """
    receipt = await intake.put(build_submission(intake.new_id(), body=b"x" * 300_000))
    _spoil(spool, receipt.spool_id, how=how)
    entry = await claim_one(outbox)
    for _ in range(2):
        with pytest.raises(SpoolCorruptError):
            async with outbox.open_raw(entry):
                pass
    with pytest.raises(SpoolCorruptError):
        desk.export(receipt.spool_id)
    await outbox.hold(entry, reason="spool_corrupt", detail="", now=NOW)
    assert desk.drop([receipt.spool_id], now=NOW).count == 1


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE raws SET octets = CAST(octets || x'00' AS BLOB)",
        "UPDATE raws SET octets = CAST(octets AS TEXT)",
        "UPDATE raws SET octets = CAST('X' || substr(octets, 2) AS BLOB)",
        "UPDATE raws SET octets = substr(octets, 1, length(octets) - 1)",
        "DELETE FROM raws",
    ],
)
async def test_spoiled_row_is_never_delivered(intake, outbox, spool, spoil):
    """The same for a small mail in the database."""
    await intake.put(build_submission(intake.new_id()))
    connection = open_database(spool.config.data_dir / "spool" / "spool.db")
    connection.execute(spoil)
    connection.close()
    entry = await claim_one(outbox)
    with pytest.raises(SpoolCorruptError):
        async with outbox.open_raw(entry):
            pass


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE mails SET envelope = '{' WHERE mail_id = 1",
        "UPDATE mails SET envelope = '[]' WHERE mail_id = 1",
        "UPDATE mails SET results = '3' WHERE mail_id = 1",
        "UPDATE entries SET forward_paths = 'x' WHERE entry_id = 1",
        "UPDATE entries SET rung = 'x' WHERE entry_id = 1",
        "UPDATE mails SET envelope = x'ff' WHERE mail_id = 1",
    ],
)
async def test_unreadable_record_is_set_aside_once(intake, outbox, desk, spool, spoil):
    """A record that cannot be read is dead with an alarm, and the others go on."""
    await intake.put(build_submission(intake.new_id()))
    good = await intake.put(build_submission(intake.new_id()))
    connection = open_database(spool.config.data_dir / "spool" / "spool.db")
    connection.execute(spoil)
    connection.close()
    with structlog.testing.capture_logs() as lines:
        claimed = await outbox.claim(now=NOW, limit=5, lease_seconds=60)
    assert [e.spool_id for e in claimed] == [good.spool_id]
    assert [(line["event"], line["log_level"]) for line in lines] == [("spool.record_corrupt", "error")]
    assert desk.counts()[State.DEAD] == 1
    assert await outbox.claim(now=NOW, limit=5, lease_seconds=60) == []


async def test_database_that_is_none_is_a_sentence(tmp_path):
    """A file that is no database, or somebody else's, is refused in a sentence."""
    config = build_config(tmp_path / "data")
    folder = tmp_path / "data" / "spool"
    folder.mkdir(parents=True)
    (folder / "spool.db").write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(SpoolError):
        open_intake(config)
    (folder / "spool.db").unlink()
    other = apsw.Connection(str(folder / "spool.db"))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(SpoolError, match="no spool of ours"):
        open_outbox(config)


async def test_spool_that_was_removed_accepts_nothing(intake, outbox, desk, spool):
    """Mail is not acknowledged into a file without a name; what was accepted before is still delivered."""
    before = await intake.put(build_submission(intake.new_id()))
    assert desk.counts()[State.QUEUED] == 1
    moved = spool.config.data_dir.rename(spool.config.data_dir.with_name("moved"))
    for _ in range(2):
        with pytest.raises(SpoolSickError):
            await intake.put(build_submission(intake.new_id()))
    with pytest.raises(SpoolSickError):
        desk.counts()
    assert (await claim_one(outbox)).spool_id == before.spool_id
    moved.rename(spool.config.data_dir)
    await intake.put(build_submission(intake.new_id()))
    assert desk.counts()[State.QUEUED] == 1


@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize(
    ("error", "ours"),
    [(apsw.IOError, SpoolSickError), (apsw.FullError, SpoolFullError)],
    ids=["eio", "enospc"],
)
async def test_probe_finds_what_reading_does_not(disk, intake, outbox, desk, what, error, ours):
    """A disk that takes nothing and answers each question fails the probe of both halves, and passes it when
    it is well.
    """
    await intake.put(build_submission(intake.new_id()))
    disk.failing, disk.error = what, error
    for half in (intake, outbox):
        with pytest.raises(ours):
            await half.probe()
    assert desk.counts()[State.QUEUED] == 1
    assert intake.room(1)
    disk.failing = ""
    for half in (intake, outbox):
        await half.probe()


@pytest.mark.parametrize(
    "error",
    [
        apsw.FullError("database or disk is full"),
        apsw.IOError("disk I/O error"),
        apsw.CantOpenError("unable to open database file"),
        apsw.BusyError("database is locked"),
        apsw.ReadOnlyError("attempt to write a readonly database"),
        apsw.CorruptError("database disk image is malformed"),
        OSError(errno.ENOSPC, "No space left on device", "/var/lib/relay/spool/spool.db"),
        PermissionError(errno.EACCES, "Permission denied", "/var/lib/relay/spool/spool.db"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_of_the_spool_names_the_file(error):
    """SQLite does not say which file it speaks of; our sentence does, for every error."""
    database = Path("/var/lib/relay/spool/spool.db")
    assert str(database) in str(translate_error(error, database))
