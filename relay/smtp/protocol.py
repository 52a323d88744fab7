"""A conversation: octets to commands and content, answers to octets.

Owns the reading of lines and content in chunks, the waits for what takes time (a password, a block of a large
mail, a handler, the commit), and a session's beginning and end on its connection. `session` decides the
replies, `transfer` the fate of a mail. Commands are answered as they arrive, a whole pipelined group with one
write (RFC 2920).
"""

from __future__ import annotations

import asyncio

from relay import replies, telemetry
from relay.envelope import SpoolId
from relay.logins.users import Credentials
from relay.networks import normalise_peer
from relay.smtp.actions import Answer, AskHandlers, Delayed, Hangup, StartChunk, StartData, StartTls
from relay.smtp.admission import Admission
from relay.smtp.auth import AUTH_LINE
from relay.smtp.connection import CLOSING, HANDSHAKE, LINGER_SECONDS, NEVER, OPEN, Connection, Phase
from relay.smtp.data import TRIM, ChunkReader, DataReader
from relay.smtp.handlers import HandlerSession
from relay.smtp.handshake import Handshake, make_handshake
from relay.smtp.late_answers import LateAnswers
from relay.smtp.refused import refuse
from relay.smtp.server import Server
from relay.smtp.session import Session
from relay.smtp.settings import ListenerSettings
from relay.smtp.tap import Tap, begin_transcript
from relay.smtp.transfer import Transfer, answer_chunk
from relay.vocabulary import Reply

#: Octets past which a line without an end is dropped. The longest line is "AUTH PLAIN " with its 12,288
#: octets (RFC 4954 §4).
_LINE_BYTES = AUTH_LINE + 64
#: Commands that are answered at one go. One read of a socket may hold tens of thousands, which would take a
#: tenth of a second.
_TURNS = 32


class Conversation:
    """One session on its connection."""

    __slots__ = (
        "_admission", "_handlers", "_server", "_session", "_settings", "_sink", "_skipping", "_unconfirmed", "connection", "transfer", "why",
    )  # fmt: skip

    def __init__(self, settings: ListenerSettings, server: Server) -> None:
        self._settings = settings
        self._server = server
        self.connection = Connection(server.loop, self)
        self._admission = Admission(settings, server, self)
        self._session: Session
        #: The operator's handlers, as this session has them; None where the configuration names none.
        self._handlers: HandlerSession | None = None
        self._sink: DataReader | ChunkReader | None = None
        #: The mail that is on its way in; None between mails.
        self.transfer: Transfer | None = None
        self._unconfirmed: SpoolId | None = None
        self._skipping = False  # set in a line without an end
        #: The reason for the end of the session, as the log has it.
        self.why = "peer closed"

    @property
    def in_content(self) -> bool:
        """Returns whether the peer is sending a mail's data, and not commands."""
        return self._sink is not None

    @property
    def in_transaction(self) -> bool:
        """Returns whether a transaction has begun by MAIL and has not ended."""
        return self._session.transaction is not None

    # -- the beginning -------------------------------------------------------------------------------------

    def begin(
        self, link: asyncio.Transport, address: str, port: int, tls: str | None = None, front_end: str = ""
    ) -> None:
        """Greet the peer that has connected (RFC 5321 §3.1), whose `tls` a proxy may have ended."""
        settings, server, connection = self._settings, self._server, self.connection
        connection.link = link
        address = normalise_peer(address)
        self._session = Session(
            settings=settings, shared=server.shared, address=address, port=port, tls=tls, front_end=front_end
        )
        if settings.hooks is not None:
            self._handlers = HandlerSession(settings.hooks, server.loop)
        telemetry.session_opened(peer=address, listener=settings.bind)
        if server.tap is not None:
            self.listen(server.tap, is_new=True)
        refusal = self._admission.admit(address)
        if refusal is not None:
            self.hang_up(refusal, linger=False)
            self._admission.free()  # hundreds may be sent away before the loop sees the first one closed
        elif settings.listener.tls == "implicit":
            self._start_handshake()
        elif settings.limits.early_talker_seconds and not settings.trusted:
            connection.phase = Phase.QUIET
            connection.loop.call_later(settings.limits.early_talker_seconds, self._greet)
        else:
            self._greet()

    def listen(self, tap: Tap | None, *, is_new: bool = False) -> None:
        """Begin a transcript of this session, or end it."""
        start = self.connection.opened_at
        self.connection.transcript = begin_transcript(self._session, tap, start, is_new=is_new)

    def _greet(self) -> None:
        connection = self.connection
        if connection.phase is not CLOSING:
            if connection.phase is Phase.QUIET:
                connection.phase = OPEN
            connection.out.append(self._settings.greeting)
            self._admission.rest(connection.heard_at)
            connection.flush()

    def _start_handshake(self) -> None:
        """Go over to TLS. Octets that came in clear behind STARTTLS are forgotten."""
        connection = self.connection
        connection.hold()
        connection.flush()
        connection.phase = HANDSHAKE
        self._admission.rested_at = connection.loop.time()
        self._server.work(self._secure())

    async def _secure(self) -> None:
        """Make the TLS handshake, then greet the peer or read on. If it fails, the connection is cut."""
        settings, connection = self._settings, self.connection
        self._admission.deadline = NEVER  # the handshake has its own
        seconds = self._server.places.handshake_seconds(settings.limits)
        end = await make_handshake(connection, self._session, settings, seconds=seconds)
        if end is not Handshake.DONE:
            if end is Handshake.FAILED:
                self.why = "handshake failed"
            connection.cut()
            connection.connection_lost(None)
            return
        if settings.listener.tls == "implicit":
            self._greet()
        self._wake()

    # -- octets in, replies out ----------------------------------------------------------------------------

    def received(self) -> None:
        """Read the octets that have come. By them the peer confirms our last 250; before the first 220 it
        must not speak.
        """
        if self._unconfirmed is not None:
            self._confirm()
        phase = self.connection.phase
        if phase is OPEN:
            self.proceed()
        elif phase is Phase.QUIET:
            self.hang_up(replies.EARLY_TALKER)
        elif phase is not CLOSING:
            self._regulate()

    def ended(self) -> None:
        """Note that the peer will send no more. An end after our 250, without QUIT, confirms it; an end
        before it confirms nothing.
        """
        self._confirm()
        connection = self.connection
        if not (connection.busy or connection.phase is CLOSING):
            self._close(linger=False)

    def _confirm(self) -> None:
        if self._unconfirmed is not None:
            self._server.intake.confirm(self._unconfirmed)
            self._unconfirmed = None

    def proceed(self) -> None:
        """Read the buffer as far as that goes without waiting, and without making other sessions wait."""
        connection = self.connection
        turns = _TURNS
        try:
            while connection.phase is OPEN and not connection.clogged:
                if not (self._read_line() if self._sink is None else self._read_content()):
                    break
                turns -= 1
                if not turns and connection.phase is OPEN:  # a wait that has begun ends by itself
                    connection.give_way()
        except Exception:  # noqa: BLE001 - one of three places: a bug of ours is no reason to refuse a mail for good
            telemetry.fault_caught(where="smtp.session")
            self.hang_up(replies.BROKEN)
        if connection.out:
            connection.flush()
        if connection.ended and connection.phase is OPEN:
            self._close(linger=False)
        elif self.transfer or connection.phase is not OPEN or connection.paused or connection.clogged:
            self._regulate()

    def _regulate(self) -> None:
        self.connection.regulate(full=self.transfer is not None and self.transfer.full)

    def _read_line(self) -> bool:
        """Answer the next command line. Returns whether there may be more to read."""
        connection, session = self.connection, self._session
        buffer, start, now = connection.buffer, connection.at, connection.heard_at
        end = buffer.find(b"\n", start)
        if end < 0:
            self._wait_for_line()
            return False
        connection.at = end + 1
        if connection.transcript is not None:
            connection.transcript.heard(buffer[start:end], is_secret=session.in_dialog)
        if self._skipping:
            self._skipping = False
            self._answer(session.counted(replies.LINE_TOO_LONG))
        elif end > start and buffer[end - 1] == 13:
            self._answer(session.command(buffer[start : end - 1], now=now))
        elif self._settings.legacy:
            self._answer(session.command(buffer[start:end], now=now))
        else:
            # RFC 5321 §2.3.8: LF alone ends no command, and may be part of smuggling.
            self._answer(session.bare(buffer[start:end]))
        self._admission.rested_at = now  # the deadline stays: `expire` looks at this
        # A chunk of no octets has ended before any comes.
        return connection.at < len(connection.buffer) or (self._sink is not None and self._sink.empty)

    def _wait_for_line(self) -> None:
        """Keep the beginning of a line, unless it is another protocol's, or longer than any command."""
        connection = self.connection
        if connection.at:
            connection.buffer, connection.at = connection.buffer[connection.at :], 0
        if not connection.buffer:
            return
        if not self._skipping and (foreign := self._session.front(connection.buffer)) is not None:
            self.hang_up(foreign.reply)  # such as a TLS hello in clear: nothing that follows is SMTP
        elif len(connection.buffer) > _LINE_BYTES:
            connection.buffer = b""
            self._skipping = True

    def _read_content(self) -> bool:
        """Feed the sink with the buffer. Returns whether the content, or its chunk, has ended."""
        sink, connection, transfer = self._sink, self.connection, self.transfer
        assert sink is not None
        octets = connection.buffer[connection.at :] if connection.at else connection.buffer
        connection.buffer, connection.at = b"", 0
        if not octets and not sink.empty:
            return False
        taken = sink.feed(octets)
        if taken < 0:
            if transfer is not None:
                transfer.measure(connection.heard_at)
                if (last_word := transfer.look()) is not None:
                    self.hang_up(last_word)
            return False
        if taken < len(octets):
            connection.buffer, connection.at = octets, taken
        self._sink = None
        if isinstance(sink, DataReader):
            self._end_transfer(TRIM)
        else:
            self._end_chunk(sink)
        return True

    def _answer(self, answer: Answer) -> None:
        """Carry out an answer of the session."""
        if self.transfer is not None and self._session.transaction is not self.transfer.transaction:
            self._part("reset")  # RSET or EHLO among chunks
        if isinstance(answer, Reply):
            self._say(answer)
        elif isinstance(answer, bytes):
            self.connection.out.append(answer)
        elif isinstance(answer, Hangup):
            self.hang_up(answer.reply)
        elif isinstance(answer, StartData):
            self._sink = DataReader(self._begin_transfer(stuffed=True).content)
            self._say(replies.DATA_GO)
        elif isinstance(answer, StartChunk):
            self._begin_chunk(answer)
        elif isinstance(answer, StartTls):
            self._say(replies.TLS_GO)
            self._start_handshake()
        else:
            self.connection.wait()
            self._server.work(self._answer_late(answer))

    async def _answer_late(self, asked: Delayed | Credentials | AskHandlers) -> None:
        """Wait for an answer that takes time, carry it out, and read on."""
        self._admission.deadline = NEVER  # the wait has its own limits
        late = LateAnswers(self._session, self._settings, self._server, self._handlers)
        answer = await late.find(asked, wanted=lambda: self.connection.phase is not CLOSING)
        if self.connection.phase is not CLOSING:
            self._answer(answer)
            self._wake()

    def _wake(self) -> None:
        """Read on after a wait: the clock runs for the peer again."""
        connection = self.connection
        if connection.phase is not CLOSING:
            connection.go_on()
            connection.heard_at = connection.loop.time()
            self._admission.rest(connection.heard_at)
        self.proceed()

    def _begin_transfer(self, *, stuffed: bool) -> Transfer:
        transaction, now = self._session.transaction, self.connection.heard_at
        assert transaction is not None
        peer = self._session.peer_state.peer(smtputf8=transaction.parameters.smtputf8)
        self.transfer = Transfer(
            server=self._server, transaction=transaction, peer=peer, stuffed=stuffed, host=self, now=now,
            handlers=self._handlers, connected_at=self.connection.opened_at,
        )  # fmt: skip
        self._admission.deadline = self.transfer.deadline(now)
        return self.transfer

    def _begin_chunk(self, chunk: StartChunk) -> None:
        content = None
        if chunk.refusal is None:
            content = (self.transfer or self._begin_transfer(stuffed=False)).content
        self._sink = ChunkReader(content, size=chunk.size, last=chunk.last, refusal=chunk.refusal)

    def _end_chunk(self, chunk: ChunkReader) -> None:
        transfer, admission, now = self.transfer, self._admission, self.connection.heard_at
        if chunk.last and chunk.refusal is None and transfer is not None:
            self._end_transfer(0)
            return
        answer = answer_chunk(chunk, transfer, now=now)
        if isinstance(answer, Hangup):
            self.hang_up(answer.reply)
            return
        self._answer(self._session.counted(answer))
        admission.rest(now)
        if transfer is not None:
            admission.deadline = min(admission.deadline, transfer.deadline(now))

    def _end_transfer(self, trim: int) -> None:
        assert self.transfer is not None
        if self.connection.transcript is not None:
            self.connection.transcript.carried(self.transfer.content.received)
        self.connection.wait()
        self._admission.deadline = self.connection.heard_at + self._settings.commit_seconds
        self.transfer.end(trim)

    def arrived(self, transfer: Transfer, reply: Reply, spool_id: SpoolId | None) -> None:
        """Say the reply to a mail: once, or with LMTP once for each RCPT that was taken (RFC 2033 §4.2)."""
        self.transfer = None
        if reply is replies.ENDLESS_LINE or reply.code == 421:  # 421: of a handler (RFC 5321 §3.8)
            self.hang_up(reply)
        else:
            for one in transfer.replies(reply) if self._settings.lmtp else (reply,):
                self._say(one)
        if accepted := reply.positive:
            self._admission.prove()
        self._session.finished(accepted=accepted)
        self.connection.flush()
        self._unconfirmed = spool_id
        if self._server.draining:
            self.hang_up(replies.SHUTTING_DOWN, linger=False)
        self._wake()

    def _part(self, why: str) -> None:
        """Leave the mail that is on its way."""
        transfer, self.transfer, self._sink = self.transfer, None, None
        if transfer is not None:
            transfer.leave(why)

    # -- the end -------------------------------------------------------------------------------------------

    def _say(self, reply: Reply) -> None:
        """Say a reply. A refusal carries our id, by which the log and `relay trace` have it."""
        if reply.code < 500:
            self.connection.out.append(replies.build_reply(reply))
        else:
            self.connection.out.append(refuse(self._session, reply, self._server.refusals))

    def hang_up(self, reply: Reply, *, linger: bool = True) -> None:
        """Say a reply as the last word, then close."""
        if self.connection.phase is CLOSING:
            return
        self.why = reply.enhanced
        refused = not reply.positive
        if refused:
            reference = self._session.reference if reply.code >= 500 else None
            peer, listener = self._session.peer_state.address, self._settings.bind
            self._server.tell_refusal(peer, listener, reply, reference)
        self._say(reply)
        self.connection.flush()
        self._close(linger=linger and refused)

    def _close(self, *, linger: bool) -> None:
        self._part(self.why)
        self._admission.deadline = self.connection.loop.time() + LINGER_SECONDS
        self.connection.close(linger=linger)

    def lost(self) -> None:
        """End the session of a connection that has closed: a mail that was not whole is dropped, a commit
        goes on.
        """
        if not self._admission.leave():
            return
        self._part(self.why)
        peer, now = self._session.peer_state.address, self.connection.loop.time()
        self._session.drop(now=now)
        seconds, listener = now - self.connection.opened_at, self._settings.bind
        if self.connection.transcript is not None:
            self.connection.transcript.close(self.why)
        telemetry.session_closed(peer=peer, listener=listener, why=self.why, seconds=seconds)
