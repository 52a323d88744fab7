"""The place of a spool: another disk, or a copy, under the name of what was opened."""

from __future__ import annotations

import shutil

import pytest
from disks import small_disk

from relay.spool.local.health import Place
from relay.spool.local.layout import Layout


@pytest.fixture
def layout(tmp_path):
    layout = Layout(data_dir=tmp_path / "data")
    layout.prepare()
    layout.database.write_bytes(b"one")
    return layout


def test_same_file_is_no_change(layout):
    """What is written to the spool, or taken away from under its name, is another matter."""
    place = Place(layout)
    layout.database.write_bytes(b"more than one")
    assert not place.has_changed()
    layout.database.unlink()
    assert not place.has_changed()


def test_copy_in_its_place_is_a_change(layout, tmp_path):
    """A spool that was restored from a copy while we had the old one open."""
    place = Place(layout)
    shutil.copytree(layout.root, tmp_path / "copy")
    layout.root.rename(tmp_path / "aside")
    (tmp_path / "copy").rename(layout.root)
    assert place.has_changed()


@pytest.mark.process
def test_other_disk_under_the_name_is_a_change(tmp_path):
    """The same names, and on two fresh disks even the same numbers of files."""
    name = tmp_path / "data"
    with small_disk(tmp_path / "one", "size=1m") as one, small_disk(tmp_path / "two", "size=1m") as two:
        for disk in (two, one):
            name.unlink(missing_ok=True)
            name.symlink_to(disk)
            layout = Layout(data_dir=name)
            layout.prepare()
            layout.database.write_bytes(b"x")
        place = Place(layout)
        assert not place.has_changed()
        assert (one / "spool/spool.db").stat().st_ino == (two / "spool/spool.db").stat().st_ino
        name.unlink()
        name.symlink_to(two)
        assert place.has_changed()
