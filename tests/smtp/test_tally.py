"""The shared counts where the disk has no room for them."""

from __future__ import annotations

import subprocess

import pytest

from relay.smtp.tally import Tally


@pytest.fixture
def full_disk(tmp_path):
    """A disk with room for one process's row, and not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(folder)]
    if subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_nobody(full_disk):
    """Whose row finds no room counts alone, instead of dying of SIGBUS at its first count."""
    first = Tally(full_disk / "tally", index=0, processes=2)
    second = Tally(full_disk / "tally", index=1, processes=2)
    assert [first.add("mails", "192.0.2.1", 1) for _ in range(2)] == [1, 2]
    assert [second.add("mails", "192.0.2.1", 1) for _ in range(2)] == [1, 2]
    second.clear("mails")
    assert second.add("mails", "192.0.2.1", 1) == 1
    assert first.add("mails", "192.0.2.1", 1) == 3
    first.close()
    second.close()
