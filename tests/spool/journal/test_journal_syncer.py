"""The sync without a wait: by the kernel and by a thread, on every run, and which of them is taken."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio
from harness import ROOT

from relay.spool.local.journal import syncer as room
from relay.spool.local.journal.syncer import KernelSyncer, ThreadSyncer, open_syncer


@pytest.fixture
def handle(tmp_path):
    """An open file."""
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


@pytest_asyncio.fixture(params=["kernel", "thread"])
async def syncer(request, handle):
    """Each of the two."""
    if request.param == "kernel":
        try:
            opened = KernelSyncer(handle)
        except OSError as exc:
            pytest.skip(f"the kernel does not sync by itself here: {exc}")
    else:
        opened = ThreadSyncer()
    yield opened
    opened.close()


def open_files():
    """The numbers of the files that this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def begin(syncer, handle):
    """A future for the result of a sync."""
    told = asyncio.get_running_loop().create_future()
    syncer.sync(handle, told.set_result)
    return told


async def error_of(syncer, handle):
    """The number of the error of a sync, told or raised; None without one."""
    try:
        error = await begin(syncer, handle)
    except OSError as exc:
        error = exc
    return error and error.errno


async def test_sync_is_told(syncer, handle):
    """One after the other, each once."""
    for _ in range(20):
        os.pwrite(handle, b"x", 0)
        assert await begin(syncer, handle) is None


async def test_loop_goes_on_meanwhile(syncer, handle):
    """The result comes in a later turn of the loop, never within the call."""
    told = begin(syncer, handle)
    assert not told.done()
    assert await told is None


async def test_what_cannot_be_synced_is_an_error(syncer):
    """EINVAL for a pipe, told or raised: either way nobody takes it for done."""
    ours, theirs = os.pipe()
    try:
        assert await error_of(syncer, theirs) == errno.EINVAL
    finally:
        os.close(ours)
        os.close(theirs)


async def test_error_is_followed_by_a_sync_that_works(syncer, handle):
    """A failed sync leaves nothing behind in the queue."""
    ours, theirs = os.pipe()
    assert await error_of(syncer, theirs) == errno.EINVAL
    os.close(ours)
    os.close(theirs)
    assert await begin(syncer, handle) is None


async def test_closing_twice_is_harmless(syncer):
    """A stop may meet a failure on its way."""
    syncer.close()
    syncer.close()


async def test_thread_is_taken_where_the_kernel_refuses(handle, monkeypatch):
    """A filter of system calls, or a machine whose numbers we do not know."""
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    opened = open_syncer(handle)
    assert opened.way == "thread"
    assert await begin(opened, handle) is None
    opened.close()


async def test_kernel_that_refuses_leaves_nothing_open(handle):
    """The file that is tried cannot be synced: the eventfd and the queue go again."""
    ours, theirs = os.pipe()
    before = open_files()
    with pytest.raises(OSError) as caught:  # ENOSYS where there are no such calls at all
        KernelSyncer(theirs)
    assert caught.value.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM)
    assert open_files() == before
    os.close(ours)
    os.close(theirs)


def test_structures_are_those_of_the_kernel():
    """64 octets of struct iocb (include/uapi/linux/aio_abi.h)."""
    assert room._IOCB.size == 64


def expand(word):
    """The system calls that systemd means by a group."""
    if not word.startswith("@"):
        return {word}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
    )
    words = [line.strip() for line in said.stdout.splitlines()[1:]]
    return set().union(*(expand(each) for each in words if each and not each.startswith("#")))


@pytest.mark.needs("systemd-analyze", "systemd")
def test_unit_allows_both_ways():
    """The filter of the service lets the kernel's way through, and the thread's."""
    allowed = set()
    for line in (ROOT / "systemd" / "relay.service").read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2]
            groups = set().union(*(expand(word) for word in words.removeprefix("~").split()))
            allowed = allowed - groups if words.startswith("~") else allowed | groups
    assert {"read", "write"} <= allowed
    assert {
        "io_setup",
        "io_submit",
        "io_getevents",
        "io_destroy",
        "eventfd2",
        "fdatasync",
        "pwritev",
    } <= allowed
