"""An outage of S3 as a leader sees it: accepted mail that cannot be read is left alone for a while.

Owns how long, and how it is tried whether S3 is back. Otherwise every entry that is due would be leased and
put back, again and again. Never does I/O; instants are those of a steady clock, in microseconds.
"""

from __future__ import annotations

from typing import Final

from relay.errors import SpoolSickError

#: The rest after a failure: as long as a short outage of S3, and nobody waits for it longer than for a retry.
REST_SECONDS: Final = 5.0


class Outage:
    """The outage, if there is one."""

    def __init__(self) -> None:
        self._why = ""
        self._until = 0

    def begin(self, why: str, *, at: int) -> None:
        """Note that a mail, or its request, could not be read."""
        self._why, self._until = why, at + int(REST_SECONDS * 1_000_000)

    def end(self) -> None:
        """Note that a mail was read."""
        self._why = ""

    def limit(self, limit: int, *, at: int) -> int:
        """The number of entries that may be leased: one, to try it, after the rest.

        Raises:
            SpoolSickError: not yet.
        """
        if not self._why:
            return limit
        if at < self._until:
            raise SpoolSickError(self._why)
        return min(limit, 1)
