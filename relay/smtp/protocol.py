"""A session on the wire: octets to commands and content, answers to octets.

Owns the reading of lines and content in chunks, and the waiting for what takes time: a password, a block of a large
mail, the commit. What is said is decided in `session`; what becomes of a mail in `arrival`; how it all begins and ends
in `door`. Commands are answered as they arrive, a whole pipelined group with one write (RFC 2920).
"""

from __future__ import annotations

from relay import replies, telemetry
from relay.envelope import SpoolId
from relay.smtp.actions import Answer, Delayed, Hangup, StartChunk, StartData, StartTls
from relay.smtp.admission import Admission
from relay.smtp.auth import AUTH_LINE, Credentials
from relay.smtp.connection import NEVER
from relay.smtp.data import TRIM, ChunkReader, DataReader
from relay.smtp.server import Server
from relay.smtp.settings import ListenerSettings
from relay.smtp.transfer import Transfer
from relay.vocabulary import Reply

#: A line without an end is dropped past this: "AUTH PLAIN " and its 12,288 octets (RFC 4954 §4) are the longest.
_LINE_BYTES = AUTH_LINE + 64
#: Commands answered at one go: what a socket gives at once holds tens of thousands, and takes a tenth of a second.
_TURNS = 32


class Smtp(Admission):
    """One session."""

    def __init__(self, settings: ListenerSettings, server: Server) -> None:
        super().__init__(settings, server)
        self._sink: DataReader | ChunkReader | None = None
        self._transfer: Transfer | None = None
        self._unconfirmed: SpoolId | None = None
        self._skipping = False  # in a line without an end

    def data_received(self, data: bytes) -> None:
        """Octets from the peer: it has seen our last 250, and should not have spoken before the first 220."""
        if self._unconfirmed is not None:
            self._confirm()
        if self.closing:
            return
        if self.quiet:
            self.hang_up(replies.EARLY_TALKER)
            return
        self.heard_at = self.loop.time()
        self.buffer = self.buffer[self.at :] + data if self.at < len(self.buffer) else data
        self.at = 0
        self.pump()

    def eof_received(self) -> bool:
        """The peer ends after our 250, without QUIT: it has waited for it. (An end before it confirms nothing.)"""
        self._confirm()
        return super().eof_received()

    def _confirm(self) -> None:
        if self._unconfirmed is not None:
            self.server.intake.confirm(self._unconfirmed)
            self._unconfirmed = None

    def pump(self) -> None:
        """Go through what the buffer holds, as far as it goes without waiting, and without making others wait."""
        turns = _TURNS
        try:
            while not (self.busy or self.closing or self.clogged):
                if not (self._read_line() if self._sink is None else self._read_content()):
                    break
                turns -= 1
                if not turns and not self.busy:  # what waits for something else ends its own wait
                    self.give_way()
        except Exception:  # noqa: BLE001 - one of three places: a bug of ours is no reason to refuse a mail for good
            telemetry.fault_caught(where="smtp.session")
            self.hang_up(replies.BROKEN)
        self.flush()
        if self.ended and not (self.busy or self.closing):
            self.close(linger=False)
        elif self.busy or self.paused or self.clogged or self._transfer is not None:
            self.regulate(full=self._transfer is not None and self._transfer.full)

    def _read_line(self) -> bool:
        """Answer the next command line; whether there may be more to read."""
        buffer, start = self.buffer, self.at
        end = buffer.find(b"\n", start)
        if end < 0:
            self._wait_for_line()
            return False
        self.at = end + 1
        session = self.talk
        if self._skipping:
            self._skipping = False
            self._answer(session.counted(replies.LINE_TOO_LONG))
        elif end > start and buffer[end - 1] == 13:
            self._answer(session.command(buffer[start : end - 1], now=self.heard_at))
        elif self.settings.trusted:
            self._answer(session.command(buffer[start:end], now=self.heard_at))
        else:
            # RFC 5321 §2.3.8: LF alone ends no command; whoever sends it may be smuggling.
            self._answer(session.bare(buffer[start:end]))
        self.rested_at = self.heard_at  # the deadline stays: `expire` looks at this
        return self.at < len(self.buffer) or self._sink is not None

    def _wait_for_line(self) -> None:
        """The buffer holds the beginning of a line, or nothing."""
        if self.at:
            self.buffer, self.at = self.buffer[self.at :], 0
        foreign = self.talk.front(self.buffer) if self.buffer and not self._skipping else None
        if foreign is not None:
            self.hang_up(foreign.reply)  # a TLS hello in clear, say: nothing that follows is for us
        elif len(self.buffer) > _LINE_BYTES:
            self.buffer = b""
            self._skipping = True

    def _read_content(self) -> bool:
        """Feed the sink what the buffer holds; whether the content, or its chunk, has ended."""
        sink = self._sink
        assert sink is not None
        octets = self.buffer[self.at :] if self.at else self.buffer
        self.buffer, self.at = b"", 0
        if not octets and not sink.empty:
            return False
        taken = sink.feed(octets)
        if taken < 0:
            last_word = None
            if self._transfer is not None:
                self._transfer.measure(self.heard_at)
                last_word = self._transfer.look()
            if last_word is not None:
                self.hang_up(last_word)
            return False
        if taken < len(octets):
            self.buffer, self.at = octets, taken
        self._sink = None
        if isinstance(sink, DataReader):
            self._end_transfer(TRIM)
        else:
            self._end_chunk(sink)
        return True

    def _answer(self, answer: Answer) -> None:
        """Carry out what the session decided."""
        session, transfer = self.talk, self._transfer
        if transfer is not None and session.transaction is not transfer.transaction:
            self.part("reset")  # RSET or EHLO among chunks
        if isinstance(answer, Reply):
            self.say(answer)
        elif isinstance(answer, bytes):
            self.out.append(answer)
        elif isinstance(answer, Hangup):
            self.hang_up(answer.reply)
        elif isinstance(answer, Delayed):
            self.busy = True
            self.loop.call_later(answer.seconds, self._say_late, answer.reply)
        elif isinstance(answer, StartData):
            self._sink = DataReader(self._begin_transfer(stuffed=True).content)
            self.say(replies.DATA_GO)
        elif isinstance(answer, StartChunk):
            self._begin_chunk(answer)
        elif isinstance(answer, StartTls):
            self._start_tls()
        else:
            self.busy = True
            self.server.work(self._check(answer))

    def _say_late(self, reply: Reply) -> None:
        """An answer that was held back on purpose."""
        if not self.closing:
            self.say(reply)
            self.wake()

    def wake(self) -> None:
        """What was waited for is here: the clock runs for the peer again."""
        self.busy = False
        self.heard_at = self.loop.time()
        self.rest()
        self.pump()

    def _begin_transfer(self, *, stuffed: bool) -> Transfer:
        session = self.talk
        transaction = session.transaction
        assert transaction is not None
        peer = session.peer_state.peer(smtputf8=transaction.parameters.smtputf8)
        self._transfer = Transfer(
            server=self.server, transaction=transaction, peer=peer, stuffed=stuffed, host=self, now=self.heard_at
        )  # fmt: skip
        self.deadline = self._transfer.deadline(self.heard_at)
        return self._transfer

    def _begin_chunk(self, chunk: StartChunk) -> None:
        content = None
        if chunk.refusal is None:
            content = (self._transfer or self._begin_transfer(stuffed=False)).content
        self._sink = ChunkReader(content, size=chunk.size, last=chunk.last, refusal=chunk.refusal)

    def _end_chunk(self, chunk: ChunkReader) -> None:
        transfer, session = self._transfer, self.talk
        refusal = chunk.refusal
        if refusal is None and transfer is not None:
            if chunk.last:
                self._end_transfer(0)
                return
            transfer.measure(self.heard_at)
            last_word = transfer.look()
            if last_word is not None:
                self.hang_up(last_word)
                return
            refusal = transfer.content.fault
            if refusal is not None:
                transfer.transaction.failed = True
        self._answer(session.counted(refusal or replies.fill(replies.CHUNK_OK, octets=chunk.size)))
        self.rest()
        if transfer is not None:
            self.deadline = min(self.deadline, transfer.deadline(self.heard_at))

    def _end_transfer(self, trim: int) -> None:
        assert self._transfer is not None
        self.busy = True
        self.deadline = self.heard_at + self.settings.limits.commit_seconds
        self._transfer.end(trim)

    def arrived(self, transfer: Transfer, reply: Reply, spool_id: SpoolId | None) -> None:
        """The mail has its reply: once, or with LMTP once for each RCPT that was taken (RFC 2033 §4.2)."""
        session = self.talk
        self._transfer = None
        if reply is replies.ENDLESS_LINE:
            self.hang_up(reply)
        else:
            for one in transfer.replies(reply):
                self.say(one)
        if reply.positive:
            self.prove()
        session.finished(accepted=reply.positive)
        self.flush()
        self._unconfirmed = spool_id
        if self.server.draining:
            self.hang_up(replies.SHUTTING_DOWN, linger=False)
        self.wake()

    def part(self, why: str) -> None:
        """Leave the mail that was on its way."""
        transfer, self._transfer, self._sink = self._transfer, None, None
        if transfer is not None:
            transfer.leave(why)

    def _start_tls(self) -> None:
        if self.settings.context is None:
            self.say(replies.TLS_UNAVAILABLE)
            return
        self.say(replies.TLS_GO)
        self.start_handshake()

    async def _check(self, credentials: Credentials) -> None:
        """A password, in its turn and in a thread: its hash is made to take long."""
        session, users, server = self.talk, self.settings.users, self.server
        assert users is not None
        self.deadline = NEVER

        async def verify(passed: bool) -> bool | None:
            if self.closing or self.link is None:
                return None
            return await self.loop.run_in_executor(server.checkers[passed], users.verify, credentials)

        try:
            good = await server.logins.check(
                credentials.login,
                session.peer_state.address,
                self.settings.limits,
                verify=verify,
                now=self.loop.time,
            )
        except OSError:
            telemetry.fault_caught(where="smtp.users")
            self.say(replies.AUTH_UNAVAILABLE)
        else:
            self._answer(session.logged_in(credentials.login, good=good))
        self.wake()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        transfer = self._transfer
        if self.closing:
            self.cut()
        elif transfer is not None and transfer.committing:
            # RFC 5321 §4.5.3.2.6: the peer gives us ten minutes, but not every peer has read that.
            transfer.give_up()
            self.arrived(transfer, replies.TOO_SLOW, None)
        elif transfer is not None and transfer.full:
            self.heard_at = now  # the disk is slow, not the peer
            transfer.excuse(now)
            self.deadline = now + self.settings.limits.commit_seconds
        elif transfer is not None and transfer.deadline(self.heard_at) <= now:
            self.hang_up(replies.TIMED_OUT)
        elif transfer is not None and self._sink is not None:
            self.deadline = transfer.deadline(self.heard_at)
        else:
            self.overstay(now)
            if transfer is not None:  # between two chunks
                self.deadline = min(self.deadline, transfer.deadline(self.heard_at))

    def idle_since(self) -> float:
        """Since when the peer is waited for, whose octets count while a mail's data comes."""
        transfer = self._transfer
        if transfer is None or self._sink is None or self.closing:
            return super().idle_since()
        return NEVER if self.busy or transfer.full or transfer.committing else self.heard_at

    def hurry(self) -> None:
        """The stress has begun: commands are waited for no longer, a mail's data as before."""
        if self._transfer is None:
            super().hurry()

    def stop(self, *, urgent: bool) -> None:
        """Say 421 and close: at once when urgent, else only when no mail is under way; never during a commit."""
        transfer = self._transfer
        under_way = self.busy or self.talk.transaction is not None
        if not (transfer is not None and transfer.committing) and (urgent or not under_way):
            self.hang_up(replies.SHUTTING_DOWN, linger=False)
