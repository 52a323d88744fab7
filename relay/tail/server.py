"""The receiver's end of transcripts: readers connect, say what they want, and are told.

Owns the readers and what each of them missed. A session never waits for a reader: what a slow one does not
take is left out and counted. Never makes an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import cast

from relay.tail.event import Direction, SessionEvent, encode
from relay.tail.sockets import listen, may_read, read_user
from relay.tail.wanted import WANTED_BYTES, Wanted, decode
from relay.timing import utc_now

#: Octets that wait for a reader; past them it misses events.
WAITING_BYTES = 1_048_576
#: Readers of one receiver at a time: each costs every event some microseconds.
READERS = 32
#: Seconds in which a reader says what it wants.
_ASK_SECONDS = 5.0


class Reader(asyncio.Protocol):
    """One reader, from its connection to its end."""

    def __init__(self, server: TailServer) -> None:
        self._server = server
        self._link: asyncio.Transport | None = None
        self._asked = b""
        self._is_full = False
        self._missed = 0
        self._timer: asyncio.TimerHandle | None = None
        #: The sessions that the reader wants; None until it has said so.
        self.wanted: Wanted | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let in the daemon's own user and root, and wait for what they want."""
        self._link = cast("asyncio.Transport", transport)
        try:
            allowed = may_read(read_user(transport.get_extra_info("socket").fileno()))
        except OSError:
            allowed = False
        if not allowed:
            self._link.abort()
            return
        self._link.set_write_buffer_limits(high=WAITING_BYTES, low=WAITING_BYTES // 4)
        self._timer = asyncio.get_running_loop().call_later(_ASK_SECONDS, self._link.abort)

    def data_received(self, data: bytes) -> None:
        """Take the line that says what is wanted. What comes after it says nothing."""
        if self.wanted is not None or self._link is None:
            return
        self._asked += data
        line, end, _ = self._asked.partition(b"\n")
        if not end and len(self._asked) <= WANTED_BYTES:
            return
        self._forget_timer()
        try:
            self.wanted = decode(line if end else b"")
        except ValueError:
            self._link.abort()
            return
        if self._server.join(self):
            self._link.write(b"\n")
        else:
            self._tell(f"{READERS} readers listen to this receiver already; end one of them")
            self._link.close()

    def send(self, line: bytes, *, events: int = 1) -> None:
        """Send a line of so many events, or count them as missed where the reader is too slow."""
        if self._link is None or self._is_full:
            self._missed += events
        else:
            self._link.write(line)

    def pause_writing(self) -> None:
        """Leave events out from now on: too many wait for this reader."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Tell the reader what it missed, and go on."""
        self._is_full = False
        missed, self._missed = self._missed, 0
        if missed:
            self._tell(f"{missed} events left out: they came faster than they were read")

    def _tell(self, line: str) -> None:
        event = SessionEvent(session="", at=self._server.now(), direction=Direction.MISSED, line=line)
        if self._link is not None:
            self._link.write(encode(event))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name for it
        """Forget the reader."""
        self._link = None
        self._forget_timer()
        self._server.leave(self)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """End the connection once what waits has been read, or at once if that takes long."""
        if self._link is not None:
            self._link.close()


class TailServer:
    """The socket of one receiver, and its readers."""

    def __init__(
        self,
        path: Path,
        *,
        on_join: Callable[[Reader], None],
        on_leave: Callable[[Reader], None],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._path = path
        self._on_join = on_join
        self._on_leave = on_leave
        self.now = now
        self._listening: asyncio.Server | None = None
        self._readers: set[Reader] = set()

    async def start(self) -> None:
        """Listen from now on.

        Raises:
            OSError: the socket cannot be made; sessions do without.
        """
        sock = listen(self._path)
        self._listening = await asyncio.get_running_loop().create_unix_server(lambda: Reader(self), sock=sock)

    def join(self, reader: Reader) -> bool:
        """Begin to tell a reader. Returns False where there are too many."""
        if len(self._readers) >= READERS:
            return False
        self._readers.add(reader)
        self._on_join(reader)
        return True

    def leave(self, reader: Reader) -> None:
        """Tell a reader no more."""
        if reader in self._readers:
            self._readers.discard(reader)
            self._on_leave(reader)

    def close(self) -> None:
        """Stop listening, and let all readers go."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            with suppress(OSError):
                self._path.unlink()
        for reader in tuple(self._readers):
            reader.close()
