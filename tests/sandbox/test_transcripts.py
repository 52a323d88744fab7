"""The transcripts of the sandbox: which lines make a session, and how many are kept."""

from __future__ import annotations

from datetime import UTC, datetime

from relay.sandbox.transcripts import CHARACTERS, LINES, SESSIONS, Transcripts
from relay.tail.event import Direction, SessionEvent

AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def event(session, direction, line="", seconds=0.0):
    return SessionEvent(
        session=session, at=AT, direction=direction, line=line, peer="192.0.2.1", seconds=seconds
    )


def session(transcripts, name, *replies, helo="mx.example"):
    transcripts.see(event(name, Direction.OPENED))
    transcripts.see(event(name, Direction.IN, f"EHLO {helo}"))
    for reply in replies:
        transcripts.see(event(name, Direction.CONTENT, "[10 octets]"))
        transcripts.see(event(name, Direction.OUT, reply, 0.5))


def test_session_is_told_by_its_end():
    """A row has the name, the time and the outcome, and an entry leads to its session."""
    transcripts = Transcripts()
    session(
        transcripts, "1.1", "250 2.0.0 Ok: queued as 0ABC", "250 2.0.0 Ok: queued as 0DEF", "550 5.1.1 Gone"
    )
    assert transcripts.rows()[0].outcome == "2 mails accepted, refused: 550 5.1.1, under way"
    transcripts.see(event("1.1", Direction.CLOSED, "the peer said QUIT", 0.75))
    session(transcripts, "1.2", "250 2.0.0 Ok: queued as 0GHI")
    newest, oldest = transcripts.rows()
    assert (oldest.outcome, oldest.helo, oldest.seconds) == (
        "2 mails accepted, refused: 550 5.1.1",
        "mx.example",
        0.75,
    )
    assert oldest.references == ("0ABC", "0DEF")
    assert newest.session_id == transcripts.of_entry("0GHI.7").session.session_id == "1.2"
    assert transcripts.of_entry("0XYZ.1") is None
    assert [line.side for line in transcripts.get("1.1").lines[:4]] == ["note", "peer", "peer", "relay"]


def test_transcripts_are_bounded():
    """The last thousand sessions are kept, and the first lines of each; what is left out is counted."""
    transcripts = Transcripts()
    for number in range(SESSIONS + 5):
        session(transcripts, f"1.{number}", f"250 2.0.0 Ok: queued as 0{number}")
    assert len(transcripts.rows()) == SESSIONS
    assert transcripts.get("1.4") is None
    assert transcripts.of_entry("04") is None
    assert len(transcripts._by_spool_id) == SESSIONS
    for _ in range(LINES + 10):
        transcripts.see(event("1.1000", Direction.IN, "NOOP"))
    lines = transcripts.get("1.1000").lines
    assert len(lines) == LINES + 1
    assert lines[-1].text == "14 more lines are not kept"
    for _ in range(200):
        transcripts.see(event("1.1001", Direction.IN, "x" * 1_000))
    assert sum(len(line.text) for line in transcripts.get("1.1001").lines) <= CHARACTERS + 100


def test_event_of_no_session_is_left_out():
    """A receiver that tells what a reader missed names no session."""
    transcripts = Transcripts()
    transcripts.see(event("", Direction.MISSED, "5 events left out"))
    assert transcripts.rows() == ()
