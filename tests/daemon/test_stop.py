"""Stops under load: what the daemon leaves when it was told to end."""

from __future__ import annotations

import contextlib

import pytest
from harness import Daemon, Senders, build_mail, until

from relay.config.load import load_config
from relay.spool.model import State
from relay.spool.opening import open_desk

pytestmark = pytest.mark.process


@pytest.mark.parametrize("stops", [1, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.timeout(1_800)  # 20 s a stop, where eight other programs want the same two cores
def test_stops_under_load_leave_nothing_leased(box, tmp_path, stops):
    """Each stop while mail flows ends with 0, without a lease and without a traceback; all that was accepted
    arrives once.
    """
    with Daemon(tmp_path, env=box.environ()) as daemon:
        box.chaos({"connect": {"latency_seconds": 0.05}})
        senders = Senders(daemon.port, count=4, make=build_mail, arrived=lambda: len(box.book), ahead=30)
        daemon.start()
        senders.start()
        for number in range(stops):
            until(lambda number=number: len(box.book) > 5 * number, so="contacts")
            assert daemon.stop() == 0
            with contextlib.closing(open_desk(load_config(str(daemon.config_path)))) as desk:
                assert desk.counts()[State.LEASED] == 0, f"after stop {number + 1}"
            assert not [line for line in daemon.events if line["level"] in ("error", "critical")]
            daemon.start()
        senders.finish()
        promised = set(senders.acknowledged)
        until(lambda: len(box.book) >= len(promised), seconds=60, so="all contacts")
        assert daemon.stop() == 0
        assert daemon.events
        assert daemon.other_lines == []
    subjects = [c["request"]["EmailMessage"]["RawMessage"]["Subject"] for c in box.contacts()]
    assert sorted(subjects) == sorted(promised)
