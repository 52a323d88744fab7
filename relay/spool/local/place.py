"""The place of a spool: whether what lies under its name is still what was opened.

Owns one comparison. A disk that was mounted anew, or a spool restored from a copy, has the same names and other files:
who keeps the old ones open reads what nobody writes to any more, and holds locks that no longer keep anybody out.
Never opens a file.
"""

from __future__ import annotations

from relay.spool.local.layout import Layout

_Identity = tuple[int, int]


class Place:
    """What lies there now; remembered by a process that has opened it. Calls block: use a thread."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._opened = self._look()

    def has_changed(self) -> bool:
        """Whether another spool lies there; no while none does, which the next write tells."""
        now = self._look()
        return now is not None and now != self._opened

    def _look(self) -> _Identity | None:
        try:
            found = self._layout.database.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
