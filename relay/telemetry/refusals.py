"""The refusals that peers were told lately, each under the id in its reply, for `relay trace`.

Owns one file for each receiver, of a size that never changes: a refusal overwrites the oldest of its group,
and the group follows from the peer's network. A flood from one network thus overwrites its own refusals and
at most a 64th of all others. What is written is not synced, and written by a thread: a sick disk costs the
memory of refusals, and no session its time. Never holds more than the command and the reply; of a mail
nothing.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from relay.networks import find_network

#: Groups, and refusals of each; together 2 MiB a receiver, hours of what a busy MX refuses.
GROUPS, SLOTS = 64, 64
#: Octets of one refusal; longer commands are cut.
SLOT_BYTES = 512
_GROUP_BYTES = SLOTS * SLOT_BYTES
_COMMAND_CHARACTERS = 120
_NAME_CHARACTERS = 60
#: Refusals that wait for a slow disk.
_MOST_WAITING = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reply of class 5, and what it was a reply to."""

    #: The id in the reply.
    reference: str
    #: Seconds since 1970.
    at: float
    peer: str
    helo: str
    listener: str
    #: The reverse-path of the transaction; None outside of one.
    reverse_path: str | None
    #: The command: MAIL and RCPT as they were written, of others the verb alone.
    said: str
    reply: str


class Refusals:
    """The memory of one receiver, which alone writes its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.Queue[Refusal | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        #: Refusals that were not kept: the disk was too slow, or full.
        self.lost = 0

    def remember(self, refusal: Refusal) -> None:
        """Keep a refusal. Returns at once, always."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(refusal)
        except queue.Full:
            self.lost += 1

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, within some seconds."""
        if self._thread is not None:
            with suppress(queue.Full):
                self._waiting.put_nowait(None)
                self._thread.join(seconds)

    def _run(self) -> None:
        newest: dict[int, int] = {}
        descriptor = -1
        while (refusal := self._waiting.get()) is not None:
            try:
                if descriptor < 0:
                    descriptor = _open(self._path)
                    newest = _find_newest(descriptor)
                group = zlib.crc32(find_network(refusal.peer).encode()) % GROUPS
                newest[group] = (newest.get(group, -1) + 1) % SLOTS
                os.pwrite(descriptor, _pack(refusal), group * _GROUP_BYTES + newest[group] * SLOT_BYTES)
            except OSError:
                self.lost += 1
        if descriptor >= 0:
            os.close(descriptor)


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.ftruncate(descriptor, GROUPS * _GROUP_BYTES)
    return descriptor


def _pack(refusal: Refusal) -> bytes:
    """The line of a refusal in exactly one slot."""
    record = asdict(refusal)
    for name, most in (
        ("said", _COMMAND_CHARACTERS),
        ("reverse_path", _NAME_CHARACTERS),
        ("helo", _NAME_CHARACTERS),
    ):
        if (value := record[name]) is not None:
            value = value.encode("utf-8", "replace").decode()  # JSON takes no lone surrogates
            record[name] = value if len(value) <= most else f"{value[:most]} ..."
    octets = orjson.dumps(record)
    if len(octets) >= SLOT_BYTES:  # of characters that JSON writes in many octets
        octets = orjson.dumps(record | {"said": "", "reverse_path": None, "helo": ""})
    return octets[: SLOT_BYTES - 1].ljust(SLOT_BYTES - 1) + b"\n"


def _read(octets: bytes) -> Refusal | None:
    """The refusal of a slot. Returns None for one that is empty, half written, or of another version."""
    try:
        return Refusal(**orjson.loads(octets))
    except (ValueError, TypeError):
        return None


def _slots(descriptor: int) -> Iterator[tuple[int, int, Refusal]]:
    for group in range(GROUPS):
        octets = os.pread(descriptor, _GROUP_BYTES, group * _GROUP_BYTES)
        for slot in range(len(octets) // SLOT_BYTES):
            refusal = _read(octets[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])
            if refusal is not None:
                yield group, slot, refusal


def _find_newest(descriptor: int) -> dict[int, int]:
    """The slot of the newest refusal of each group that has one."""
    newest: dict[int, tuple[float, int]] = {}
    for group, slot, refusal in _slots(descriptor):
        newest[group] = max(newest.get(group, (0.0, slot)), (refusal.at, slot))
    return {group: slot for group, (_, slot) in newest.items()}


def forget_refusals(folder: Path, names: re.Pattern[str]) -> int:
    """Empty the slots that have an address in their words. Returns their number.

    A receiver that fills such a slot in the same instant loses the newer refusal.
    """
    emptied = 0
    for path in sorted(folder.glob("receiver-*")):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                for group, slot, refusal in _slots(descriptor):
                    if any(names.search(text) for text in _words_of(refusal)):
                        os.pwrite(descriptor, bytes(SLOT_BYTES), group * _GROUP_BYTES + slot * SLOT_BYTES)
                        emptied += 1
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return emptied


def _words_of(refusal: Refusal) -> tuple[str, ...]:
    return (refusal.reverse_path or "", refusal.said, refusal.helo, refusal.reply)


def find_refusals(folder: Path, reference: str) -> list[Refusal]:
    """The refusals under an id, oldest first, of all receivers whose files lie in the folder."""
    found = []
    needle = b'"' + reference.encode("utf-8", "replace") + b'"'
    for path in sorted(folder.glob("receiver-*")):
        with suppress(OSError), path.open("rb") as file:
            octets = file.read(GROUPS * _GROUP_BYTES)
            at = octets.find(needle)
            while at >= 0:
                end = at - at % SLOT_BYTES + SLOT_BYTES
                refusal = _read(octets[end - SLOT_BYTES : end])
                if refusal is not None and refusal.reference == reference:
                    found.append(refusal)
                at = octets.find(needle, end)
    return sorted(found, key=lambda refusal: refusal.at)
