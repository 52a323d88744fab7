"""The folders of the spool: each has its name on the disk before anything in it is promised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay.config.load import make_data_dir
from relay.spool.local.layout import Layout, make_folder


@pytest.fixture
def synced(monkeypatch):
    """The folders and files that were synced, by path."""
    found = []
    sync = os.fsync

    def note(handle):
        found.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    return found


def test_new_folder_is_synced_with_all_above_it(tmp_path, synced):
    """A power cut takes none of the folders away that were made on the way to it."""
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_folder_that_was_there_is_synced_once(tmp_path, synced):
    """Who has made it may not have synced its name yet: another receiver, systemd, an administrator."""
    (tmp_path / "data").mkdir()
    layout = Layout(data_dir=tmp_path / "data")
    layout.prepare()
    assert synced[0] == tmp_path
    synced.clear()
    layout.prepare()
    assert synced == []


def test_folder_of_large_mail_by_another_receiver_is_synced(tmp_path, synced):
    """The first large mail under two letters makes their folder; the second, by another process, may be
    acknowledged before the first process has synced its name.
    """
    (tmp_path / "raw" / "AB").mkdir(parents=True)
    make_folder(tmp_path / "raw" / "AB")
    assert synced == [tmp_path / "raw"]


def test_folder_in_one_that_cannot_be_synced_is_used(tmp_path, monkeypatch):
    """A data_dir may lie in a folder that its user may enter and not read; a disk that fails is told."""
    (tmp_path / "data").mkdir()

    def refuse(number):
        def fsync(_handle):
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(5))
    with pytest.raises(OSError, match="Input/output"):
        make_folder(tmp_path / "data")
    monkeypatch.setattr(os, "fsync", refuse(13))
    make_folder(tmp_path / "data")


def test_data_dir_is_synced_with_all_above_it(tmp_path, synced):
    """The directory that `relay serve` makes is there after a power cut, and so are those above it."""
    make_data_dir(tmp_path / "a" / "b")
    assert sorted(synced) == [tmp_path, tmp_path / "a"]
    synced.clear()
    make_data_dir(tmp_path / "a" / "b")
    assert synced == []
