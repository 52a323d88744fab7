"""The parts of the page that only the sandbox has (`Extras`): transcripts, mails to try, faults, files.

Owns how each of them comes from the sandbox's services. Never starts one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from relay.sandbox.node_rows import NodeRows
from relay.sandbox.transcripts import Transcripts
from relay.sandbox.tricks import WORDS
from relay.sandbox.trying import build_mails, send
from relay.sandbox.view import SandboxView
from relay.web.extras import (
    ContactFile,
    Fault,
    NodeChange,
    NodeRow,
    SessionRow,
    Transcript,
    Tried,
    TryMail,
)

#: Seconds for which a try waits for its transcript.
_TRANSCRIPT_SECONDS = 2.0
#: The words of each fault; docs/sandbox.md has the table.
_FAULTS = {
    "connect.throttle": "Connect: share of calls answered 429",
    "connect.error": "Connect: share of calls answered 500",
    "connect.latency_seconds": "Connect: seconds added to each call",
    "connect.lose_reply": "Connect: share of calls whose work is done, and whose reply is lost",
    "connect.deny": "Connect: share of other calls than StartEmailContact answered 403",
    "s3.error": "S3: share of calls answered 500",
    "s3.latency_seconds": "S3: seconds added to each call",
    "s3.refuse": "S3: share of connections dropped unanswered; at 1 its port is closed",
    "s3.lose_reply": "S3: share of calls whose work is done, and whose reply is lost",
}


class SandboxExtras:
    """A sandbox as its page sees it."""

    def __init__(
        self,
        box: SandboxView,
        transcripts: Transcripts,
        *,
        recipients: Sequence[str],
        now: Callable[[], datetime],
        nodes: NodeRows | None = None,
    ) -> None:
        """`recipients` are addresses that the daemon takes, the most ordinary one first; `nodes` are those of
        a fleet.
        """
        self._nodes = nodes
        self._box = box
        self._transcripts = transcripts
        self._recipients = tuple(recipients)
        self._now = now

    @property
    def smtp(self) -> str:
        """The address where the daemon listens; in a fleet that of the first node that runs."""
        running = self._box.nodes.running() if self._box.nodes else []
        return running[0].smtp if running else self._box.smtp

    @property
    def has_nodes(self) -> bool:
        """Returns whether it is a fleet."""
        return self._nodes is not None

    async def nodes(self) -> Sequence[NodeRow]:
        """The nodes of the fleet."""
        return () if self._nodes is None else await self._nodes.list()

    async def change_node(self, name: str, change: NodeChange) -> str:
        """Kill or start a node. Returns what was done, as a sentence.

        Raises:
            ValueError: there is no such node.
        """
        if self._nodes is None:
            raise ValueError("There is one daemon here, and no fleet.")
        return await (self._nodes.kill(name) if change == "kill" else self._nodes.start(name))

    @property
    def http_url(self) -> str:
        """The address of the page."""
        return self._box.http_url

    def recipients(self) -> Sequence[tuple[str, str]]:
        """Addresses to mail to, each with the words of what happens to its mail."""
        plain = [(address, "becomes a contact") for address in self._recipients]
        local, _, domain = self._recipients[0].rpartition("@")
        return (*plain, *((f"{local}+{trick}@{domain}", words) for trick, words in WORDS.items()))

    async def transcripts(self) -> Sequence[SessionRow]:
        """The last sessions, newest first."""
        return self._transcripts.rows()

    async def transcript(self, session_id: str) -> Transcript | None:
        """The transcript of a session. Returns None if it is not kept any more."""
        return self._transcripts.get(session_id)

    async def transcript_of(self, reference: str) -> Transcript | None:
        """The session that an entry came in by. None if it is not there any more."""
        return self._transcripts.of_entry(reference)

    async def try_mail(self, mail: TryMail) -> Tried:
        """Send a mail through the daemon's door.

        Raises:
            ValueError: a field cannot be sent.
        """
        mails = await asyncio.to_thread(build_mails, mail, now=self._now())
        smtp = self._box.nodes.next_smtp() if self._box.nodes else self._box.smtp
        if not smtp:
            raise ValueError("No node runs; start one.")
        sent = await asyncio.to_thread(send, smtp, mail.sender, mail.recipient, mails)
        return Tried(
            accepted=sent.accepted,
            reply=sent.reply,
            references=sent.spool_ids,  # a spool id names the first of its entries
            session_id=await self._transcripts.until_over(sent.helo, _TRANSCRIPT_SECONDS),
        )

    async def faults(self) -> Sequence[Fault]:
        """The faults, those that are not in force too."""
        tables = self._box.chaos()
        return tuple(
            Fault(
                name=name,
                words=words,
                kind="seconds" if name.endswith("_seconds") else "share",
                value=f"{tables[table][fault]:g}",
            )
            for name, words in _FAULTS.items()
            for table, _, fault in (name.partition("."),)
        )

    async def set_faults(self, values: Mapping[str, str]) -> None:
        """Set faults by name; one that is not named ends.

        Raises:
            ValueError: a value is not right.
        """
        tables: dict[str, dict[str, float]] = {"connect": {}, "s3": {}}
        for name, value in values.items():
            table, _, fault = name.partition(".")
            if name not in _FAULTS:
                raise ValueError(f'"{name}" is no fault')
            try:
                tables[table][fault] = float(value or 0)
            except ValueError:
                raise ValueError(f'"{name}" must be a number') from None
        await self._box.set_chaos(tables)

    async def contact_files(self, contact_id: str) -> Sequence[ContactFile]:
        """The files of a contact in the order of its request; empty where there is no such contact."""
        contact = self._box.book.get(contact_id)
        return tuple(
            ContactFile(
                name=file.name, size=file.size, sha256=file.sha256 or "", state=file.state, error=file.error
            )
            for file in (contact.attachments if contact is not None else ())
        )
