"""The line between the supervisor and a child: messages over a socket pair, one on each line.

Owns the framing and the two ends; the messages are in `messages`. The end of the line means that the other
side is gone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

from relay.daemon.messages import Message, decode, encode

#: Most octets of a line: a configuration of thousands of routes, or the metrics of a process.
_LINE_BYTES = 64 << 20


class Link:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Link:
        """Open the line over one end of a socket pair, which the line owns from now on."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_LINE_BYTES)
        return cls(reader, writer)

    def send(self, message: Message) -> None:
        """Send a message; nothing happens when the other side is gone, which the reader of
        `messages` sees.
        """
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    @property
    def is_behind(self) -> bool:
        """Returns whether the other side has yet to read what was sent: it is stopped, or busy."""
        return self._writer.transport.get_write_buffer_size() > 0

    async def messages(self) -> AsyncIterator[Message]:
        """Give every message of the other side, until that is gone. A line cut short is left out."""
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return
            if not line.endswith(b"\n"):
                return
            yield decode(line)

    def close(self) -> None:
        """Close the line."""
        self._writer.close()
