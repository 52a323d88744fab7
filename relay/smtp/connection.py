"""A connection's octets, in and out, and its end.

Owns the socket: the buffer, back-pressure in both directions, the change to TLS, closing so that the last words arrive;
and the phase of the connection. Never knows a command: a `Reader`, the conversation, reads the buffer and says what
goes out.

A conversation answers within `data_received`, and the server's tick looks at its deadline: there is no task, no stream
reader and no timer for a connection. Nothing here cancels anything when the peer goes away.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from enum import Enum, auto
from typing import Protocol, cast

from relay.smtp.tls import send_alert

#: How much may wait in the buffer while something is worked on; past it the socket is not read.
BUFFER_BYTES = 65_536
#: How long the last words may take to reach the peer, and the peer to close.
LINGER_SECONDS = 2.0
NEVER = float("inf")


class Phase(Enum):
    """The phase of a connection: what happens to octets of the peer."""

    #: Before the greeting: the peer must not speak.
    QUIET = auto()
    #: The buffer is read as it fills.
    OPEN = auto()
    #: The buffer waits for something that takes time: a password, a commit, a handler.
    WAITING = auto()
    #: Octets are those of a TLS handshake.
    HANDSHAKE = auto()
    #: The last word was said: nothing is read any more.
    CLOSING = auto()


# An attribute of an enumeration is looked up slowly, and each command asks for the phase some times.
OPEN, WAITING, HANDSHAKE, CLOSING = Phase.OPEN, Phase.WAITING, Phase.HANDSHAKE, Phase.CLOSING


class Reader(Protocol):
    """The reader of a connection's buffer, who says what goes out."""

    def begin(self, link: asyncio.Transport, address: str, port: int) -> None:
        """A peer has connected, or a proxy has for it."""

    def received(self) -> None:
        """The peer has sent octets; in the phase CLOSING they are not in the buffer."""

    def proceed(self) -> None:
        """The buffer can be read on: the peer reads our replies again, or others had their turn."""

    def ended(self) -> None:
        """The peer will send no more."""

    def lost(self) -> None:
        """The connection is closed."""


class _Nobody:
    """The reader of a connection that is closed: without it the two would refer to each other for ever."""

    def begin(self, link: asyncio.Transport, address: str, port: int) -> None:
        """Do nothing: there is nobody to talk to."""

    def received(self) -> None:
        """Do nothing."""

    proceed = ended = lost = received


_NOBODY = _Nobody()


class Connection(asyncio.Protocol):
    """One connection, and the reader of what comes in."""

    __slots__ = (
        "_reader", "at", "buffer", "clogged", "ended", "heard_at", "link", "loop", "opened_at", "out", "paused", "phase",
        "secured",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: Reader) -> None:
        self.loop = loop
        self._reader = reader
        self.phase = OPEN
        self.link: asyncio.Transport | None = None
        self.buffer = b""
        #: How much of the buffer has been read.
        self.at = 0
        self.out: list[bytes] = []
        #: The peer does not read our replies.
        self.clogged = False
        #: The peer will send no more.
        self.ended = False
        self.secured = False
        #: The socket is not read.
        self.paused = False
        self.opened_at = self.heard_at = loop.time()

    @property
    def busy(self) -> bool:
        """Whether something is waited for."""
        return self.phase is WAITING or self.phase is HANDSHAKE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        name = transport.get_extra_info("peername") or ("unknown", 0)
        self._reader.begin(cast("asyncio.Transport", transport), str(name[0]), int(name[1]))

    def data_received(self, data: bytes) -> None:
        """The peer has sent octets."""
        if self.phase is not CLOSING:
            self.heard_at = self.loop.time()
            self.buffer = self.buffer[self.at :] + data if self.at < len(self.buffer) else data
            self.at = 0
        self._reader.received()

    def eof_received(self) -> bool:
        """The peer will send no more: the answer that it is owed it still gets."""
        closing = self.phase is CLOSING
        self.ended = True
        self._reader.ended()
        # Under TLS the connection closes here whatever we say; in clear we may still answer.
        return not closing and not self.secured

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name for it
        """The connection is closed, by the peer or by us."""
        reader, self._reader = self._reader, _NOBODY
        self.link = None
        self.phase = CLOSING
        reader.lost()

    def wait(self) -> None:
        """Leave the buffer alone until `go_on`."""
        if self.phase is not CLOSING:
            self.phase = WAITING

    def go_on(self) -> None:
        """Read the buffer again, where the connection is not closing."""
        if self.busy:
            self.phase = OPEN

    def give_way(self) -> None:
        """Let the other connections have their turn before the buffer is read on."""
        self.wait()
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self.go_on()
        self._reader.proceed()

    def pause_writing(self) -> None:
        """The peer does not read its answers: it gets no more work done either."""
        self.clogged = True
        self.pause()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.clogged = False
        self._reader.proceed()

    def flush(self) -> None:
        """Send the replies that wait, with one write."""
        out, link = self.out, self.link
        if out and link is not None:
            octets = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            link.write(octets)

    def pause(self) -> None:
        """Let the peer wait: the kernel's buffer fills, then the peer's."""
        if not self.paused and self.link is not None and self.phase is not CLOSING:
            self.paused = True
            self.link.pause_reading()

    def resume(self) -> None:
        """Read the socket again."""
        if self.paused and self.link is not None:
            self.paused = False
            self.link.resume_reading()

    def regulate(self, *, full: bool) -> None:
        """Read the socket or let the peer wait; `full` when octets of a mail cannot be put anywhere yet."""
        crowded = len(self.buffer) - self.at > BUFFER_BYTES and (self.busy or self.clogged)
        if full or crowded:
            self.pause()
        elif self.paused and not self.clogged:
            self.resume()

    def close(self, *, linger: bool) -> None:
        """Close once the replies have gone out.

        Closing with octets unread makes the kernel reset the connection, and the peer never sees our last words:
        where it may be sending still, we stop speaking, and listen to nothing for a moment.
        """
        self.buffer, self.at = b"", 0
        link = self.link
        if link is not None and linger and not self.ended and link.can_write_eof():
            self.resume()
            self.phase = CLOSING
            link.write_eof()
        elif link is not None:
            link.close()
        self.phase = CLOSING

    def cut(self) -> None:
        """Close at once, whatever waits to go out."""
        if self.link is not None:
            self.link.abort()

    def hold(self) -> None:
        """Forget what came in clear behind STARTTLS (RFC 3207 §4.2), and leave what comes now to the handshake."""
        self.buffer, self.at = b"", 0
        self.pause()

    async def start_tls(self, context: ssl.SSLContext, *, handshake_seconds: float) -> ssl.SSLObject | None:
        """The connection under TLS; None when it was closed meanwhile. Call `hold` first.

        Raises:
            OSError: the handshake broke, or took too long.
        """
        link = self.link
        if link is None:
            return None
        spare = os.dup(link.get_extra_info("socket").fileno())  # the loop closes its own before it tells us
        early, self.buffer, self.at = self.buffer[self.at :], b"", 0
        if early:
            self.loop.call_soon(self.loop.call_soon, _replay, link, early)  # once the handshake listens
        try:
            secured = await self.loop.start_tls(
                link, self, context, server_side=True,
                ssl_handshake_timeout=handshake_seconds, ssl_shutdown_timeout=LINGER_SECONDS,
            )  # fmt: skip
        except OSError as exc:
            send_alert(exc, spare)
            raise
        finally:
            os.close(spare)
        if secured is None or self.phase is CLOSING or self.link is None:
            link.abort()
            return None
        # A peer that sends much behind its last word of the handshake is heard before we are told that it is over.
        self.resume()
        self.link = secured
        self.secured = True
        connection: ssl.SSLObject = secured.get_extra_info("ssl_object")
        return connection


def _replay(link: asyncio.Transport, early: bytes) -> None:
    """Give the handshake the octets that came before it listened.

    Where TLS begins with the first octet, uvloop may have read the client's hello before a task of ours could run.
    """
    listener = cast("asyncio.BufferedProtocol", link.get_protocol())
    while early:
        room = memoryview(listener.get_buffer(len(early)))
        taken = min(len(room), len(early))
        room[:taken] = early[:taken]
        listener.buffer_updated(taken)
        early = early[taken:]
