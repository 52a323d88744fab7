"""The door: how a session begins, is secured, outstays its time, and ends.

Owns who is let in and who is sent away, the greeting (RFC 5321 §3.1) and who talks before it, the TLS handshake, and
the last word. Never reads a command: what goes on between the greeting and the last word is `protocol`'s.
"""

from __future__ import annotations

import asyncio
from typing import cast

from relay import replies, telemetry
from relay.networks import normalise_peer
from relay.smtp.connection import NEVER, Connection
from relay.smtp.server import Server
from relay.smtp.session import Session
from relay.smtp.settings import ListenerSettings, contains
from relay.smtp.tls import client_name, describe_tls
from relay.vocabulary import Reply


class Admission(Connection):
    """A connection that is let in, or sent away; subclasses talk to it."""

    def __init__(self, settings: ListenerSettings, server: Server) -> None:
        super().__init__(server)
        self.settings = settings
        #: What was said so far (aiosmtpd has a `session` of its own); from `begin` on: nothing comes before it.
        self.talk: Session
        #: Before the greeting.
        self.quiet = False
        #: Why the session ended, as the log has it.
        self.why = "peer closed"
        #: When the last command was answered.
        self.rested_at = self.opened_at
        self._counted_as = ""
        #: Whether it may have one of the places that are kept.
        self.known = False
        #: Whether mail of this session was accepted.
        self.proved = False
        #: In a TLS handshake.
        self.shaking = False

    def wake(self) -> None:
        """What was waited for is here."""
        raise NotImplementedError

    def part(self, why: str) -> None:
        """Leave the mail that was on its way."""
        raise NotImplementedError

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        raise NotImplementedError

    def stop(self, *, urgent: bool) -> None:
        """Say 421 and close: at once when urgent, else only when no mail is under way; never during a commit."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        name = transport.get_extra_info("peername") or ("unknown", 0)
        self.begin(cast("asyncio.Transport", transport), str(name[0]), int(name[1]))

    def begin(self, link: asyncio.Transport, address: str, port: int) -> None:
        """A peer has connected, or a proxy has for it: greet it, or send it away."""
        settings, server = self.settings, self.server
        self.link = link
        self._counted_as = address = normalise_peer(address)
        self.talk = Session(settings=settings, shared=server.shared, address=address, port=port)
        server.sessions.add(self)
        telemetry.session_opened(peer=address, listener=settings.listener.bind)
        self.known = settings.trusted or server.limiter.has_delivered(address, now=self.opened_at)
        refusal = server.limiter.enter(address, settings.limits, trusted=settings.trusted, known=self.known)
        if settings.allow and not contains(settings.allow, address):
            refusal = replies.ACCESS_DENIED
        refusal = server.refusal() or refusal
        if refusal is replies.TOO_MANY_SESSIONS and server.places.make_room(
            server.sessions, known=self.known, now=self.opened_at
        ):
            refusal = None
        if refusal is not None:
            self.hang_up(refusal, linger=False)
            self._free()  # hundreds may be sent away before the loop sees the first of them closed
        elif settings.listener.tls == "implicit":
            self.start_handshake()
        elif settings.limits.early_talker_seconds and not settings.trusted:
            self.quiet = True
            self.loop.call_later(settings.limits.early_talker_seconds, self._greet)
        else:
            self._greet()

    def _greet(self) -> None:
        if not self.closing and self.link is not None:
            self.quiet = False
            self.out.append(self.settings.greeting)
            self.rest()
            self.flush()

    def rest(self) -> None:
        """A command was answered: the next may take its time (RFC 5321 §4.5.3.2.7), the session not for ever."""
        limits = self.settings.limits
        self.rested_at = self.heard_at
        seconds = self.server.places.command_seconds(limits)
        self.deadline = min(self.heard_at + seconds, self.opened_at + limits.session_seconds)

    def overstay(self, now: float) -> None:
        """No command has come by the deadline; where one came after it was set, there is a later one."""
        limits, places = self.settings.limits, self.server.places
        if self.shaking:
            # The handshake keeps its own time, but for the stress that has begun within it.
            self.deadline = self.rested_at + places.handshake_seconds(limits) if places.stressed else NEVER
            if self.deadline <= now:
                self.cut()
            return
        ends_at = self.opened_at + limits.session_seconds
        self.deadline = min(self.rested_at + places.command_seconds(limits), ends_at)
        if self.deadline <= now:
            self.hang_up(replies.SESSION_OVER if now >= ends_at else replies.TIMED_OUT)

    def idle_since(self) -> float:
        """Since when the peer is waited for: octets of a command that does not end are no word of it."""
        if self.closing or self.quiet or (self.busy and not self.shaking):
            return NEVER
        return self.rested_at

    def hurry(self) -> None:
        """The stress has begun: the next tick looks how long the peer may be silent."""
        if self.idle_since() < NEVER:
            self.deadline = min(self.deadline, self.rested_at)

    def make_way(self) -> None:
        """End for a newcomer's sake; the place is free at once."""
        if self.shaking:
            self.why = "made way"
            self.cut()
        else:
            self.hang_up(replies.MADE_WAY, linger=False)
        self._free()

    def _free(self) -> None:
        """Have this session counted no more."""
        if self._counted_as:
            self.server.limiter.leave(self._counted_as)
            self._counted_as = ""

    def prove(self) -> None:
        """Mail of this session was accepted: its peer is known from now on."""
        if not self.proved:
            self.proved = self.known = True
            self.server.limiter.delivered(self._counted_as, now=self.heard_at)

    def start_handshake(self) -> None:
        """Go over to TLS, whatever came in clear forgotten."""
        self.hold()
        self.flush()
        self.busy = self.shaking = True
        self.rested_at = self.loop.time()
        self.server.work(self._secure())

    async def _secure(self) -> None:
        """The TLS handshake, and what is known after it."""
        session, context = self.talk, self.settings.context
        connection = None
        try:
            if context is not None:
                connection = await self.start_tls(
                    context, handshake_seconds=self.server.places.handshake_seconds(self.settings.limits)
                )
        except (OSError, EOFError) as exc:  # time-outs and ssl.SSLError are OSErrors
            self.why = "handshake failed"
            peer, reason = session.peer_state.address, type(exc).__name__
            telemetry.handshake_failed(peer=peer, listener=self.settings.listener.bind, reason=reason)
        self.shaking = False
        if connection is None:
            self.cut()
            self.connection_lost(None)
            return
        session.secured(describe_tls(connection), certificate=client_name(connection))
        if self.settings.listener.tls == "implicit":
            self._greet()
        self.wake()

    def say(self, reply: Reply) -> None:
        """One reply; a refusal carries our id, so that a person can ask for it."""
        octets = replies.build_reply(reply)
        if reply.code >= 500:
            octets = b"%b [%b]\r\n" % (octets[:-2], self.talk.reference.encode())
        self.out.append(octets)

    def hang_up(self, reply: Reply, *, linger: bool = True) -> None:
        """Say this as the last word, then close."""
        if self.closing:
            return
        self.why = reply.enhanced
        if not reply.positive:
            reference = self.talk.reference if reply.code >= 500 else None
            peer, listener = self.talk.peer_state.address, self.settings.listener.bind
            self.server.tell_refusal(peer, listener, reply, reference)
        self.say(reply)
        self.flush()
        self.close(linger=linger and not reply.positive)

    def closes(self) -> None:
        """We are about to close."""
        self.part(self.why)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - aiosmtpd's name for it
        """The peer, or we, have closed: what was not whole is dropped, what is being committed goes on."""
        self.link = None
        if self not in self.server.sessions:
            return
        session = self.talk
        self.server.sessions.discard(self)
        self._free()
        self.closing = True
        self.part(self.why)
        now = self.loop.time()
        session.drop(now=now)
        telemetry.session_closed(
            peer=session.peer_state.address, listener=self.settings.listener.bind, why=self.why, seconds=now - self.opened_at
        )  # fmt: skip
