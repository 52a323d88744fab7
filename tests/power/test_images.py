"""The images of a disk after a power cut: what was synced is there, and each sector of the rest is of one
version.
"""

from __future__ import annotations

import marshal
import random

from hypothesis import given
from hypothesis import strategies as st
from power.images import SECTOR_BYTES, Disk, Record, by_chance, everything, nothing, read_log

#: A folder of one file, both on the disk for good.
BEGUN = [("mkdir", 0, "d", 1), ("sync", 0), ("create", 1, "f", 2), ("sync", 1)]


def disk_after(*steps):
    """A disk to which these steps were done."""
    disk = Disk()
    for kind, *what in steps:
        disk.apply(Record(0, kind, tuple(what)))
    return disk


def laid(disk, place, luck):
    """The files of an image, by path."""
    disk.lay(place, luck)
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_synced_octets_are_there(tmp_path):
    """A sync brings all earlier writes of its file, and none of another one."""
    disk = disk_after(*BEGUN, ("create", 1, "g", 3), ("sync", 1), ("write", 2, 0, b"ab"), ("write", 3, 0, b"x"),
                      ("write", 2, 1, b"c"), ("sync", 2), ("write", 2, 0, b"z"))  # fmt: skip
    assert laid(disk, tmp_path / "none", nothing) == {"d/f": b"ac", "d/g": b""}
    assert laid(disk, tmp_path / "all", everything) == {"d/f": b"zc", "d/g": b"x"}


def test_name_is_safe_when_its_folder_is(tmp_path):
    """A file that is synced in a folder that is not has no name after the cut."""
    disk = disk_after(*BEGUN, ("create", 1, "g", 3), ("write", 3, 0, b"x"), ("sync", 3))
    assert laid(disk, tmp_path / "none", nothing) == {"d/f": b""}
    assert laid(disk, tmp_path / "all", everything) == {"d/f": b"", "d/g": b"x"}


def test_rename_is_whole_or_not_at_all(tmp_path):
    """A file that is moved over another has one of the two names, whatever the chance."""
    steps = [
        ("create", 1, "g", 3),
        ("sync", 1),
        ("write", 3, 0, b"x"),
        ("sync", 3),
        ("rename", 1, "g", 1, "f", 3),
    ]
    disk = disk_after(*BEGUN, *steps)
    found = [laid(disk, tmp_path / str(seed), by_chance(random.Random(seed), 0.5)) for seed in range(20)]
    assert {"d/f": b"x"} in found
    assert {"d/f": b"", "d/g": b"x"} in found
    assert len({str(each) for each in found}) == 2


def test_move_is_safe_in_both_folders(tmp_path):
    """A sync of one of the two folders of a move is enough: a file system has one journal."""
    steps = [("mkdir", 0, "e", 3), ("sync", 0), ("rename", 1, "f", 3, "f", 2), ("sync", 3)]
    assert laid(disk_after(*BEGUN, *steps), tmp_path / "none", nothing) == {"e/f": b""}


def test_removed_file_may_be_back(tmp_path):
    """A name that was removed is there until its folder is synced."""
    removed = [*BEGUN, ("unlink", 1, "f")]
    assert laid(disk_after(*removed), tmp_path / "none", nothing) == {"d/f": b""}
    assert laid(disk_after(*removed, ("sync", 1)), tmp_path / "synced", nothing) == {}


_SIZES = st.integers(0, 3 * SECTOR_BYTES)
_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.just(2), _SIZES, st.binary(min_size=1, max_size=2 * SECTOR_BYTES)),
        st.tuples(st.just("truncate"), st.just(2), _SIZES),
        st.just(("sync", 2)),
    ),
    max_size=8,
)


def versions_of(changes):
    """The file after each change since its last sync, as a disk without faults has it."""
    octets = bytearray()
    versions = [b""]
    for kind, *what in changes:
        if kind == "sync":
            versions = [bytes(octets)]
            continue
        _, at, *data = what
        octets.extend(bytes(max(at - len(octets), 0)))
        if kind == "truncate":
            del octets[at:]
        else:
            octets[at : at + len(data[0])] = data[0]
        versions.append(bytes(octets))
    return versions


@given(changes=_CHANGES, seed=st.integers(0, 1_000))
def test_each_sector_is_of_one_version(tmp_path_factory, changes, seed):
    """Whatever is written: a sector of the image is as some version had it, and so is the size; with all luck
    it is the last version, with none the one that was synced.
    """
    place = tmp_path_factory.mktemp("image")
    disk = disk_after(*BEGUN, *changes)
    versions = versions_of(changes)
    assert laid(disk, place / "none", nothing)["d/f"] == versions[0]
    assert laid(disk, place / "all", everything)["d/f"] == versions[-1]
    found = laid(disk, place / "some", by_chance(random.Random(seed), 0.3))["d/f"]
    assert len(found) in {len(version) for version in versions}
    for at in range(0, len(found), SECTOR_BYTES):
        sector = found[at : at + SECTOR_BYTES]
        known = {
            version[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")[: len(sector)] for version in versions
        }
        assert sector in known, at


def test_log_that_was_cut_ends_there(tmp_path):
    """The records before the cut are read."""
    path = tmp_path / "log"
    whole = marshal.dumps((1, "sync", 2))
    path.write_bytes(whole + whole[:-1])
    assert list(read_log(path)) == [Record(1, "sync", (2,))]
