"""A change of a list in a file: an entry more or less, the rest of the file as it was.

Owns which lines are an entry; `relay.rewriting` sees to it that a reader never sees half of a file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.errors import RelayError
from relay.lists.entries import EntryError, read_lines
from relay.rewriting import rewrite_lines


class ListError(RelayError):
    """A list that cannot be changed or read, with the reason for an operator."""


def add_line(path: Path, entry: str) -> bool:
    """Add an entry at the end of the file, which is made if it is missing. Returns whether it was new.

    Raises:
        ListError: the file cannot be read or written.
    """

    def add(lines: list[bytes]) -> list[bytes]:
        if any(found == entry for _, found in read_lines(lines)):
            return lines
        ended = [line if line.endswith(b"\n") else line + b"\n" for line in lines]
        return [*ended, f"{entry}\n".encode()]

    return _change(path, add)


def remove_line(path: Path, entry: str) -> bool:
    """Remove each line that holds the entry. Returns whether there was one.

    Raises:
        ListError: the file cannot be read or written.
    """

    def remove(lines: list[bytes]) -> list[bytes]:
        gone = {number for number, found in read_lines(lines) if found == entry}
        return [line for number, line in enumerate(lines, start=1) if number not in gone]

    return _change(path, remove)


def list_lines(path: Path) -> list[str]:
    """The entries of a file in their order.

    Raises:
        ListError: the file cannot be read.
    """
    with _told(path):
        lines = list(io.BytesIO(path.read_bytes()))
    return [entry for _, entry in read_lines(lines) if not isinstance(entry, EntryError)]


def _change(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> bool:
    with _told(path):
        return rewrite_lines(path, change)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ListError(f"{path}: {exc.strerror or exc}") from exc
