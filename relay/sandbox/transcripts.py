"""The transcripts of the last sessions with the sandbox's daemon, in memory.

Owns how the events of `relay.tail` become lines, and which session an entry came in by. Bounded in sessions
and in lines; nothing of a mail's content is in
them.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from relay.tail.event import Direction, SessionEvent
from relay.web.extras import SessionRow, Transcript, TranscriptLine

#: Sessions that are kept, the newest.
SESSIONS = 1_000
#: Lines of a session that are kept, its first.
LINES = 400
#: Characters of all lines of a session that are kept.
CHARACTERS = 65_536
#: The replies that end a mail: accepted with its id, or refused.
_QUEUED = re.compile(r"250 2\.0\.0 Ok: queued as ([0-9A-Z]+)")
_HELO = re.compile(r"(?:HELO|EHLO|LHLO) (\S{1,255})", re.IGNORECASE)
_REFUSED = re.compile(r"([45]\d\d)[ -]([45]\.\d{1,3}\.\d{1,3})?")
_SIDES: Mapping[Direction, Literal["peer", "relay", "note"]] = {
    Direction.IN: "peer",
    Direction.CONTENT: "peer",
    Direction.OUT: "relay",
}


@dataclass(slots=True)
class _Session:
    """A session under way or ended."""

    session_id: str
    opened_at: datetime
    peer: str
    seconds: float = 0.0
    helo: str = ""
    refusal: str = ""
    spool_ids: list[str] = field(default_factory=list)
    lines: list[TranscriptLine] = field(default_factory=list)
    is_over: bool = False
    left_out: int = 0
    characters: int = 0

    def row(self) -> SessionRow:
        """The session in the list."""
        return SessionRow(
            session_id=self.session_id,
            opened_at=self.opened_at,
            seconds=self.seconds,
            peer=self.peer,
            helo=self.helo,
            outcome=self._outcome(),
            references=tuple(self.spool_ids),  # a spool id names the first of its entries
        )

    def _outcome(self) -> str:
        mails = len(self.spool_ids)
        parts = [f"{mails} mail{'s' * (mails != 1)} accepted"] if mails else []
        parts += [f"refused: {self.refusal}"] if self.refusal else []
        parts += [] if self.is_over else ["under way"]
        return ", ".join(parts) or "no mail"


class Transcripts:
    """The sessions, newest last."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        #: The session of each spool id, of the sessions that are kept.
        self._by_spool_id: dict[str, str] = {}
        self._grown = asyncio.Condition()

    async def follow(self, events: AsyncIterator[SessionEvent]) -> None:
        """Keep what the events tell, until they end."""
        async for event in events:
            self.see(event)
            async with self._grown:
                self._grown.notify_all()

    def see(self, event: SessionEvent) -> None:
        """Keep one event."""
        session = self._find(event)
        if session is None:
            return
        session.seconds = max(session.seconds, event.seconds)
        session.is_over |= event.direction is Direction.CLOSED
        if event.direction is Direction.IN and (found := _HELO.match(event.line)):
            session.helo = found[1]
        if event.direction is Direction.OUT:
            self._read_reply(session, event.line)
        text = _tell(event)
        session.characters += len(text)
        if len(session.lines) < LINES and session.characters <= CHARACTERS:
            side = _SIDES.get(event.direction, "note")
            session.lines.append(TranscriptLine(seconds=event.seconds, side=side, text=text))
        else:
            session.left_out += 1

    def _find(self, event: SessionEvent) -> _Session | None:
        """The session of an event, which is made for its first one. Returns None for an event of none."""
        if not event.session:
            return None
        session = self._sessions.get(event.session)
        if session is None:
            session = self._sessions[event.session] = _Session(
                session_id=event.session, opened_at=event.at, peer=event.peer
            )
            if len(self._sessions) > SESSIONS:
                _, oldest = self._sessions.popitem(last=False)
                for spool_id in oldest.spool_ids:
                    self._by_spool_id.pop(spool_id, None)
        return session

    def _read_reply(self, session: _Session, line: str) -> None:
        if found := _QUEUED.match(line):
            session.spool_ids.append(found[1])
            self._by_spool_id[found[1]] = session.session_id
        elif found := _REFUSED.match(line):
            session.refusal = " ".join(filter(None, found.groups()))

    def rows(self) -> Sequence[SessionRow]:
        """The sessions, newest first."""
        return tuple(session.row() for session in reversed(self._sessions.values()))

    def get(self, session_id: str) -> Transcript | None:
        """The transcript of a session. Returns None if it is not kept any more."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        lines = list(session.lines)
        if session.left_out:
            text = f"{session.left_out} more lines are not kept"
            lines.append(TranscriptLine(seconds=session.seconds, side="note", text=text))
        return Transcript(session=session.row(), lines=tuple(lines))

    def of_entry(self, reference: str) -> Transcript | None:
        """The session that an entry came in by. Returns None if it is not kept."""
        return self.get(self._by_spool_id.get(reference.partition(".")[0], ""))

    async def until_over(self, helo: str, seconds: float) -> str:
        """Wait until the session of this HELO name has ended, so long at most. Returns its id; "" if it has
        not.
        """
        try:
            async with asyncio.timeout(seconds), self._grown:
                while not (found := self._over(helo)):
                    await self._grown.wait()
                return found
        except TimeoutError:
            return ""

    def _over(self, helo: str) -> str:
        sessions = reversed(self._sessions.values())
        return next((each.session_id for each in sessions if each.helo == helo and each.is_over), "")


def _tell(event: SessionEvent) -> str:
    """The text of a line; an event that says nothing itself is told by its kind."""
    return event.line if event.direction in (Direction.IN, Direction.OUT) else event.line or event.direction


@asynccontextmanager
async def following(
    transcripts: Transcripts, opening: Callable[[], AbstractAsyncContextManager[AsyncIterator[SessionEvent]]]
) -> AsyncIterator[None]:
    """A block in which the sessions of a daemon are kept."""
    async with opening() as events:
        task = asyncio.create_task(transcripts.follow(events))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
