"""What systemd is told, and what it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from relay.daemon import systemd


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_manager_hears(manager):
    """The state arrives as one datagram."""
    systemd.notify("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_abstract_address(monkeypatch):
    """An address that begins with @ is one of the abstract name space."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0relay-test-notify")
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@relay-test-notify")
        systemd.notify("WATCHDOG=1")
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.process
def test_process_that_told_a_manager_leaves_nothing_open(manager, tmp_path):
    """The socket is closed at the end: an interpreter that looks for such things has nothing to say."""
    code = "from relay.daemon import systemd; systemd.notify('READY=1')"
    line = [sys.executable, "-X", "dev", "-c", code]
    done = subprocess.run(line, env=os.environ, capture_output=True, text=True, check=True)
    assert (manager.recv(100), done.stderr) == (b"READY=1", "")


def test_no_manager(monkeypatch, tmp_path):
    """Without a manager, or with one that is gone, nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.notify("READY=1")


@pytest.mark.parametrize(("value", "seconds"), [("30000000", 15.0), ("0", None), ("", None), ("soon", None)])
def test_watchdog_is_half_of_what_the_unit_allows(monkeypatch, value, seconds):
    """WATCHDOG_USEC is microseconds; the word is due twice in that time."""
    monkeypatch.setenv("WATCHDOG_USEC", value)
    assert systemd.watchdog_seconds() == seconds


def test_descriptors_for_another_process_are_not_ours(monkeypatch):
    """LISTEN_PID of somebody else means that nothing was handed to us."""
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert systemd.inherited_sockets() == []
