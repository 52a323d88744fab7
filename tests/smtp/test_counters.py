"""The shared counts where the disk has no room for them."""

from __future__ import annotations

import pytest
from disks import small_disk

from relay.smtp.counters import TABLES, SharedCounters


@pytest.fixture
def full_disk(tmp_path):
    """A disk with room for one process's row, and not for two."""
    with small_disk(tmp_path / "disk", "size=1600k") as folder:
        yield folder


@pytest.mark.process
def test_a_full_disk_ends_nobody(full_disk):
    """Whose row finds no room counts alone, instead of dying of SIGBUS at its first count."""
    first = SharedCounters(full_disk / "tally", index=0, processes=2)
    second = SharedCounters(full_disk / "tally", index=1, processes=2)
    assert [first.add("mails", "192.0.2.1", 1) for _ in range(2)] == [1, 2]
    assert [second.add("mails", "192.0.2.1", 1) for _ in range(2)] == [1, 2]
    second.clear("mails")
    assert second.add("mails", "192.0.2.1", 1) == 1
    assert first.add("mails", "192.0.2.1", 1) == 3
    first.close()
    second.close()


def test_counters_can_be_asked_after_their_end(tmp_path):
    """A session that ends, or a connection that comes up, after the counters were closed raises nothing, and
    changes nothing that the other processes see.
    """
    first = SharedCounters(tmp_path / "tally", index=0, processes=2)
    second = SharedCounters(tmp_path / "tally", index=1, processes=2)
    table = TABLES[0]
    first.add(table, "192.0.2.7", 1)
    first.close()
    first.add(table, "192.0.2.7", -1)
    first.mark(table, "192.0.2.7", 5)
    first.forget(table, "192.0.2.7")
    first.latest(table, "192.0.2.7")
    first.clear(table)
    first.close()
    assert second.add(table, "192.0.2.7", 1) == 2
    second.close()
