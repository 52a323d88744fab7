"""The wire: one connection's octets, in and out, and its end.

Owns what of aiosmtpd's protocol class is about the socket: the buffer, back-pressure in both directions, the change
to TLS, closing so that the last words arrive. Never knows a command.

aiosmtpd's own `__init__`, stream reader and timer are not used (measured: 156 µs of set-up a connection, one await
a line, one timer re-armed a command): a subclass answers within `data_received`, and the station's tick looks at
`deadline`. Nothing here cancels anything when the peer goes away.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP

from relay.smtp.server import Server
from relay.smtp.tls import send_alert

#: What may wait in the buffer while something is worked on; past it the socket is not read.
BUFFER_BYTES = 65_536
#: How long the last words may take to reach the peer, and the peer to close.
LINGER_SECONDS = 2.0
NEVER = float("inf")


class Connection(SMTP):
    """A connection; subclasses say what its octets mean in `pump`."""

    def __init__(self, server: Server) -> None:
        # aiosmtpd's and StreamReaderProtocol's own set-up is skipped on purpose: see the module's docstring.
        # All attributes, here or in the subclasses, and never more than 30: past that each look at one is a search.
        self.loop = server.loop
        self.server = server
        #: On the loop's clock; past it `expire` is called.
        self.deadline = NEVER
        self.link: asyncio.Transport | None = None
        self.buffer = b""
        #: How much of the buffer is done with.
        self.at = 0
        self.out: list[bytes] = []
        #: Something is waited for: the buffer is not looked at.
        self.busy = False
        #: The peer does not read what we say.
        self.clogged = False
        #: The peer will send no more.
        self.ended = False
        #: We will say no more.
        self.closing = False
        self.secured = False
        #: We do not read what the peer says.
        self.paused = False
        self.opened_at = self.heard_at = self.loop.time()

    def pump(self) -> None:
        """Go through what the buffer holds, as far as it goes without waiting."""
        raise NotImplementedError

    def closes(self) -> None:
        """The connection is about to be closed by us."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The peer will send no more: what it is owed an answer for, it still gets."""
        self.ended = True
        if self.closing:
            return False
        if not self.busy:
            self.close(linger=False)
        # Under TLS the connection closes here whatever we say; in clear we may still answer.
        return not self.secured

    def give_way(self) -> None:
        """Let the other connections have their turn before the buffer is looked at again."""
        self.busy = True
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self.busy = False
        self.pump()

    def pause_writing(self) -> None:
        """The peer does not read its answers: it gets no more work done either."""
        self.clogged = True
        self.pause()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.clogged = False
        self.pump()

    def flush(self) -> None:
        """Send what was said, with one write."""
        if self.out and self.link is not None:
            octets = b"".join(self.out) if len(self.out) > 1 else self.out[0]
            self.out.clear()
            self.link.write(octets)

    def pause(self) -> None:
        """Let the peer wait: the kernel's buffer fills, then the peer's."""
        if not self.paused and self.link is not None and not self.closing:
            self.paused = True
            self.link.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.paused and self.link is not None:
            self.paused = False
            self.link.resume_reading()

    def regulate(self, *, full: bool) -> None:
        """Read on, or let the peer wait: `full` when what it sends cannot be put anywhere yet."""
        crowded = (self.busy or self.clogged) and len(self.buffer) - self.at > BUFFER_BYTES
        if full or crowded:
            self.pause()
        elif not self.clogged:
            self.resume()

    def close(self, *, linger: bool) -> None:
        """Close once what was said has gone out.

        Closing with octets unread makes the kernel reset the connection, and the peer never sees our last words:
        where it may be sending still, we stop speaking, and listen to nothing for a moment.
        """
        self.closes()
        self.buffer, self.at = b"", 0
        self.deadline = self.loop.time() + LINGER_SECONDS
        link = self.link
        if link is not None and linger and not self.ended and link.can_write_eof():
            self.resume()
            self.closing = True
            link.write_eof()
        elif link is not None:
            link.close()
        self.closing = True

    def cut(self) -> None:
        """Close at once, whatever was said."""
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
        self.deadline = NEVER  # the handshake has its own
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
        if secured is None or self.closing or self.link is None:
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
