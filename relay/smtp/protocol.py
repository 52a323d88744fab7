"""aiosmtpd's SMTP protocol, made ours: octets in, replies out, and nothing between that a peer could abuse.

Owns a session's socket: the buffer, the reading of lines and content in chunks, TLS, deadlines, the end. What is
said is decided in `session`; what becomes of a mail in `reception`.

aiosmtpd's own `__init__`, command loop and DATA reader are replaced (measured: 156 µs of set-up a connection, one
await a line): commands are answered inside `data_received`, a whole pipelined group with one write; only TLS, a
password, a block of a large mail and the commit are waited for. State is per connection, and a half-close or
disconnect cancels nothing that was begun.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from aiosmtpd.smtp import SMTP

from relay import replies, telemetry
from relay.envelope import SpoolId
from relay.smtp.auth import AUTH_LINE, Credentials
from relay.smtp.content import Content
from relay.smtp.data import TRIM, ChunkReader, DataReader
from relay.smtp.reception import Reception, begin_reception, log_end, receive
from relay.smtp.session import Answer, Hangup, Session, StartChunk, StartData, StartTls
from relay.smtp.site import Site, contains
from relay.smtp.station import Station
from relay.smtp.tls import client_name, describe_tls
from relay.smtp.transaction import Transaction
from relay.verdict import Reply

#: What may wait in the buffer while an answer is worked on; past it the socket is not read.
_BUFFER_BYTES = 65_536
#: A line without an end is dropped past this: "AUTH PLAIN " and its 12,288 octets (RFC 4954 §4) are the longest.
_LINE_BYTES = AUTH_LINE + 64
#: How long the last words may take to reach the peer.
_LINGER_SECONDS = 5.0
_NEVER = float("inf")


class Smtp(SMTP):
    """One session."""

    def __init__(self, site: Site, station: Station) -> None:
        # aiosmtpd's and StreamReaderProtocol's own set-up is skipped on purpose: see the module's docstring.
        self.loop = station.loop
        self.site = site
        self.station = station
        self.deadline = _NEVER
        self._talk: Session | None = None
        self._link: asyncio.Transport | None = None
        self._buffer = b""
        self._at = 0
        self._out: list[bytes] = []
        self._sink: DataReader | ChunkReader | None = None
        self._content: Content | None = None
        self._reception: Reception | None = None
        self._moving = False
        self._trim = -1  # how the content ends, once its end was read while a block was being moved
        self._busy = False
        self._clogged = False
        self._quiet = False  # before the greeting
        self._closing = False
        self._committing = False
        self._skipping = False
        self._refusal: Reply | None = None
        self._entered_as = ""
        self._paused = False
        self._eof = False
        self._unconfirmed: SpoolId | None = None
        self._opened_at = self._arrived_at = self._data_at = self.loop.time()
        self._why = "peer closed"

    def __del__(self) -> None:
        """Nothing: StreamReaderProtocol would look at what was never set up."""

    # -- the connection -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        name = transport.get_extra_info("peername") or ("unknown", 0)
        self.begin(cast("asyncio.Transport", transport), str(name[0]), int(name[1]))

    def begin(self, transport: asyncio.Transport, address: str, port: int) -> None:
        """A peer has connected, or a proxy has for it: send it away, or greet it."""
        self._link = transport
        if address.startswith("::ffff:"):
            address = address.removeprefix("::ffff:")
        site, station = self.site, self.station
        self._entered_as = address
        self._talk = Session(site=site, house=station.house, address=address, port=port)
        station.sessions.add(self)
        telemetry.session_opened(peer=address, listener=site.listener.bind)
        refusal = station.limiter.enter(address, site.limits, trusted=site.trusted)
        refusal = station.refusal() or refusal
        if site.allow and not contains(site.allow, address):
            refusal = replies.ACCESS_DENIED
        if refusal is not None:
            self._hang_up(refusal)
        elif site.listener.tls == "implicit":
            self._busy = True
            station.work(self._secure())
        elif site.limits.early_talker_seconds and not site.trusted:
            self._quiet = True
            self.loop.call_later(site.limits.early_talker_seconds, self._greet)
        else:
            self._greet()

    def _greet(self) -> None:
        if not self._closing and self._link is not None:
            self._quiet = False
            self._out.append(self.site.greeting)
            self._rest()
            self._flush()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - aiosmtpd's name for it
        """The peer, or we, have closed: what was not whole is dropped, what is being committed goes on."""
        session, self._link = self._talk, None
        if session is None or self not in self.station.sessions:
            return
        self.station.sessions.discard(self)
        self.station.limiter.leave(self._entered_as)
        self._closing = True
        self._drop_content(self._why)
        session.drop(now=self.loop.time())
        telemetry.session_closed(
            peer=session.address,
            listener=self.site.listener.bind,
            why=self._why,
            seconds=self.loop.time() - self._opened_at,
        )

    def eof_received(self) -> bool:
        """The peer will send no more: what it is owed an answer for, it still gets."""
        self._eof = True
        if not self._busy and not self._quiet:
            self._close()
        # asyncio closes a connection under TLS here whatever we say; in clear we may still answer.
        return self._busy and self._talk is not None and self._talk.tls is None

    def pause_writing(self) -> None:
        """The peer does not read its answers: it gets no more work done either."""
        self._clogged = True
        self._pause()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._clogged = False
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Octets from the peer."""
        if self._closing:
            return
        self._arrived_at = self.loop.time()
        if self._at < len(self._buffer):
            self._buffer = self._buffer[self._at :] + data
        else:
            self._buffer = data
        self._at = 0
        if self._unconfirmed is not None:
            self.station.intake.confirm(self._unconfirmed)
            self._unconfirmed = None
        if self._quiet:
            self._hang_up(replies.EARLY_TALKER)
            return
        self._pump()

    # -- octets to commands and content ---------------------------------------------------------------------

    def _pump(self) -> None:
        """Go through what the buffer holds, as far as it goes without waiting."""
        try:
            while not (self._busy or self._closing or self._clogged):
                if not (self._read_content() if self._sink is not None else self._read_line()):
                    break
        except Exception:  # noqa: BLE001 - one of three places: a bug here is no reason to refuse a mail for good
            self._fail()
        self._flush()
        if self._eof and not (self._busy or self._closing):
            self._close()
        elif len(self._buffer) - self._at > _BUFFER_BYTES and (self._busy or self._clogged):
            self._pause()
        elif self._paused and not (self._moving and self._content is not None and self._content.full):
            self._resume()

    def _read_line(self) -> bool:
        """Answer the next command line; whether there was one."""
        buffer, start = self._buffer, self._at
        end = buffer.find(b"\n", start)
        if end < 0:
            self._wait_for_line()
            return False
        self._at = end + 1
        session = self._talk
        assert session is not None
        if self._skipping:
            self._skipping = False
            self._answer(session.counted(replies.LINE_TOO_LONG))
        elif end > start and buffer[end - 1] == 13:
            self._answer(session.command(buffer[start : end - 1], now=self._arrived_at))
        elif self.site.trusted:
            self._answer(session.command(buffer[start:end], now=self._arrived_at))
        else:
            # RFC 5321 §2.3.8: LF alone ends no command; whoever sends it may be smuggling.
            self._answer(session.counted(replies.BAD_LINE))
        self._rest()
        return True

    def _wait_for_line(self) -> None:
        """The buffer holds the beginning of a line, or nothing."""
        if self._at:
            self._buffer, self._at = self._buffer[self._at :], 0
        if self._buffer.startswith(b"\x16\x03"):
            self._hang_up(replies.BAD_LINE)  # a TLS hello in clear: nothing that follows is for us
        elif len(self._buffer) > _LINE_BYTES:
            self._buffer = b""
            self._skipping = True

    def _read_content(self) -> bool:
        """Feed the reader what the buffer holds; whether the content, or its chunk, has ended."""
        reader, buffer = self._sink, self._buffer
        assert reader is not None
        if self._at:
            buffer = buffer[self._at :]
        self._buffer, self._at = b"", 0
        if not buffer and not (isinstance(reader, ChunkReader) and reader.size == 0):
            return False
        taken = reader.feed(buffer)
        content = self._content
        if taken < 0:
            if content is not None:
                self._look_at(content)
            return False
        self._buffer, self._at = buffer, taken
        self._sink = None
        if isinstance(reader, DataReader):
            self._end_content(TRIM)
        else:
            self._end_chunk(reader)
        return True

    def _look_at(self, content: Content) -> None:
        """More content has come: enough to be moved to the file, or to be hung up on?"""
        if content.over:
            fault = content.fault
            self._hang_up(replies.ENDLESS_LINE if fault is replies.LONG_LINE else fault or self._too_big())
        elif content.fault is not None:
            content.refuse(content.fault)
        elif content.full:
            if self._moving:
                self._pause()
            else:
                self._move(content)

    def _too_big(self) -> Reply:
        return replies.fill(replies.TOO_BIG, octets=self.site.max_bytes)

    # -- answers --------------------------------------------------------------------------------------------

    def _answer(self, answer: Answer) -> None:
        """Carry out what the session decided."""
        if self._content is not None and self._forgotten():
            self._drop_content("reset")
        if isinstance(answer, bytes):
            self._out.append(answer)
        elif isinstance(answer, Reply):
            self._say(answer)
        elif isinstance(answer, Hangup):
            self._hang_up(answer.reply)
        elif isinstance(answer, StartData):
            self._sink = DataReader(self._begin_content(stuffed=True))
            self._out.append(replies.build_reply(replies.DATA_GO))
        elif isinstance(answer, StartChunk):
            self._begin_chunk(answer)
        elif isinstance(answer, StartTls):
            self._say(replies.TLS_GO if self._context() else replies.TLS_UNAVAILABLE)
            if self._context():
                self._flush()
                self._busy = True
                self.station.work(self._secure())
        else:
            self._busy = True
            self.station.work(self._check(answer))

    def _say(self, reply: Reply) -> None:
        """One reply; a refusal carries our id, so that a person can ask for it."""
        octets = replies.build_reply(reply)
        if reply.code >= 500:
            assert self._talk is not None
            octets = b"%b [%b]\r\n" % (octets[:-2], self._talk.reference.encode())
        self._out.append(octets)

    def _flush(self) -> None:
        if self._out and self._link is not None:
            octets = b"".join(self._out) if len(self._out) > 1 else self._out[0]
            self._out.clear()
            self._link.write(octets)

    def _rest(self) -> None:
        """A command was answered: the next may take its time (RFC 5321 §4.5.3.2.7), the session not for ever."""
        limits = self.site.limits
        self.deadline = min(
            self._arrived_at + limits.command_seconds, self._opened_at + limits.session_seconds
        )

    # -- content --------------------------------------------------------------------------------------------

    def _forgotten(self) -> bool:
        """Whether the transaction that the content belongs to is over (RSET, EHLO among chunks)."""
        return (
            self._reception is None
            or self._talk is None
            or self._talk.transaction is not self._reception.transaction
        )

    def _begin_content(self, *, stuffed: bool) -> Content:
        session = self._talk
        assert session is not None
        transaction = session.transaction
        assert transaction is not None
        reception = begin_reception(transaction, session.peer())
        config, intake = self.site.config, self.station.intake
        self._reception = reception
        self._data_at = self._arrived_at
        self.deadline = self._arrived_at + config.limits.data_seconds
        self._content = Content(
            stuffed=stuffed,
            repair=self.site.trusted,
            limit=self.site.max_bytes,
            line_limit=config.limits.line_bytes,
            block_bytes=config.spool.large_message_bytes,
            open_file=lambda: intake.open_file(transaction.spool_id),
            prefix=reception.prefix,
        )
        return self._content

    def _begin_chunk(self, chunk: StartChunk) -> None:
        content = self._content
        if chunk.refusal is None and content is None:
            content = self._begin_content(stuffed=False)
        elif chunk.refusal is not None:
            content = None
        self._refusal = chunk.refusal
        self._sink = ChunkReader(content, size=chunk.size, last=chunk.last)

    def _end_chunk(self, chunk: ChunkReader) -> None:
        content, session = self._content, self._talk
        assert session is not None
        if self._refusal is not None:
            self._answer(session.counted(self._refusal))
        elif chunk.last:
            self._end_content(0)
        elif content is not None and content.fault is not None:
            assert session.transaction is not None
            session.transaction.failed = True
            self._answer(session.counted(content.fault))
        else:
            self._say(replies.fill(replies.CHUNK_OK, octets=chunk.size))
            if content is not None:
                self._look_at(content)
        self._rest()

    def _move(self, content: Content) -> None:
        """Hand a block to a thread."""
        self._moving = True
        future = self.loop.run_in_executor(self.station.writers, content.move, content.take())
        future.add_done_callback(lambda done: self._moved(content, done))

    def _moved(self, content: Content, done: asyncio.Future[None]) -> None:
        self._moving = False
        if not done.cancelled() and done.exception() is not None:
            telemetry.fault_caught(where="smtp.move", error=repr(done.exception()))
            content.refuse(replies.LOCAL_ERROR)
        if content is not self._content:
            self._discard(content)  # the session has gone on, or away, in the meantime
            return
        if self._trim >= 0:
            trim, self._trim, self._busy = self._trim, -1, False
            self._end_content(trim)
        elif content.full:
            self._look_at(content)
        self._pump()

    def _end_content(self, trim: int) -> None:
        """The mail is whole."""
        content, reception = self._content, self._reception
        assert content is not None
        assert reception is not None
        self._busy = True
        if self._moving:
            self._trim = trim
            return
        self._committing = True
        self.deadline = self.loop.time() + self.site.limits.commit_seconds
        raw = None
        if content.file is None and content.fault is None:
            raw = content.finish(trim=trim)
        self.station.work(self._take_in(content, reception, raw, trim))

    async def _take_in(self, content: Content, reception: Reception, raw: bytes | None, trim: int) -> None:
        """From the last octet to the reply; nobody cancels this."""
        spool_id: SpoolId | None = None
        duplicate = False
        try:
            if raw is None and content.fault is None:
                await self.loop.run_in_executor(self.station.writers, _close_content, content, trim)
            if content.fault is not None:
                reply = content.fault
            else:
                reply, spool_id, duplicate = await receive(
                    reception, content, raw, intake=self.station.intake
                )
        except Exception:  # noqa: BLE001 - one of three places: unknown trouble of ours defers, and never says what it was
            telemetry.fault_caught(where="smtp.receive", spool_id=reception.transaction.spool_id)
            reply = replies.LOCAL_ERROR
        if reply is replies.LOCAL_ERROR:
            self.station.gates.sickened(now=self.loop.time())
        if spool_id is None or duplicate:
            self._discard(content)
        self._taken_in(content, reception, reply, spool_id, duplicate=duplicate)

    def _taken_in(
        self,
        content: Content,
        reception: Reception,
        reply: Reply,
        spool_id: SpoolId | None,
        *,
        duplicate: bool,
    ) -> None:
        """The reply is known: say it, if the peer still waits for it."""
        transaction, now = reception.transaction, self.loop.time()
        if not self._committing or content is not self._content:
            telemetry.commit_late(
                spool_id=transaction.spool_id, seconds=now - self._arrived_at, stored=reply.positive
            )
            return
        log_end(
            transaction,
            reception.peer,
            reply,
            now=now,
            size=content.size + reception.trace_size,
            message_id=reception.message_id,
            spool_id=spool_id,
            duplicate=duplicate,
        )
        self._conclude(transaction, reply)
        self._unconfirmed = spool_id if reply.positive else None
        self._pump()

    def _conclude(self, transaction: Transaction, reply: Reply) -> None:
        """The transaction's last reply: one, or with LMTP one for each RCPT that was taken (RFC 2033 §4.2)."""
        session = self._talk
        assert session is not None
        self._content = self._reception = None
        self._committing = self._busy = False
        for _ in range(len(transaction.forward_paths) if self.site.lmtp else 1):
            self._say(reply)
        session.finished(accepted=reply.positive)
        self._rest()
        if self.station.draining:
            self._hang_up(replies.SHUTTING_DOWN)
        self._flush()

    def _drop_content(self, why: str) -> None:
        """Forget a mail that is not whole; one that is being committed goes on."""
        content, reception = self._content, self._reception
        if content is None or reception is None or self._committing:
            return
        self._content = self._reception = self._sink = None
        telemetry.transaction_aborted(
            spool_id=reception.transaction.spool_id,
            peer=reception.peer.address,
            size=content.received,
            why=why,
        )
        if not self._moving:
            self._discard(content)

    def _discard(self, content: Content) -> None:
        if content.file is not None:
            self.loop.run_in_executor(self.station.writers, content.discard)

    # -- what is waited for ---------------------------------------------------------------------------------

    def _context(self) -> ssl.SSLContext | None:
        return self.site.tls.context if self.site.tls is not None else None

    async def _secure(self) -> None:
        """The TLS handshake; octets that came in clear behind STARTTLS are forgotten (RFC 3207 §4.2)."""
        session, link, context = self._talk, self._link, self._context()
        assert session is not None
        self._buffer, self._at = b"", 0
        self.deadline = _NEVER  # the handshake has its own
        if link is None or context is None:
            self._close()
            return
        try:
            secured = await self.loop.start_tls(
                link,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self.site.limits.handshake_seconds,
                ssl_shutdown_timeout=_LINGER_SECONDS,
            )
        except (OSError, EOFError, asyncio.IncompleteReadError) as exc:
            self._why = "handshake failed"
            telemetry.handshake_failed(
                peer=session.address, listener=self.site.listener.bind, reason=type(exc).__name__
            )
            link.abort()
            self.connection_lost(None)
            return
        if secured is None or self._closing:
            self.connection_lost(None)
            return
        self._link = secured
        connection: Any = secured.get_extra_info("ssl_object")
        session.secured(describe_tls(connection), certificate=client_name(connection))
        self._busy = False
        self._arrived_at = self.loop.time()
        if self.site.listener.tls == "implicit":
            self._greet()
        self._rest()
        self._pump()

    async def _check(self, credentials: Credentials) -> None:
        """A password, in a thread: its hash is made to take long."""
        session, users = self._talk, self.site.users
        assert session is not None
        assert users is not None
        try:
            good = await self.loop.run_in_executor(self.station.checkers, users.verify, credentials)
        except OSError:
            telemetry.fault_caught(where="smtp.users")
            self._say(replies.AUTH_UNAVAILABLE)
        else:
            self._answer(session.logged_in(credentials.login, good=good))
        self._busy = False
        self._arrived_at = self.loop.time()
        self._rest()
        self._pump()

    # -- the end --------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        limits, content = self.site.limits, self._content
        if self._closing:
            self._why = "peer does not read"
            if self._link is not None:
                self._link.abort()
        elif self._committing:
            self._give_up()
        elif content is not None and self._sink is not None:
            # A slow sender lives as long as it keeps to the minimum rate, and says something now and then.
            grown = (
                self._data_at
                + limits.data_seconds
                + (content.received / limits.min_bytes_per_second if limits.min_bytes_per_second else _NEVER)
            )
            self.deadline = min(grown, self._arrived_at + limits.command_seconds)
            if self.deadline <= now:
                self._hang_up(replies.TIMED_OUT)
        elif now >= self._opened_at + limits.session_seconds:
            self._hang_up(replies.SESSION_OVER)
        else:
            self._hang_up(replies.TIMED_OUT)

    def _give_up(self) -> None:
        """The commit takes too long: say so while the peer still listens (RFC 5321 §4.5.3.2.6 gives 10 minutes)."""
        reception = self._reception
        assert reception is not None
        log_end(reception.transaction, reception.peer, replies.TOO_SLOW, now=self.loop.time())
        self._conclude(reception.transaction, replies.TOO_SLOW)
        self._pump()

    def stop(self, *, urgent: bool) -> bool:
        """Say 421 and close, unless a mail is under way (or at once, when urgent); whether it is closing."""
        session = self._talk
        under_way = self._busy or (session is not None and session.transaction is not None)
        if not self._closing and not self._committing and (urgent or not under_way):
            self._hang_up(replies.SHUTTING_DOWN)
        return self._closing

    def _hang_up(self, reply: Reply) -> None:
        """Say this as the last word, then close."""
        if self._closing:
            return
        self._why = reply.enhanced
        if not reply.positive and self._talk is not None:
            telemetry.session_refused(peer=self._talk.address, listener=self.site.listener.bind, reply=reply)
        self._say(reply)
        self._flush()
        self._close()

    def _fail(self) -> None:
        """A bug: the peer may try again, and learns nothing of it."""
        telemetry.fault_caught(where="smtp.session")
        self._busy = False
        self._hang_up(replies.OVERLOADED)

    def _close(self) -> None:
        """Close once what was said has gone out; a peer that does not read it is cut off."""
        self._closing = True
        self._buffer, self._at = b"", 0
        self.deadline = self.loop.time() + _LINGER_SECONDS
        self._drop_content(self._why)
        if self._link is not None:
            self._link.close()

    def _pause(self) -> None:
        if not self._paused and self._link is not None:
            self._paused = True
            self._link.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._link is not None:
            self._paused = False
            self._link.resume_reading()


def _close_content(content: Content, trim: int) -> None:
    """Write the last block."""
    content.close(content.take(), trim=trim)
