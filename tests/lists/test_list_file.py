"""A list in a file: what is in force while the file changes, is half written, or is not in order."""

from __future__ import annotations

import asyncio
import os

import pytest

from relay.config.builtin import builtin_config
from relay.lists.file import MOST_BYTES, ListFile
from relay.lists.lookup import Claims, Lists


@pytest.fixture
def path(tmp_path):
    """The file of a list."""
    return tmp_path / "vip.txt"


def write(path, text, *, dated=None):
    """Write the file in place, dated as some instant where one is given."""
    path.write_bytes(text)
    if dated is not None:
        os.utime(path, (dated, dated))


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


@pytest.mark.parametrize("dated", [None, 0.0, 4_000_000_000.0], ids=["now", "long ago", "in the future"])
@pytest.mark.parametrize("text", [b"", b"b@a.exam", b"#" * 4_095 + b"\n"], ids=["empty", "a line", "a block"])
def test_file_that_may_be_half_written_counts_when_it_was_seen_unchanged(path, text, dated):
    """A file that ends like half of one counts after two seconds of a steady clock in which no look saw it
    change, whatever date it has and whatever the wall clock says.
    """
    at = [100.0]
    write(path, b"a@a.example\n")
    made = ListFile("vip", path, steady=lambda: at[0])
    made.refresh()

    def look(after):
        at[0] += after
        made.refresh()
        return made.holds("a@a.example"), made.is_unfinished

    write(path, text, dated=dated)
    assert look(0.5) == (True, True)
    assert look(1.9) == (True, True)
    write(path, b"b@b.example\nc@", dated=dated)  # its writer goes on
    assert look(0.5) == (True, True)
    write(path, text, dated=dated)
    assert look(0.5) == (True, True)
    assert look(1.9) == (True, True)
    assert look(0.2) == (False, False)


async def test_half_written_file_counts_though_no_mail_comes(path):
    """The look that finds a file half written has another made by itself, two seconds later."""
    write(path, b"a@a.example\n")
    lists = Lists(builtin_config(lists={"vip": {"file": str(path)}}))
    claims = Claims(authors=(b"a@a.example",), reverse_path=None)
    assert (await lists.find(claims))[1]
    write(path, b"")
    async with asyncio.timeout(20):
        while not lists.files[0].is_unfinished:
            assert (await lists.find(claims))[1]
            await asyncio.sleep(0.05)
        while lists.find_now(claims)[1]:
            await asyncio.sleep(0.05)
    await lists.close()


def test_missing_file_is_an_empty_list(path):
    """A list whose file was never there has nobody on it, and says why."""
    made = refreshed(path)
    assert not made.entries
    assert made.trouble.startswith("it cannot be read: ")
