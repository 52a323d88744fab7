"""The region: a stretch of raw octets that is read in place, so that nothing large is copied.

Owns *region*. Never decodes. A region holds on to the buffer it was cut from, so what is read later needs
the buffer to be open still.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: Octets of the largest chunk of a part, and of the largest piece given to a call that holds the interpreter.
CHUNK = 1 << 20

Buffer = bytes | memoryview | mmap.mmap
Chunks = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Region:
    """The octets `buffer[start:end]`, not copied."""

    buffer: Buffer = field(repr=False)
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def sub(self, start: int, end: int) -> Region:
        """The region between two absolute offsets, cut to this one."""
        start = min(max(start, self.start), self.end)
        return Region(self.buffer, start, min(max(end, start), self.end))

    def read(self, start: int | None = None, end: int | None = None) -> bytes:
        """The octets between two absolute offsets, copied; all of them by default."""
        first = self.start if start is None else max(start, self.start)
        last = self.end if end is None else min(end, self.end)
        return bytes(self.buffer[first:last])

    def chunks(self) -> Iterator[bytes]:
        """All octets in order, at most 1 MiB at a time."""
        for at in range(self.start, self.end, CHUNK):
            yield bytes(self.buffer[at : min(at + CHUNK, self.end)])

    def search(self, pattern: re.Pattern[bytes], start: int, *, span: int) -> re.Match[bytes] | None:
        """The first match at or after an absolute offset, for patterns that never match more than `span`
        octets.

        Searches window by window, so that no single call holds the interpreter for long.
        """
        at = max(start, self.start)
        while at < self.end:
            window = min(at + CHUNK, self.end)
            # Windows overlap by `span`, so a match that begins anywhere in one is found whole.
            found = pattern.search(self.buffer, at, min(window + span, self.end))
            if found is not None and (found.start() < window or window == self.end):
                return found
            at = window
        return None

    def occurrences(self, octets: bytes, start: int) -> Iterator[int]:
        """The absolute offsets at which `octets` stand at or after an absolute offset, without overlap.

        A plain search: a pattern made of what a mail says would cost more to compile than to look for.
        """
        at = max(start, self.start)
        while at < self.end:
            edge = min(at + CHUNK, self.end)
            last = min(edge + len(octets) - 1, self.end)
            window = self.buffer if isinstance(self.buffer, bytes) else bytes(self.buffer[at:last])
            shift = 0 if window is self.buffer else at
            found = window.find(octets, at - shift, last - shift)
            behind = edge
            while found >= 0:
                yield found + shift
                behind = max(edge, found + shift + len(octets))
                found = window.find(octets, found + len(octets), last - shift)
            at = behind


def whole(raw: Buffer) -> Region:
    """The whole of a buffer as one region; of a view of a whole `bytes` or map the object below is taken."""
    if isinstance(raw, memoryview):
        under = raw.obj
        if isinstance(under, bytes | mmap.mmap) and raw.contiguous and len(under) == raw.nbytes:
            raw = under
        elif raw.ndim != 1 or raw.format != "B" or not raw.contiguous:
            raw = memoryview(raw.tobytes())
    return Region(raw, 0, len(raw))


def cut_octets(raw: Buffer) -> Iterator[bytes]:
    """The pieces of octets in order, at most `CHUNK` each, copied."""
    return (bytes(raw[at : at + CHUNK]) for at in range(0, len(raw), CHUNK))


def slices(text: str) -> Iterator[str]:
    """The pieces of a text, at most 2**20 characters each, for calls that would otherwise hold the
    interpreter for long.
    """
    return (text[at : at + CHUNK] for at in range(0, len(text), CHUNK))
