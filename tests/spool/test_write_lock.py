"""The gate before the write lock: one after the other, and strangers do no harm."""

from __future__ import annotations

import threading

import pytest

from relay.errors import SpoolSickError
from relay.spool.local.database import WriteLock, open_database, query, transaction


def add(connection, name) -> None:
    connection.execute("INSERT INTO control VALUES ('route', ?, '', '', 1)", (name,))


def test_second_writer_waits_for_the_first(tmp_path):
    """While one is in its transaction the other waits, and then finds what the first has done."""
    path = tmp_path / "spool.db"
    first, second = open_database(path, create=True), open_database(path)
    one, two = WriteLock(tmp_path / "gate"), WriteLock(tmp_path / "gate")
    found = []

    def write() -> None:
        with two.transaction(second):
            found.extend(query(second, "SELECT name FROM control"))

    with one.transaction(first):
        other = threading.Thread(target=write)
        other.start()
        add(first, "x")
        assert found == []
    other.join(10)
    assert found == [("x",)]


def test_gate_opens_after_a_failure(tmp_path):
    """An exception within leaves the gate open and the database as it was."""
    connection = open_database(tmp_path / "spool.db", create=True)
    gate = WriteLock(tmp_path / "gate")

    def fail() -> None:
        with gate.transaction(connection):
            add(connection, "x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with gate.transaction(connection):
        assert query(connection, "SELECT name FROM control") == []


def test_stranger_beside_the_gate_is_waited_for(tmp_path):
    """Who writes without the gate is held off by SQLite's own lock, and nothing is lost."""
    path = tmp_path / "spool.db"
    first, second = open_database(path, create=True), open_database(path)
    gate = WriteLock(tmp_path / "gate")
    began = threading.Event()

    def write() -> None:
        began.set()
        with gate.transaction(second):
            add(second, "behind")

    with transaction(first):
        other = threading.Thread(target=write)
        other.start()
        began.wait(10)
        add(first, "before")
    other.join(10)
    assert query(first, "SELECT name FROM control ORDER BY name") == [("before",), ("behind",)]


def test_gate_closes_twice_and_needs_a_folder(tmp_path):
    """Closing again is harmless; where no file can be made, the error is ours."""
    gate = WriteLock(tmp_path / "gate")
    gate.close()
    gate.close()
    with pytest.raises(SpoolSickError):
        WriteLock(tmp_path / "nowhere" / "gate")
