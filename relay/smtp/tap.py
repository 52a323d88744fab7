"""Transcripts of sessions, for as long as somebody listens (`relay.tail`).

Owns the making of events, and the memory of what a session said before its first RCPT for a wanted recipient.
While nobody listens there is no transcript, and a session pays for a comparison with None. Never makes a
session wait: a reader that is slow misses events.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from relay.smtp.session import Session
from relay.smtp.shown import count_octets, read_recipient, show_command, show_text
from relay.tail.event import Direction, SessionEvent, encode
from relay.tail.wanted import Wanted
from relay.timing import utc_now

#: Octets of events that are remembered of one session, and of all sessions of a receiver, until a RCPT says
#: whether they are wanted. An event has some 300: fifty of each of a thousand sessions.
SESSION_BYTES = 16_384
ALL_BYTES = 16_777_216
_NUMBERS = itertools.count(1)


class Reader(Protocol):
    """Somebody who listens."""

    @property
    def wanted(self) -> Wanted | None:
        """The sessions that are wanted; None before that was said."""

    def send(self, line: bytes, *, events: int = 1) -> None:
        """Send a line of so many events, or leave them out."""


class Tap:
    """The readers of one receiver, and what they share."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now: Callable[[], datetime] = utc_now
        self.readers: list[Reader] = []
        #: Octets of events that all sessions remember.
        self.remembered = 0
        #: True if some reader waits for a RCPT.
        self.asks_recipients = False

    def join(self, reader: Reader) -> None:
        """Tell a reader the events that come."""
        self.readers.append(reader)
        self._look()

    def leave(self, reader: Reader) -> None:
        """Tell a reader no more."""
        self.readers.remove(reader)
        self._look()

    def _look(self) -> None:
        wanted = [reader.wanted for reader in self.readers]
        self.asks_recipients = any(each is not None and each.recipients for each in wanted)


class Transcript:
    """The transcript of one session."""

    __slots__ = (
        "_forgotten", "_matched", "_memory", "_name", "_opened_at", "_remembered", "_session", "_tap",
    )  # fmt: skip

    def __init__(self, tap: Tap, session: Session, *, opened_at: float) -> None:
        self._tap = tap
        self._session = session
        self._name = f"{os.getpid()}.{next(_NUMBERS)}"
        self._opened_at = opened_at
        #: The events so far, while a reader waits for a RCPT.
        self._memory: list[bytes] = []
        self._remembered = 0
        #: Events that found no room in the memory.
        self._forgotten = 0
        #: The readers that wait for a RCPT, and have had theirs.
        self._matched: set[Reader] = set()

    def begin(self, *, is_new: bool) -> None:
        """Tell that the session is here; it may have begun before anybody listened, and have recipients."""
        self._tell(Direction.OPENED, "" if is_new else "began before this transcript", seconds=0.0)
        if self._tap.asks_recipients and (transaction := self._session.transaction) is not None:
            for path in transaction.forward_paths:
                self._match(path.address)

    def heard(self, line: bytes, *, is_secret: bool) -> None:
        """Tell a line of the peer, without its LF."""
        line = line.removesuffix(b"\r")
        self._tell(Direction.IN, show_command(line, is_secret=is_secret))
        if self._tap.asks_recipients and (address := read_recipient(line)) is not None:
            self._match(address)

    def said(self, replies: Collection[bytes]) -> None:
        """Tell the replies that go out now, each with its line ends."""
        for octets in replies:
            for line in octets.split(b"\r\n")[:-1]:
                self._tell(Direction.OUT, show_text(line))

    def carried(self, octets: int) -> None:
        """Tell that so many octets of a mail have come, its end or that of its last chunk among them."""
        self._tell(Direction.CONTENT, count_octets(octets))

    def secured(self, why: str = "") -> None:
        """Tell that TLS is up, or why it is not."""
        self._tell(Direction.TLS, why or self._session.peer_state.tls or "")

    def close(self, why: str) -> None:
        """Tell that the session has ended."""
        self._tell(Direction.CLOSED, why)
        self.forget()

    def forget(self) -> None:
        """Give the room of the memory back."""
        self._tap.remembered -= self._remembered
        self._memory, self._remembered = [], 0

    def _tell(self, direction: Direction, line: str, *, seconds: float | None = None) -> None:
        """Send an event to all who want it, and remember it for those who wait for a RCPT."""
        tap, peer = self._tap, self._session.peer_state
        at, passed = tap.now(), tap.loop.time() - self._opened_at
        if seconds is not None:
            at, passed = at - timedelta(seconds=passed - seconds), seconds
        octets = encode(
            SessionEvent(
                session=self._name,
                at=at,
                direction=direction,
                line=line,
                peer=peer.address,
                listener=self._session.settings.bind,
                tls=peer.tls or "",
                seconds=round(passed, 6),
            )
        )
        for reader in tap.readers:
            if self._is_for(reader):
                reader.send(octets)
        if tap.asks_recipients:
            self._remember(octets)

    def _is_for(self, reader: Reader) -> bool:
        wanted = reader.wanted
        if wanted is None or not wanted.has_peer(self._session.peer_state.address):
            return False
        return not wanted.recipients or reader in self._matched

    def _remember(self, octets: bytes) -> None:
        size = len(octets)
        if self._remembered + size > SESSION_BYTES or self._tap.remembered + size > ALL_BYTES:
            self._forgotten += 1
            return
        self._memory.append(octets)
        self._remembered += size
        self._tap.remembered += size

    def _match(self, address: str) -> None:
        """Show the session from its beginning to those who have waited for this recipient."""
        for reader in self._tap.readers:
            wanted = reader.wanted
            if wanted is None or not wanted.recipients or reader in self._matched:
                continue
            if wanted.has_recipient(address):
                self._matched.add(reader)
                if self._is_for(reader):
                    self._show_memory(reader)

    def _show_memory(self, reader: Reader) -> None:
        memory: Sequence[bytes] = self._memory
        if memory:
            reader.send(b"".join(memory), events=len(memory))
        if self._forgotten:
            line = f"{self._forgotten} events of this session left out: they were too many to remember"
            event = SessionEvent(
                session=self._name, at=self._tap.now(), direction=Direction.MISSED, line=line
            )
            reader.send(encode(event))


def begin_transcript(
    session: Session, tap: Tap | None, opened_at: float, *, is_new: bool
) -> Transcript | None:
    """The transcript of a session that began at that instant of the loop's clock. Returns None where nobody
    listens.
    """
    if tap is None:
        return None
    transcript = Transcript(tap, session, opened_at=opened_at)
    transcript.begin(is_new=is_new)
    return transcript
