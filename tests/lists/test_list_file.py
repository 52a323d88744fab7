"""A list in a file: what is in force while the file changes, is half written, or is not in order."""

from __future__ import annotations

import os
import time

import pytest

from relay.lists.file import MOST_BYTES, ListFile


@pytest.fixture
def path(tmp_path):
    """The file of a list."""
    return tmp_path / "vip.txt"


def write(path, text, *, age_seconds=0.0):
    """Write the file in place, as of so long ago."""
    path.write_bytes(text)
    at = time.time() - age_seconds
    os.utime(path, (at, at))


def replace(path, text):
    """Put a file in its place by a rename."""
    beside = path.with_suffix(".new")
    beside.write_bytes(text)
    beside.rename(path)


def refreshed(path):
    """A list that has read its file."""
    made = ListFile("vip", path)
    made.refresh()
    return made


def test_change_is_read_and_an_unchanged_file_is_not(path, monkeypatch):
    """A look reads the file only when it has changed."""
    write(path, b"a@a.example\n")
    made = refreshed(path)
    assert (made.holds("A@a.example"), made.trouble) == (True, "")
    first = made.entries
    made.refresh()
    assert made.entries is first
    replace(path, b"b@a.example\n")
    made.refresh()
    assert (made.holds("a@a.example"), made.holds("b@a.example")) == (False, True)


def oversized(path):
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)


def directory(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: replace(path, b"a@a.example\nno entry\n"),
        lambda path: replace(path, os.urandom(5_000) + b"\n"),
        lambda path: path.unlink(),
        oversized,
        directory,
        pipe,
        lambda path: (path.unlink(), path.symlink_to(path)),
    ],
    ids=["a line", "octets", "gone", "huge", "directory", "pipe", "circle"],
)
def test_file_that_is_not_in_order_changes_nothing(path, harm):
    """The last good state stays in force, the trouble is known, and a file in order ends it."""
    write(path, b"a@a.example\n")
    made = refreshed(path)
    harm(path)
    made.refresh()
    made.refresh()
    assert made.holds("a@a.example")
    assert made.trouble
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    replace(path, b"b@a.example\n")
    made.refresh()
    assert (made.holds("b@a.example"), made.trouble) == (True, "")


def test_broken_file_at_a_start_counts_as_far_as_it_goes(path):
    """Without a last good state the lines that are entries are in force, and the trouble names the line."""
    write(path, b"a@a.example\nno entry\n@b.example\n")
    made = refreshed(path)
    assert made.holds("a@a.example")
    assert made.holds("x@b.example")
    assert made.trouble.startswith("line 2 ")


@pytest.mark.parametrize("text", [b"", b"b@a.exam", b"#" * 4_095 + b"\n"], ids=["empty", "a line", "a block"])
def test_file_that_is_being_written_counts_when_it_is_still(path, text):
    """A young file that ends like half of one is left alone; the same file counts once it is still."""
    write(path, b"a@a.example\n")
    made = refreshed(path)
    write(path, text)
    made.refresh()
    assert (made.holds("a@a.example"), made.trouble) == (True, "")
    write(path, text, age_seconds=5)
    made.refresh()
    assert not made.holds("a@a.example")


def test_missing_file_is_an_empty_list(path):
    """A list whose file was never there has nobody on it, and says why."""
    made = refreshed(path)
    assert not made.entries
    assert made.trouble.startswith("it cannot be read: ")
