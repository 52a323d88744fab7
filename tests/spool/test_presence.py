"""Whether a daemon delivers: told without touching its lock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from relay.spool.local import health
from relay.spool.local.health import deliverer_runs
from relay.spool.local.layout import lock_file
from relay.spool.local.wake import Bell, is_listening


def test_nobody_has_ever_delivered(tmp_path):
    """Without a lock file there is no deliverer."""
    assert not deliverer_runs(tmp_path)


def test_lock_file_of_one_that_ended(tmp_path):
    """A lock that nobody holds any more says nothing runs."""
    os.close(lock_file(tmp_path / "deliver.lock"))
    assert not deliverer_runs(tmp_path)


async def test_bell_that_is_heard(tmp_path):
    """A deliverer that waits for the bell runs, and the look does not wake it."""
    with Bell(tmp_path) as bell:
        assert is_listening(tmp_path)
        assert deliverer_runs(tmp_path)
        await asyncio.sleep(0)  # what was sent would be heard by now
        assert not bell._rung.is_set()
    assert not deliverer_runs(tmp_path)


@pytest.mark.process
def test_socket_that_a_dead_one_left(tmp_path):
    """A doorbell without anybody behind it is none."""
    code = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "wake")], check=True)
    assert (tmp_path / "wake").exists()
    assert not deliverer_runs(tmp_path)


@pytest.mark.skipif(not os.access("/proc/locks", os.R_OK), reason="no list of locks on this system")
def test_deliverer_that_does_not_listen_yet(tmp_path):
    """Between its lock and its bell a deliverer runs, and this process need not be it."""
    held = lock_file(tmp_path / "deliver.lock")
    assert deliverer_runs(tmp_path)
    other = lock_file(tmp_path / "other.lock")
    os.close(held)
    assert not deliverer_runs(tmp_path)
    os.close(other)


def test_where_nobody_can_tell_one_runs(tmp_path, monkeypatch):
    """On a system without a list of locks nothing is said that may be wrong."""
    (tmp_path / "deliver.lock").touch()
    monkeypatch.setattr(health, "_LOCKS", tmp_path / "nowhere")
    assert deliverer_runs(tmp_path)


def test_starting_deliverer_always_gets_its_lock(tmp_path):
    """However often somebody looks, the lock is there for who delivers."""
    os.close(lock_file(tmp_path / "deliver.lock"))
    looking = True

    def look():
        while looking:
            deliverer_runs(tmp_path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(300):
            handle = lock_file(tmp_path / "deliver.lock")
            assert handle is not None
            os.close(handle)
    finally:
        looking = False
        thread.join()
