"""The database: pragmas, versions, migrations, and which libraries and files are refused."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from datetime import timedelta

import apsw
import pytest
from spool_helpers import NOW, build_config, build_submission

from relay.errors import SpoolError, SpoolOlderError
from relay.spool.local import database
from relay.spool.local.database import (
    MIGRATIONS,
    close_database,
    count_entries,
    open_database,
    query,
    transaction,
)
from relay.spool.local.layout import Layout
from relay.spool.local.wake import Bell
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.spool.records import build_envelope_json


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def test_pragmas_that_the_promise_rests_on(path):
    """Every connection is in WAL mode, syncs fully, and checks foreign keys."""
    open_database(path, create=True).close()
    connection = open_database(path)
    pragmas = {name: connection.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_opening_an_existing_spool_writes_nothing(path):
    """Who opens a spool that is there waits for no writer, syncs nothing, and needs no room on the disk."""
    holder = open_database(path, create=True)
    with transaction(holder):
        before = path.with_name(f"{path.name}-wal").stat()
        for _ in range(3):
            close_database(open_database(path))
        after = path.with_name(f"{path.name}-wal").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_database(path).pragma("auto_vacuum") == 2


def test_version_is_kept(path):
    """A new database has our mark and the newest version; opening it again changes nothing."""
    for _ in range(2):
        connection = open_database(path, create=True)
        assert connection.pragma("user_version") == len(MIGRATIONS)
        assert connection.pragma("application_id") == database.APPLICATION_ID
        connection.close()


def test_older_database_is_brought_up_to_date(path, monkeypatch):
    """A database of the version before gets what is new, and keeps what it has."""
    connection = open_database(path, create=True)
    connection.execute("INSERT INTO control VALUES ('intake', '', '', '', 1)")
    connection.close()
    monkeypatch.setattr(
        database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE newer (x); INSERT INTO newer VALUES (7);")
    )
    for create in (True, False):
        connection = open_database(path, create=create)
        assert query(connection, "SELECT x FROM newer") == [(7,)]
        assert query(connection, "SELECT subject FROM control") == [("intake",)]
        connection.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_spool_of_an_older_version_goes_on(tmp_path, version):
    """Mail that waits, and the memory of mail that is done, come through every step to the newest version."""
    config = build_config(tmp_path / "data")
    make_older(config, version)
    await open_outbox(config).close()
    desk = open_desk(config)
    assert desk.counts()[State.QUEUED] == 1
    assert desk.hold(["M1"], now=NOW).count == 1
    assert desk.release(["M1"], now=NOW).count == 1
    (line,) = desk.remembered("contact-0")
    assert (line.spool_id, line.dropped_at) == ("M0", None)
    desk.close()


async def test_copy_made_while_mail_flows_is_a_spool(tmp_path):
    """VACUUM INTO over a read-only connection (docs/spool.md) ends while mail is accepted, and the copy has
    every mail that was accepted before.
    """
    config, copy = build_config(tmp_path / "data"), build_config(tmp_path / "copy")
    intake = open_intake(config)
    before = [(await intake.put(build_submission(intake.new_id()))).spool_id for _ in range(20)]
    copied = asyncio.Event()

    async def flow() -> int:
        count = 0
        while not copied.is_set() or not count:
            await intake.put(build_submission(intake.new_id()))
            count += 1
        return count

    def vacuum() -> None:
        source = config.data_dir / "spool" / "spool.db"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(f"file:{source}?mode=ro", flags=flags)
        connection.execute("VACUUM INTO ?", (str(copy.data_dir / "spool" / "spool.db"),))
        connection.close()

    (copy.data_dir / "spool").mkdir(parents=True)
    flowing = asyncio.create_task(flow())
    await asyncio.to_thread(vacuum)
    copied.set()
    assert await flowing
    await intake.close()
    outbox = open_outbox(copy)
    await outbox.recover(now=NOW)
    claimed = await outbox.claim(now=NOW, limit=1_000, lease_seconds=60)
    assert {entry.spool_id for entry in claimed} >= set(before)
    async with outbox.open_raw(claimed[0]) as raw:
        assert bytes(raw)
    await outbox.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_looking_at_an_older_spool_leaves_it_to_the_daemon_that_runs(tmp_path, version):
    """A spool of an older relay answers every question of the desk, refuses every change, and stays as it
    was, while the older relay writes and is not kept from it.
    """
    config = build_config(tmp_path / "data")
    path = make_older(config, version)
    before = dump(path)
    older = apsw.Connection(str(path))
    older.execute("BEGIN IMMEDIATE; UPDATE entries SET attempts = 7")
    desk = open_desk(config)
    (entry,) = desk.select(Filter())
    assert (entry.destination.address, entry.released, entry.token, entry.in_doubt_since) == (
        "a@x",
        False,
        None,
        None,
    )
    assert [one.entry_id for one in desk.trace("<1@x>")] == [1]
    assert [one.entry_id for one in desk.select(Filter(ids=("M1.1",), sender="<>"))] == [1]
    assert [line.spool_id for line in desk.remembered("contact-0")] == ["M0"]
    assert desk.tally(Filter(recipient="a@x"))[State.QUEUED] == desk.counts()[State.QUEUED] == 1
    assert desk.export("M1") == b"x"
    assert (desk.history(entry), desk.routes(), desk.unknown(["M1", "M2"])) == ([], ["r"], ["M2"])
    assert desk.backlog(limits=(), now=NOW)[0].queued == 1
    assert (desk.aside()[State.DEAD][0], desk.paused().intake) == (0, False)
    changes = (
        lambda: desk.retry(["M1"], now=NOW),
        lambda: desk.hold(["M1"], now=NOW),
        lambda: desk.release(["M1"], now=NOW),
        lambda: desk.drop(["M1"], now=NOW),
        lambda: desk.pause("intake", now=NOW),
        lambda: desk.resume("intake"),
        lambda: open_intake(config, by_hand=True),
    )
    for change in changes:
        with pytest.raises(SpoolOlderError, match="restart the daemon"):
            change()
    assert count_entries(path) == 1
    older.execute("COMMIT")  # raises BusyError where somebody is in its way
    assert desk.select(Filter())[0].attempts == 7
    desk.close()
    older.execute("UPDATE entries SET attempts = 0")
    older.close()
    assert dump(path) == before


def make_older(config, version):
    """A spool as a relay of that version left it, with one mail that waits and one that is remembered."""
    layout = Layout(data_dir=config.data_dir)
    layout.prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", MIGRATIONS[:version])
        connection = open_database(layout.database, create=True)
    envelope = build_envelope_json(build_submission("M1").envelope).replace("'", "''")
    fingerprint, trace = hashlib.sha256(b"x").hexdigest(), hashlib.sha256(b"").hexdigest()
    connection.execute(
        "INSERT INTO mails (mail_id, spool_id, fingerprint, message_id, envelope, results, size, trace_size, "
        f"trace_sha256, filed, accepted_at) VALUES (1, 'M1', '{fingerprint}', '<1@x>', '{envelope}', '{{}}', 1, 0, "
        f"x'{trace}', 0, 1);"
        "INSERT INTO raws VALUES (1, x'78');"
        "INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, priority, due_at, accepted_at, "
        "updated_at) VALUES (1, 'i', 'a@x', '[\"a@x\"]', 'r', 1, 1, 1, 1);"
        "INSERT INTO ledger (fingerprint, instance_id, address, spool_id, message_id, confirmed, contact_id, "
        "accepted_at) VALUES ('g', 'i', 'a@x', 'M0', '<0@x>', 0, 'contact-0', 1)"
    )
    connection.close()
    return layout.database


def dump(path):
    """Its version, its schema and all of its rows."""
    connection = apsw.Connection(str(path))
    tables = query(connection, "SELECT name, sql FROM sqlite_schema ORDER BY 1")
    rows = {
        name: query(connection, f"SELECT * FROM {name}")
        for name, sql in tables
        if (sql or "").startswith("CREATE TABLE")
    }
    version = connection.pragma("user_version")
    connection.close()
    return version, tables, rows


def test_failed_migration_changes_nothing(path, monkeypatch):
    """A migration is whole or not at all."""
    open_database(path, create=True).close()
    monkeypatch.setattr(
        database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE newer (x); CREATE TABLE mails (x);")
    )
    with pytest.raises(SpoolError):
        open_database(path, create=True)
    monkeypatch.undo()
    connection = open_database(path)
    assert query(connection, "SELECT name FROM sqlite_schema WHERE name = 'newer'") == []


def test_newer_database_is_refused(path):
    """An older relay does not touch what a newer one made."""
    connection = open_database(path, create=True)
    connection.pragma("user_version", len(MIGRATIONS) + 1)
    connection.close()
    with pytest.raises(SpoolError, match="made by a newer relay"):
        open_database(path)


def test_foreign_database_is_refused(path):
    """Somebody else's database is left as it is."""
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(SpoolError, match="no spool of ours"):
        open_database(path)
    other = apsw.Connection(str(path))
    assert query(other, "SELECT name FROM sqlite_schema") == [("theirs",)]


def test_file_that_is_no_database_is_refused(path):
    """Any other file is an error of ours."""
    path.write_bytes(b"something else entirely, and not short" * 200)
    with pytest.raises(SpoolError):
        open_database(path)


@pytest.mark.parametrize(
    ("version", "refused"), [("3.40.1", True), ("3.51.2", True), ("3.51.3", False), ("4.0.0", False)]
)
def test_library_with_the_wal_reset_bug_is_refused(path, monkeypatch, version, refused):
    """SQLite before 3.51.3 cannot keep the promise."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    if refused:
        with pytest.raises(SpoolError, match=r"3\.51\.3 or newer is needed"):
            open_database(path, create=True)
    else:
        open_database(path, create=True).close()


def test_missing_database_is_not_made_by_who_only_looks(path):
    """Without `create` nothing appears."""
    with pytest.raises(SpoolError):
        open_database(path)
    assert not path.exists()


def test_many_open_a_new_spool_at_once(path):
    """Several processes may find no database at the same time: one makes it, all get it."""
    errors: list[BaseException] = []
    gate = threading.Barrier(8)

    def open_one() -> None:
        gate.wait()
        try:
            open_database(path, create=True).close()
        except Exception as exc:  # noqa: BLE001 - looked at by the test, outside the thread
            errors.append(exc)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_transaction_is_all_or_nothing(path):
    """An exception within leaves nothing behind."""
    connection = open_database(path, create=True)

    def fail() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO control VALUES ('intake', '', '', '', 1)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert query(connection, "SELECT * FROM control") == []
    assert not connection.in_transaction


def test_totals_agree_with_rows_whatever_happens(path):
    """The counters that quotas and metrics read never drift from the rows."""
    connection = open_database(path, create=True)
    for number in range(10):
        connection.execute(
            "INSERT INTO mails (mail_id, spool_id, fingerprint, envelope, results, size, trace_size, trace_sha256, filed, "
            "accepted_at) VALUES (?, ?, '', '', '', 100, 0, x'', 0, 0)",
            (number + 1, str(number)),
        )
        connection.execute(
            "INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, priority, due_at, accepted_at, "
            "updated_at) VALUES (?, '', '', '', '', 0, 0, 0, 0)",
            (number + 1,),
        )
    connection.execute("UPDATE entries SET state = 'held' WHERE entry_id < 4")
    connection.execute("UPDATE entries SET state = 'held', reason = 'again' WHERE entry_id < 3")
    connection.execute("DELETE FROM entries WHERE entry_id IN (1, 9)")
    connection.execute("DELETE FROM mails WHERE mail_id IN (1, 9)")
    totals = dict(query(connection, "SELECT * FROM totals"))
    assert totals == {"queued": 6, "leased": 0, "held": 2, "dead": 0, "done": 0, "bytes": 800}


@pytest.fixture
async def spool_config(tmp_path):
    """A spool in use: a small and a large mail, an outbox, a bell."""
    config = build_config(tmp_path / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    with Bell(config.data_dir):
        for body in (b"small", b"x" * 300_000):
            await intake.put(build_submission(intake.new_id(), body=body))
        yield config
    await intake.close()
    await outbox.close()


def test_nobody_else_may_read_mail(spool_config):
    """Every file and folder of a spool is its owner's alone."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in spool_config.data_dir.rglob("*")}
    assert modes
    assert {mode & 0o077 for mode in modes.values()} == {0}, modes


async def test_dropped_mail_cannot_be_read_from_the_database(tmp_path):
    """What an operator dropped, or what retention removed, stands in no page of the database or of
    its log.
    """
    config = build_config(tmp_path / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    for word in (b"dropped-by-hand ", b"past-its-retention ", b"still-here "):
        await intake.put(build_submission(intake.new_id(), body=b"Subject: x\r\n\r\n" + word * 2_000))
    await intake.close()
    by_hand, finished, _ = await outbox.claim(now=NOW, limit=3, lease_seconds=60)
    await outbox.hold(by_hand, reason="class.bulk", detail="", now=NOW)
    await outbox.finish(finished, contact_id="c", now=NOW)
    await outbox.expire(now=NOW + timedelta(days=365))
    desk = open_desk(config)
    assert desk.drop([by_hand.spool_id], now=NOW).count == 1
    octets = b"".join(path.read_bytes() for path in config.data_dir.glob("spool/spool.db*"))
    assert [word for word in (b"by-hand ", b"retention ", b"still-here ") if word in octets] == [
        b"still-here "
    ]
    desk.close()
    await outbox.close()


def test_database_whose_making_was_cut_short_is_made_by_whoever_comes(path):
    """A kill before the first commit leaves an empty file: a command makes the spool, as the daemon would."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.close()
    connection = database.open_to_look(path)
    assert query(connection, "SELECT count(*) FROM entries") == [(0,)]
    assert connection.pragma("user_version") == len(MIGRATIONS)
    connection.close()
