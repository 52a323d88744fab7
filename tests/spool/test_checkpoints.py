"""The log of the database: copied beside the writers, begun anew, and held open by a reader."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest
from spool_helpers import NOW, build_config, build_submission

from relay.spool.local.checkpoints import CHECKPOINT_PAGES, log_bytes
from relay.spool.local.database import open_database, restart_log
from relay.spool.opening import open_intake

PAGE = 4_096
LIMIT = CHECKPOINT_PAGES * PAGE
MAIL = os.urandom(200_000)


def database_of(config) -> Path:
    return config.data_dir / "spool" / "spool.db"


async def put_mails(intake, octets: int, *, size: int = len(MAIL)) -> float:
    """Put mails until so many octets of them are stored. Returns the longest wait in seconds."""
    longest = 0.0
    for _ in range(0, octets, size):
        begun = time.perf_counter()
        await intake.put(build_submission(intake.new_id(), body=os.urandom(16) + MAIL[:size]))
        longest = max(longest, time.perf_counter() - begun)
    return longest


@contextlib.contextmanager
def held_log(config):
    """Somebody reads the database, and stays."""
    connection = apsw.Connection(str(database_of(config)), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("BEGIN").fetchall()
    connection.execute("SELECT count(*) FROM control").fetchall()
    try:
        yield
    finally:
        connection.close()


@pytest.mark.slow
async def test_log_stays_short_under_load(tmp_path):
    """Four times the length of the log is written, and the log begins anew again and again."""
    config = build_config(tmp_path / "data")
    intake = open_intake(config)
    for _ in range(4):
        await put_mails(intake, LIMIT)
        async with asyncio.timeout(20):
            while log_bytes(database_of(config)) > 3 * LIMIT:
                await put_mails(intake, 1)
    assert log_bytes(database_of(config)) <= 3 * LIMIT
    await intake.close()


async def test_no_commit_copies_the_log(tmp_path, monkeypatch):
    """A put copies nothing into the database, however long the log is: the thread does, and only it."""
    config = build_config(tmp_path / "data")
    monkeypatch.setattr("relay.spool.local.checkpoints.Checkpoints._empty", lambda _: True)
    intake = open_intake(config)
    before = database_of(config).stat().st_size
    await put_mails(intake, 2 * LIMIT)
    assert database_of(config).stat().st_size == before
    assert log_bytes(database_of(config)) > 2 * LIMIT
    await intake.close()


@pytest.mark.slow
async def test_reader_who_stays_only_lets_the_log_grow(tmp_path):
    """While somebody reads, mail is accepted; when they have gone, the log begins anew."""
    config = build_config(tmp_path / "data")
    intake = open_intake(config)
    with held_log(config):
        await put_mails(intake, 3 * LIMIT)
        assert log_bytes(database_of(config)) > 3 * LIMIT

    def frames() -> int:
        with contextlib.closing(open_database(database_of(config))) as connection:
            return connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[1]

    async with asyncio.timeout(30):
        while frames() > CHECKPOINT_PAGES:
            await put_mails(intake, 1, size=2_000)
            await asyncio.sleep(0.05)
    await intake.close()


async def test_desk_tells_of_the_log_and_the_ledger(spool, intake, outbox, desk):
    """The watch learns how long the log is, and how many contacts the ledger remembers."""
    assert desk.bulk().ledger_rows == 0
    for _ in range(3):
        await intake.put(build_submission(intake.new_id()))
    for entry in await outbox.claim(now=NOW, limit=2, lease_seconds=60):
        await outbox.finish(entry, contact_id="c", now=NOW)
    bulk = desk.bulk()
    assert (bulk.ledger_rows, bulk.log_bytes) == (2, log_bytes(database_of(spool.config)))
    assert bulk.log_bytes > 0


CHECKPOINT = """
import fcntl, os, sys
# Byte 121 of the index of the log is the lock of checkpoints (sqlite.org/walformat.html, section 2.3.1).
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX, 1, 121)
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def foreign_checkpoint(config):
    """Another process is within a checkpoint. Gives the function that ends it."""
    index = f"{database_of(config)}-shm"
    command = [sys.executable, "-c", CHECKPOINT, index]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield lambda: (process.stdin.close(), process.wait())
        process.kill()


@pytest.mark.process
async def test_full_disk_waits_for_a_checkpoint_of_another_process(tmp_path):
    """A log that another process copies at the moment can begin anew a moment later: that is no full disk."""
    config = build_config(tmp_path / "data")
    intake = open_intake(config)
    await put_mails(intake, 1)
    connection = open_database(database_of(config))
    pauses = []
    with foreign_checkpoint(config) as end:

        def pause(seconds):
            pauses.append(seconds)
            end()

        assert await asyncio.to_thread(restart_log, connection, pause=pause)
    assert len(pauses) == 1
    connection.close()
    await intake.close()


GROW = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from spool.test_checkpoints import build_config, held_log, log_bytes, database_of, put_mails, open_intake
async def main():
    config = build_config(Path(sys.argv[1]), min_free_bytes=0)
    intake = open_intake(config)
    with held_log(config):
        while log_bytes(database_of(config)) < int(sys.argv[2]):
            await put_mails(intake, 20_000_000)
        os._exit(0)
asyncio.run(main())
"""


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_start_with_a_log_of_two_gigabytes(tmp_path):
    """A power cut left a log of 2 GB: the next start accepts within 2 seconds, and so it does while the log
    is copied.
    """
    config = build_config(tmp_path / "data")
    tests = Path(__file__).parent.parent
    arguments = [str(config.data_dir), str(2 << 30), str(tests), str(tests.parent)]
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", GROW, *arguments], check=True)
    assert log_bytes(database_of(config)) >= 2 << 30
    begun = time.perf_counter()
    intake = open_intake(config)
    await put_mails(intake, 1, size=2_000)
    first = time.perf_counter() - begun
    longest, mails = 0.0, 0
    async with asyncio.timeout(300):
        while log_bytes(database_of(config)) > 100 << 20:
            longest = max(longest, await put_mails(intake, 1, size=2_000))
            mails += 1
    print(f"first 250 after {first:.2f} s, the longest wait of {mails} mails meanwhile {longest:.2f} s")
    assert first < 2.0
    await intake.close()
