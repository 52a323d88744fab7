"""What a disk may hold after a power cut, made of the log that `power.disk` has kept.

Owns the model: what was synced is there; of the rest any part may be. Each 512 octets of a file (a sector)
are as they were after the last sync or after any later write to them, whatever became of their neighbours,
and so is the size. A change of a name is whole or not at all, and is safe once its folder was synced: POSIX
promises no more, and a file system that orders its changes leaves fewer images than these. What was never
synced for thousands of writes counts as written back meanwhile, as a kernel does within half a minute.
"""

from __future__ import annotations

import marshal
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
_ZEROS = bytes(SECTOR_BYTES)
#: Changes of one file that may still be missing: the older half of more is taken to be on the disk.
_MOST_PENDING = 4_000
ROOT_NUMBER = 0

#: How many of so many steps, one after the other at one place, have come to the disk.
Luck = Callable[[int], int]


def nothing(_steps: int) -> int:
    """Only what was synced."""
    return 0


def everything(steps: int) -> int:
    """All that was written, as after the end of the processes alone."""
    return steps


def by_chance(rng: random.Random, share: float) -> Luck:
    """All steps with the probability `share`, else fewer of them."""

    def luck(steps: int) -> int:
        return steps if rng.random() < share else rng.randrange(steps)

    return luck


class Record(NamedTuple):
    """A step of the log: the instant (nanoseconds of the wall clock), its kind, and what it was done to."""

    at: int
    kind: str
    what: tuple


def read_log(path: Path) -> Iterator[Record]:
    """The records of the log, oldest first; one that was cut off ends it."""
    with path.open("rb") as file:
        while True:
            try:
                at, kind, *what = marshal.load(file)
            except (EOFError, ValueError, TypeError):
                return
            yield Record(at, kind, tuple(what))


class Write(NamedTuple):
    """Octets written."""

    offset: int
    octets: bytes


class Cut(NamedTuple):
    """A file made shorter, or longer by zeros."""

    size: int


@dataclass(slots=True)
class File:
    """What is on the disk, by sector (one that is left out is zeros), and the changes that may be missing."""

    size: int = 0
    sectors: dict[int, bytes] = field(default_factory=dict)
    pending: list[Write | Cut] = field(default_factory=list)

    def note(self, change: Write | Cut) -> None:
        """A change that is not synced yet."""
        self.pending.append(change)
        if len(self.pending) > _MOST_PENDING:
            half = _MOST_PENDING // 2
            late, self.pending = self.pending[half:], self.pending[:half]
            self.sync()
            self.pending = late

    def sync(self) -> None:
        """All changes come to the disk."""
        self.size, self.sectors = self.after_cut(everything)
        self.pending = []

    def after_cut(self, luck: Luck) -> tuple[int, dict[int, bytes]]:
        """The size and the sectors that may be there after a power cut: each has seen as many of its changes
        as `luck` lets.
        """
        sectors = dict(self.sectors)
        sizes = [self.size]
        steps: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        for change in self.pending:
            if isinstance(change, Cut):
                sizes.append(change.size)
                _cut(change.size, sectors, steps)
                continue
            sizes.append(max(sizes[-1], change.offset + len(change.octets)))
            for number, at, part in _by_sector(*change):
                steps[number].append((at, part))
        for number, changes in steps.items():
            octets = bytearray(sectors.get(number, _ZEROS))
            for at, part in changes[: luck(len(changes))]:
                octets[at : at + len(part)] = part
            sectors[number] = bytes(octets)
        # Sizes that follow each other and are equal are one step.
        different = [size for size, _ in groupby(sizes)]
        return different[luck(len(different) - 1) if len(different) > 1 else 0], sectors


def _cut(size: int, sectors: dict[int, bytes], steps: dict[int, list[tuple[int, bytes]]]) -> None:
    """Zeros for all that lies behind the new end."""
    for number in {*sectors, *steps}:
        at = max(size - number * SECTOR_BYTES, 0)
        if at < SECTOR_BYTES:
            steps[number].append((at, _ZEROS[at:]))


def _by_sector(offset: int, octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The parts of a write: the number of each sector, where in it the part begins, and the part."""
    done = 0
    while done < len(octets):
        number, at = divmod(offset + done, SECTOR_BYTES)
        part = octets[done : done + SECTOR_BYTES - at]
        yield number, at, part
        done += len(part)


def _write(path: Path, size: int, sectors: dict[int, bytes]) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        for number, octets in sectors.items():
            if number * SECTOR_BYTES < size:
                file.seek(number * SECTOR_BYTES)
                file.write(octets)
        file.truncate(size)


@dataclass(slots=True, eq=False)
class Naming:
    """A change of names: one is removed, one is added, or both at once."""

    removed: tuple[int, str] | None = None
    added: tuple[int, str, int] | None = None
    synced: bool = False

    def act(self, folder: int, names: dict[str, int]) -> None:
        """Do the part that belongs to this folder."""
        if self.removed and self.removed[0] == folder:
            names.pop(self.removed[1], None)
        if self.added and self.added[0] == folder:
            names[self.added[1]] = self.added[2]


@dataclass(slots=True)
class Folder:
    """The names on the disk, and the changes that may be missing there."""

    names: dict[str, int] = field(default_factory=dict)
    pending: list[Naming] = field(default_factory=list)


class Disk:
    """All files and folders of a log, up to the record that was applied last."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {}
        self._folders: dict[int, Folder] = {ROOT_NUMBER: Folder()}

    def apply(self, record: Record) -> None:
        """The next record of the log."""
        match record.kind, record.what:
            case "mkdir", (folder, name, number):
                self._folders[number] = Folder()
                self._rename(Naming(added=(folder, name, number)))
            case "create", (folder, name, number):
                self._files[number] = File()
                self._rename(Naming(added=(folder, name, number)))
            case "unlink", (folder, name):
                self._rename(Naming(removed=(folder, name)))
            case "rename", (folder, name, new_folder, new_name, number):
                self._rename(Naming(removed=(folder, name), added=(new_folder, new_name, number)))
            case "write", (number, offset, octets):
                self._files[number].note(Write(offset, octets))
            case "truncate", (number, size):
                self._files[number].note(Cut(size))
            case "sync", (number,):
                self._sync(number)
            case _:
                raise AssertionError(f"a record of no known kind: {record.kind}")

    def _rename(self, naming: Naming) -> None:
        for number in {place[0] for place in (naming.removed, naming.added) if place}:
            self._folders[number].pending.append(naming)

    def _sync(self, number: int) -> None:
        if (file := self._files.get(number)) is not None:
            file.sync()
            return
        folder = self._folders[number]
        for naming in folder.pending:
            naming.act(number, folder.names)
            naming.synced = True  # in the other folder of a move, too
        folder.pending = []

    def lay(self, place: Path, luck: Luck) -> None:
        """Write into this new folder what the disk may hold if the power goes now."""
        done: dict[Naming, bool] = {}

        def applies(naming: Naming) -> bool:
            return naming.synced or done.setdefault(naming, luck(1) == 1)

        self._lay_folder(ROOT_NUMBER, place, luck, applies)

    def _lay_folder(self, number: int, place: Path, luck: Luck, applies: Callable[[Naming], bool]) -> None:
        place.mkdir(mode=0o700)
        folder = self._folders[number]
        names = dict(folder.names)
        for naming in folder.pending:
            if applies(naming):
                naming.act(number, names)
        for name, child in names.items():
            if child in self._folders:
                self._lay_folder(child, place / name, luck, applies)
            else:
                _write(place / name, *self._files[child].after_cut(luck))
