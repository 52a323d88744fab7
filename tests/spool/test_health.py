"""Tests of `relay.spool.local.health`: each part of a spool that cannot be used is said in one sentence, with
what to do.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from spool_helpers import build_config, build_submission

from relay.config.sentences import show
from relay.errors import (
    ConfigError,
    SpoolBusyError,
    SpoolDamagedError,
    SpoolError,
    SpoolFullError,
    SpoolSickError,
    SpoolUnfitError,
)
from relay.spool import opening
from relay.spool.local.database import count_entries
from relay.spool.local.health import diagnosed, find_unfit, probe_spool
from relay.spool.local.layout import Layout
from relay.spool.model import Filter
from relay.spool.opening import open_desk, open_intake, open_outbox

NOBODY = 65_534
NO_FILE = "is no file; move it away, and the relay makes the file that belongs there"
NO_FOLDER = "is no directory; move it away, and the relay makes the directory that belongs there"


def make_spool(data_dir):
    """A spool with one mail, large enough for a file of its own, and nobody at work."""
    config = build_config(data_dir)

    async def make():
        intake, outbox = open_intake(config), open_outbox(config)
        await intake.put(build_submission(intake.new_id(), body=b"x" * 300_000))
        await outbox.close()
        await intake.close()

    asyncio.run(make())
    return config


@pytest.fixture
def made(tmp_path):
    """Such a spool."""
    return make_spool(tmp_path / "data")


def sentences(config):
    return find_unfit(config.data_dir)


def replace_by_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def replace_by_link(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to("/nowhere/to/be/found")


def test_spool_that_is_fit_is_not_spoken_of(made, tmp_path):
    """A spool in use, one that nobody has made yet, and an empty folder are fit."""
    assert sentences(made) == ()
    assert find_unfit(tmp_path / "nowhere" / "data") == ()
    assert find_unfit(tmp_path) == ()


@pytest.mark.parametrize(
    ("part", "spoil", "wrong"),
    [
        ("", replace_by_file, NO_FOLDER),
        ("", replace_by_link, "is a link to nothing; remove it, or make what it leads to"),
        ("deliver.lock", replace_by_folder, NO_FILE),
        ("tally", replace_by_folder, NO_FILE),
        ("spool", replace_by_file, NO_FOLDER),
        ("spool/spool.db", replace_by_folder, NO_FILE),
        ("spool/spool.db", replace_by_link, "is a link to nothing; remove it, or make what it leads to"),
        ("spool/spool.db-wal", replace_by_folder, NO_FILE),
        ("spool/spool.db-shm", replace_by_folder, NO_FILE),
        ("spool/write.lock", replace_by_folder, NO_FILE),
        ("spool/raw", replace_by_file, NO_FOLDER),
        ("spool/makers", replace_by_file, NO_FOLDER),
    ],
)
def test_part_of_another_kind_is_said(made, part, spoil, wrong):
    """A file where a folder belongs, and the other way round, is one sentence with the key, the path and what
    to do.
    """
    path = made.data_dir / part
    spoil(path)
    place = f"{path} " if part else ""
    assert sentences(made) == (f"data_dir = {show(str(made.data_dir))}: {place}{wrong}",)


def test_folder_that_cannot_be_reached_is_said(tmp_path):
    """A loop of links leads nowhere."""
    (tmp_path / "data").symlink_to("data")
    (sentence,) = find_unfit(tmp_path / "data")
    assert "cannot be reached (Too many levels of symbolic links); name a directory" in sentence


# --- Owner and mode


@contextlib.contextmanager
def as_nobody():
    """A user without rights, for a while."""
    # An encoding is looked up once: that user may not be able to read this Python's files, and no test would
    # know the encoding after that.
    codecs.lookup("ascii")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def nobodys():
    """A spool that belongs to a user without rights, where that user can get at it."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else for a while")
    home = Path(tempfile.mkdtemp(prefix="relay-fitness-"))
    home.chmod(0o755)
    (home / "data").mkdir(mode=0o700)
    os.chown(home / "data", NOBODY, NOBODY)
    with as_nobody():
        config = make_spool(home / "data")
        with contextlib.closing(open_desk(config)):
            pass  # what is imported late is imported now
    yield config
    shutil.rmtree(home)


PARTS = ["", "spool", "spool/spool.db", "spool/write.lock", "deliver.lock", "spool/raw", "spool/makers"]


@pytest.mark.parametrize("part", PARTS)
def test_part_of_another_owner_is_said(nobodys, part):
    """What belongs to root is no use to the daemon's user: whose it is, and what to do; root itself may use
    it.
    """
    path = nobodys.data_dir / part
    os.chown(path, 0, 0)
    assert sentences(nobodys) == ()
    with as_nobody():
        (sentence,) = sentences(nobodys)
    place = re.escape(f"{path} " if part else "")
    assert re.fullmatch(
        rf'data_dir = "\S+": {place}belongs to root \(mode 0[67]00\), and the user nobody may not (read and|list it and) '
        r"write (it|to it); run this as the user relay runs as, or give that user all of data_dir \(chown -R\)",
        sentence,
    )
    if part:  # root's own data_dir may well be root's
        assert find_unfit(nobodys.data_dir, user=NOBODY) == (sentence,)


@pytest.mark.parametrize("part", PARTS)
def test_part_with_another_mode_is_said(nobodys, part):
    """A mode that keeps the owner itself out is said, with the mode."""
    path = nobodys.data_dir / part
    path.chmod(0o400)
    with as_nobody():
        (sentence,) = sentences(nobodys)
    assert "may not be used by its own owner, nobody (mode 0400); let it " in sentence
    assert find_unfit(nobodys.data_dir, user=NOBODY) == (sentence,)


def test_one_of_many_speaks_for_all(nobodys):
    """Hundreds of files of the wrong owner are one sentence."""
    for path in [*(nobodys.data_dir / "spool" / "raw").iterdir()] * 2:
        os.chown(path, 0, 0)
    for number in range(20):
        (nobodys.data_dir / "spool" / "makers" / f"AAA{number:02}").touch(mode=0o600)
    with as_nobody():
        assert len(sentences(nobodys)) == 2


def test_opening_as_another_user_says_so(nobodys):
    """All ways into a spool of another user's end in its sentence, and in no error of the system's."""
    for path in [nobodys.data_dir, *nobodys.data_dir.rglob("*")]:
        os.chown(path, 0, 0)
    with as_nobody():
        for way in (open_intake, open_outbox, open_desk):
            with pytest.raises(SpoolUnfitError, match="and the user nobody may not"):
                way(nobodys)


def test_database_that_may_only_be_read_is_said_at_the_start(nobodys):
    """SQLite opens a write-protected file without a word; the two halves do not, and the operator may still
    look.
    """
    (nobodys.data_dir / "spool" / "spool.db").chmod(0o400)
    with as_nobody():
        for way in (open_intake, open_outbox):
            with pytest.raises(SpoolUnfitError, match="mode 0400") as caught:
                way(nobodys)
            assert "spool.db: may only be read" in str(caught.value.__cause__)
        with contextlib.closing(open_desk(nobodys)) as desk:
            assert sum(desk.counts().values()) == 1


@pytest.mark.process
def test_read_only_file_system_is_said(tmp_path):
    """A disk that the kernel has mounted read-only is no matter of owners."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        config = make_spool(disk / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(SpoolUnfitError, match="mounted read-only; mount it for writing"):
            open_intake(config)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# --- The database


def write_garbage(path):
    path.write_bytes(b"something else entirely, and not short" * 200)


def write_garbage_head(path):
    path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])


def cut_in_half(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_in_the_head(path):
    os.truncate(path, 50)


def write_garbage_pages(path):
    octets = path.read_bytes()
    path.write_bytes(octets[:4_096] + b"\xa5" * (len(octets) - 4_096))


@pytest.mark.parametrize(
    "spoil", [write_garbage, write_garbage_head, cut_in_half, cut_in_the_head, write_garbage_pages]
)
def test_damaged_database_is_said(made, spoil):
    """What is no database, or none any more, is one sentence with the path and the two ways out, however it
    is opened.
    """
    path = made.data_dir / "spool" / "spool.db"
    spoil(path)
    for way in (open_intake, open_outbox, open_desk, opening.count_entries):
        with pytest.raises(SpoolUnfitError) as caught:
            way(made)
        assert isinstance(caught.value.__cause__, SpoolDamagedError)
        (sentence,) = caught.value.sentences
        assert re.fullmatch(
            rf'data_dir = "\S+": {re.escape(str(path))} cannot be read as a database '
            r"\((NotADBError: file is not a database|CorruptError: database disk image is malformed)\); stop the relay "
            r"and bring back a copy, or move \S+/spool away: a new one is made, without the mail that was in it",
            sentence,
        )


@pytest.mark.parametrize(
    "ask", [lambda desk: desk.select(Filter()), lambda desk: desk.tally(Filter(route="x"))]
)
def test_open_desk_tells_of_damage_that_came_later(made, ask):
    """A command that meets a damaged database in its work, and not when it opens it, says the same
    sentence.
    """
    path = made.data_dir / "spool" / "spool.db"
    with contextlib.closing(open_desk(made)) as desk:
        ask(desk)
        write_garbage(path)
        with pytest.raises(SpoolUnfitError, match="cannot be read as a database"):
            ask(desk)


async def test_recovery_tells_of_damage(made):
    """A deliverer that finds the damage while it takes back leases says it in the operator's words."""
    outbox = open_outbox(made)
    try:
        write_garbage(made.data_dir / "spool" / "spool.db")
        with pytest.raises(SpoolUnfitError, match="cannot be read as a database"):
            await outbox.recover(now=datetime.now(UTC))
    finally:
        await outbox.close()


def test_database_of_others_is_the_operators_mistake(made):
    """Somebody else's database, and a newer relay's, are errors of configuration: trying again mends
    nothing.
    """
    path = made.data_dir / "spool" / "spool.db"
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    for way in (open_intake, open_outbox, open_desk, lambda _: count_entries(path)):
        with pytest.raises(
            ConfigError, match=r"spool\.db was made by a newer relay \(version 99, ours is \d+\); run that"
        ):
            way(made)
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    for way in (open_intake, open_outbox, open_desk, lambda _: count_entries(path)):
        with pytest.raises(
            ConfigError, match=r"spool\.db is a database, but no spool of ours; name another data_dir"
        ):
            way(made)


def test_counting_entries_changes_nothing(made):
    """A look at a spool says what it knows, and makes nothing where there is none."""
    probe_spool(Layout(data_dir=made.data_dir))  # which counts for itself
    path = made.data_dir / "spool" / "spool.db"
    before = path.read_bytes()
    assert count_entries(path) == 1
    assert path.read_bytes() == before
    assert count_entries(path.with_name("other.db")) is None
    path.with_name("other.db").touch()
    assert count_entries(path.with_name("other.db")) is None


# --- What is not for the operator


@pytest.mark.parametrize("error", [SpoolFullError("full"), SpoolBusyError("busy"), SpoolUnfitError("unfit")])
def test_other_errors_pass(tmp_path, error):
    """A full disk, a busy spool and what has its sentence already stay what they are, unfit parts or not."""
    (tmp_path / "spool").write_text("x")
    with pytest.raises(type(error)) as caught, diagnosed(tmp_path):
        raise error
    assert caught.value is error


def test_sickness_of_a_fit_spool_passes(tmp_path):
    """A disk that fails is no mistake of the operator's."""
    with pytest.raises(SpoolSickError, match="I/O error"), diagnosed(tmp_path):
        raise SpoolSickError("I/O error")


@pytest.mark.parametrize("data_dir", ["/proc/1/data", "{tmp_path}/dangling"])
def test_folder_that_cannot_be_made_is_an_error(tmp_path, data_dir):
    """Where nothing can be made, and behind a link to nothing, making the spool ends in an error,
    and ends.
    """
    (tmp_path / "dangling").symlink_to("/nowhere/to/be/found")
    with pytest.raises(SpoolError):
        open_intake(build_config(Path(data_dir.format(tmp_path=tmp_path))))
