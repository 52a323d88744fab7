"""The extras of a sandbox over values."""

from __future__ import annotations

from page_values import AT

from relay.web.extras import ContactFile, Fault, NodeRow, SessionRow, Transcript, TranscriptLine, Tried


class ValueExtras:
    """A sandbox whose every word is one that a test gives."""

    smtp = "127.0.0.1:2525"
    http_url = "http://127.0.0.1:8025"
    has_nodes = True

    def __init__(self, word="word"):
        self.word = word
        self.session = SessionRow(
            session_id="1", opened_at=AT, seconds=1.5, peer=word, helo=word, outcome=word, references=("a.1",)
        )
        self.changed = []
        self.tried = []
        self.set = []

    def recipients(self):
        return (("support@example.com", self.word), (self.word, self.word))

    async def transcripts(self):
        return [self.session]

    async def transcript(self, session_id):
        if session_id != "1":
            return None
        sides = ("peer", "relay", "note")
        return Transcript(
            session=self.session,
            lines=tuple(TranscriptLine(seconds=1.0, side=side, text=self.word) for side in sides),
        )

    async def transcript_of(self, reference):
        return await self.transcript("1")

    async def try_mail(self, mail):
        if "@" not in mail.recipient:
            raise ValueError(f"The recipient {mail.recipient!r} is no address.")
        self.tried.append(mail)
        return Tried(accepted=True, reply=f"250 {self.word}", references=("a.1",), session_id="1")

    async def faults(self):
        return [
            Fault(name=f"{kind}.fault", words=self.word, kind=kind, value=value)
            for kind, value in (("share", "0.5"), ("switch", "on"), ("seconds", "2"))
        ]

    async def set_faults(self, values):
        if values.get("share.fault") == "2":
            raise ValueError("share.fault is from 0 to 1.")
        self.set.append(dict(values))

    async def nodes(self):
        return [
            NodeRow(
                name=self.word if life == "ended" else life, smtp=self.word, life=life, leads=life == "running",
                accepted=3, delivered=2, kills=1, trouble=self.word if life == "ended" else "",
            )
            for life in ("running", "killed", "starting", "ended")
        ]  # fmt: skip

    async def change_node(self, name, change):
        if name not in ("running", "killed"):
            raise ValueError(f"{name!r} is no node.")
        self.changed.append((name, change))
        return f"{name} {change}"

    async def contact_files(self, contact_id):
        return [ContactFile(name=self.word, size=1, sha256=self.word, state="available")]
