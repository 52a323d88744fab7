"""A mail that is too large for memory, on its way into the spool.

Owns what a receiver may do with it before its commit. Never decides whether it stays: the spool does.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class RawFile(Protocol):
    """A mail on its way into the spool, too large to be kept in memory. Calls block: use a thread."""

    def write(self, octets: bytes) -> None:
        """Append octets.

        Raises:
            SpoolFullError, SpoolSickError: nothing more can be written; call `discard`.
        """

    def discard(self) -> None:
        """Remove what was written; harmless after `put` and when called twice."""

    def view(self) -> AbstractContextManager[memoryview]:
        """The octets written so far, to be read before `put`.

        Raises:
            SpoolSickError: they cannot be read back.
        """

    def read(self, at: int, size: int) -> bytes:
        """At most `size` of the octets written so far, from this offset on, to be read before `put`.

        Raises:
            SpoolSickError: they cannot be read back.
        """
