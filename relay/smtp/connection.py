"""The octets of a connection, in and out, and its end.

Owns the socket: the buffer, back-pressure in both directions, the change to TLS, closing so that the last
words arrive; and the phase of the connection. Never knows a command: a `Reader`, the conversation, reads the
buffer and says what goes out.

A conversation answers within `data_received`, and the server's tick looks at its deadline: a connection has
no task, no stream reader and no timer. Nothing here cancels anything when the peer goes away.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from enum import Enum, auto
from typing import Protocol, cast

from relay.smtp.tap import Transcript
from relay.smtp.tls import send_alert

#: Octets that may wait in the buffer while something is worked on; past them the socket is not read.
BUFFER_BYTES = 65_536
#: Seconds that the last words may take to reach the peer, and the peer to close.
LINGER_SECONDS = 2.0
NEVER = float("inf")


class Phase(Enum):
    """The phase of a connection, which decides what becomes of the peer's octets."""

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
        """Begin the session of a peer that has connected, itself or through a proxy."""

    def received(self) -> None:
        """Read the octets that have come. In the phase CLOSING they are not in the buffer."""

    def proceed(self) -> None:
        """Read on: the peer reads our replies again, or other connections had their turn."""

    def ended(self) -> None:
        """Note that the peer will send no more."""

    def lost(self) -> None:
        """Note that the connection is closed."""


class _Nobody:
    """The reader of a connection that is closed: without it the two would refer to each other for ever."""

    def begin(self, link: asyncio.Transport, address: str, port: int) -> None:
        """Do nothing: there is nobody to talk to."""

    def received(self) -> None:
        """Do nothing."""

    proceed = ended = lost = received


_NOBODY = _Nobody()


class Connection(asyncio.Protocol):
    """One connection, and the reader of its octets."""

    __slots__ = (
        "_reader", "at", "buffer", "clogged", "ended", "heard_at", "link", "loop", "opened_at", "out", "paused", "phase",
        "secured", "transcript",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: Reader) -> None:
        self.loop = loop
        self._reader = reader
        self.phase = OPEN
        self.link: asyncio.Transport | None = None
        self.buffer = b""
        #: Octets of the buffer that have been read.
        self.at = 0
        self.out: list[bytes] = []
        #: Set while the peer does not read our replies.
        self.clogged = False
        #: Set when the peer will send no more.
        self.ended = False
        self.secured = False
        #: Set while the socket is not read.
        self.paused = False
        #: The transcript of the session; None while nobody listens.
        self.transcript: Transcript | None = None
        self.opened_at = self.heard_at = loop.time()

    @property
    def busy(self) -> bool:
        """Returns whether the connection waits for something that takes time."""
        return self.phase is WAITING or self.phase is HANDSHAKE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the session begin: a peer has connected."""
        name = transport.get_extra_info("peername") or ("unknown", 0)
        self._reader.begin(cast("asyncio.Transport", transport), str(name[0]), int(name[1]))

    def data_received(self, data: bytes) -> None:
        """Take octets of the peer into the buffer."""
        if self.phase is not CLOSING:
            self.heard_at = self.loop.time()
            self.buffer = self.buffer[self.at :] + data if self.at < len(self.buffer) else data
            self.at = 0
        self._reader.received()

    def eof_received(self) -> bool:
        """Note that the peer will send no more. Returns whether the connection stays open for the replies
        that it is still owed.
        """
        closing = self.phase is CLOSING
        self.ended = True
        self._reader.ended()
        # Under TLS the connection closes here whatever we say; in clear we may still answer.
        return not closing and not self.secured

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name for it
        """Note that the connection is closed, by the peer or by us."""
        reader, self._reader = self._reader, _NOBODY
        self.link = None
        self.phase = CLOSING
        reader.lost()

    def wait(self) -> None:
        """Leave the buffer alone until `go_on`."""
        if self.phase is not CLOSING:
            self.phase = WAITING

    def go_on(self) -> None:
        """Read the buffer again, unless the connection is closing."""
        if self.busy:
            self.phase = OPEN

    def give_way(self) -> None:
        """Let other connections have their turn before the buffer is read on."""
        self.wait()
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self.go_on()
        self._reader.proceed()

    def pause_writing(self) -> None:
        """Stop answering: the peer does not read its replies, and gets no more work done."""
        self.clogged = True
        self.pause()

    def resume_writing(self) -> None:
        """Go on answering: the peer reads again."""
        self.clogged = False
        self._reader.proceed()

    def flush(self) -> None:
        """Send the replies that wait, with one write."""
        out, link = self.out, self.link
        if out and link is not None:
            self.out = []
            if self.transcript is not None:
                self.transcript.said(out)
            link.write(out[0] if len(out) == 1 else b"".join(out))

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
        """Read the socket, or let the peer wait. With `full`, octets of a mail cannot be put anywhere yet."""
        crowded = len(self.buffer) - self.at > BUFFER_BYTES and (self.busy or self.clogged)
        if full or crowded:
            self.pause()
        elif self.paused and not self.clogged:
            self.resume()

    def close(self, *, linger: bool) -> None:
        """Close once the replies have gone out.

        When a socket is closed with octets unread, the kernel resets the connection, and the peer never sees
        our last words. Where the peer may still be sending, we end our side first, and drop its octets for a
        moment.
        """
        self.buffer, self.at = b"", 0
        link = self.link
        if link is not None and linger and not self.ended and link.can_write_eof():
            self.resume()
            self.phase = CLOSING
            try:
                link.write_eof()
            except OSError:  # the peer has reset the connection, and the loop has not seen it yet
                link.abort()
        elif link is not None:
            link.close()
        self.phase = CLOSING

    def cut(self) -> None:
        """Close at once, whatever waits to go out."""
        if self.link is not None:
            self.link.abort()

    def hold(self) -> None:
        """Forget the octets that came in clear behind STARTTLS (RFC 3207 §4.2), and leave those that come
        now to the handshake.
        """
        self.buffer, self.at = b"", 0
        self.pause()

    async def start_tls(self, context: ssl.SSLContext, *, handshake_seconds: float) -> ssl.SSLObject | None:
        """The connection under TLS. Returns None when it was closed meanwhile. Call `hold` first.

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
        # A peer may send much behind its last octets of the handshake, before we are told that the handshake
        # is over.
        self.resume()
        self.link = secured
        self.secured = True
        connection: ssl.SSLObject = secured.get_extra_info("ssl_object")
        return connection


def _replay(link: asyncio.Transport, early: bytes) -> None:
    """Give the handshake the octets that came before it listened.

    Where TLS begins with the first octet, uvloop may have read the client's hello before a task of ours could
    run.
    """
    listener = cast("asyncio.BufferedProtocol", link.get_protocol())
    while early:
        room = memoryview(listener.get_buffer(len(early)))
        taken = min(len(room), len(early))
        room[:taken] = early[:taken]
        listener.buffer_updated(taken)
        early = early[taken:]
