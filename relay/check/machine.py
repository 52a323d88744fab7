"""This machine: the spool and its disk, the SQLite library, open files.

Owns those examinations. Writes one small file into data_dir and removes it.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.errors import SpoolError
from relay.resolver import FLIGHTS
from relay.spool.clock import TRUST, tell_step
from relay.spool.opening import (
    check_library,
    count_entries,
    count_ledger,
    find_clock_step,
    find_key_fault,
    find_unfit,
)

#: File systems on which SQLite's WAL, or a sync, does not keep its promise (sqlite.org/wal.html: "all
#: processes must be on the same host computer"; tmpfs forgets at a power cut).
_UNFIT = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.s3fs", "tmpfs", "ramfs"}
#: Octets of a record of the ledger with its indexes, measured at 10⁵ records (bench/README.md).
_RECORD_BYTES = 650


def examine_data_dir(config: Config) -> Iterator[Finding]:
    """Examine whether data_dir keeps what is synced to it, and has room; a fleet's may lie in memory."""
    place = config.data_dir
    while not place.exists():
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".check-") as file:
            file.write(b"relay")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        yield fail("data_dir", f"{place}: cannot be written ({exc.strerror})")
        return
    kind = filesystem(place, Path("/proc/self/mountinfo").read_text())
    if kind in _UNFIT and not config.fleet.table:  # a fleet's mail is elsewhere
        yield fail(
            "data_dir", f"{place} is on {kind}, which does not keep what it has synced; use a local disk"
        )
        return
    yield from _room(config, place, kind)


def _room(config: Config, place: Path, kind: str) -> Iterator[Finding]:
    disk = os.statvfs(place)
    free, inodes = disk.f_bavail * disk.f_frsize, disk.f_favail
    wanted = config.spool.min_free_bytes + config.max_message_bytes
    if free < wanted:
        yield fail(
            "data_dir", f"{place} has {_mb(free)} free; spool.min_free_bytes and one mail need {_mb(wanted)}"
        )
    # Some file systems (btrfs) count no inodes and report 0 of 0.
    elif disk.f_files and inodes < config.spool.min_free_inodes:
        yield fail("data_dir", f"{place} has {inodes} inodes free, below spool.min_free_inodes")
    else:
        yield ok("data_dir", f"{place} ({kind}) can be written, {_mb(free)} free")


def examine_spool(config: Config) -> Iterator[Finding]:
    """Examine whether an existing spool can be used, by this user and by the owner of data_dir."""
    data_dir = config.data_dir
    unfit = find_unfit(config)
    yield from (fail("spool", sentence) for sentence in unfit)
    if unfit:
        return
    if os.geteuid() == 0 and data_dir.is_dir() and (owner := data_dir.stat().st_uid):
        yield from (warn("spool", sentence) for sentence in find_unfit(config, user=owner))
    if config.fleet.table:
        yield ok("spool", f"is the fleet's, in the table {config.fleet.table}; {data_dir} owes nothing")
        return
    try:
        entries = count_entries(config)
    except SpoolError as exc:
        yield from (fail("spool", sentence) for sentence in str(exc).splitlines())
    else:
        said = (
            "none there yet; the daemon makes it"
            if entries is None
            else f"can be read, and knows of {entries} deliveries"
        )
        yield ok("spool", said)
        if entries is not None:
            yield from _examine_clock(config)
            yield from _examine_ledger(config)
            yield from _examine_key(config)


def _examine_clock(config: Config) -> Iterator[Finding]:
    """Examine whether the wall clock is doubted since a step."""
    try:
        step = find_clock_step(config)
    except SpoolError:
        return  # `count_entries` has told what is wrong with the spool
    if step:
        yield warn("wall clock", f"{tell_step(step)} ({TRUST})")


def _examine_key(config: Config) -> Iterator[Finding]:
    """Examine the key of hashed addresses, by which erased mail is known again."""
    with suppress(SpoolError):  # `count_entries` has told what is wrong with the spool
        if fault := find_key_fault(config):
            yield fail("address key", fault)


def _examine_ledger(config: Config) -> Iterator[Finding]:
    """Examine the number of records of mail that was finished."""
    try:
        records = count_ledger(config)
    except SpoolError:
        return  # `count_entries` has told what is wrong with the spool
    most = config.spool.max_ledger_rows
    size = f"the ledger has {records:,} records, some {_mb(records * _RECORD_BYTES)}"
    if most and records > most:
        yield warn(
            "ledger",
            f"{size}, more than spool.max_ledger_rows = {most:,}: the next sweep forgets the oldest, but none of the "
            "last week, retain_days and duplicate_window_hours",
        )
    elif records:
        yield ok("ledger", size)


def _mb(octets: int) -> str:
    return f"{octets // 1_000_000:,} MB"


def filesystem(place: Path, mountinfo: str) -> str:
    """The type of the file system under a path, by proc(5)'s mountinfo: the longest mount point decides."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        if place.resolve().is_relative_to(point):
            mounts.append((len(point), after.split()[0]))
    # Of two mounts on one point the later lies on top.
    return max(reversed(mounts), key=lambda mount: mount[0])[1] if mounts else "an unknown file system"


def examine_library() -> Finding:
    """Examine the SQLite library under the spool."""
    try:
        return ok("sqlite", check_library())
    except SpoolError as exc:
        return fail("sqlite", str(exc))


def examine_files(connections: int) -> Finding:
    """Examine whether a receiver may open a descriptor for every session that the limits allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + FLIGHTS + 256  # DNS; the spool, AWS, and large mails on their way in
    if soft != resource.RLIM_INFINITY and soft < needed:
        return warn(
            "open files", f"{soft} allowed, {needed} wanted for limits.connections; raise LimitNOFILE"
        )
    return ok("open files", f"{'any number' if soft == resource.RLIM_INFINITY else soft} allowed")
