"""The line between the supervisor and a child: JSON objects, one a line, over a socket pair.

Owns the framing and the two ends. The supervisor says {"do": "start" | "reload" | "stop" | "metrics", ...}, the
child says {"said": "ready" | "alive" | "problem" | "metrics", ...}. The end of the line means that the other side is gone.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

#: A configuration of thousands of routes, or the metrics of a process, in one line.
_LINE_BYTES = 64 << 20


class Link:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Link:
        """The line over one end of a socket pair, which it owns from now on."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_LINE_BYTES)
        return cls(reader, writer)

    def say(self, **words: Any) -> None:
        """Send one object; silently nothing when the other side is gone (its end is seen by who listens)."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(words).encode() + b"\n")

    @property
    def is_behind(self) -> bool:
        """Whether the other side has yet to take what was said: it is stopped, or busy."""
        return self._writer.transport.get_write_buffer_size() > 0

    async def hear(self) -> AsyncIterator[dict[str, Any]]:
        """Every object of the other side, until it is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
