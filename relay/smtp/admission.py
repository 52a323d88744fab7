"""Admission: the entry of a session, its place among those of all receivers, and the limit of its silence.

Owns the place of one session (counted from its beginning to its end, given up for a newcomer, kept for peers
that delivered mail lately) and its deadline, which the server's tick looks at. Never reads or writes octets.
"""

from __future__ import annotations

from typing import Protocol

from relay import replies
from relay.envelope import SpoolId
from relay.smtp.connection import NEVER, Connection, Phase
from relay.smtp.server import Server
from relay.smtp.settings import ListenerSettings, contains
from relay.smtp.tap import Tap
from relay.smtp.transfer import Transfer
from relay.vocabulary import Reply


class Guest(Protocol):
    """The conversation of a session, as far as admission is concerned with it."""

    connection: Connection
    #: The reason for the end, as the log has it.
    why: str
    #: The mail that is on its way in; None between mails.
    transfer: Transfer | None

    @property
    def in_content(self) -> bool:
        """Returns whether the peer is sending a mail's data, and not commands."""

    @property
    def in_transaction(self) -> bool:
        """Returns whether a transaction has begun by MAIL and has not ended."""

    def listen(self, tap: Tap | None) -> None:
        """Begin a transcript of this session, or end it."""

    def hang_up(self, reply: Reply, *, linger: bool = True) -> None:
        """Say a reply as the last word, then close."""

    def arrived(self, transfer: Transfer, reply: Reply, spool_id: SpoolId | None) -> None:
        """Say the reply to a mail."""


class Admission:
    """The place of one session, and its time."""

    __slots__ = (
        "_counted_as",
        "_ends_at",
        "_guest",
        "_proved",
        "_server",
        "_settings",
        "deadline",
        "known",
        "rested_at",
    )

    def __init__(self, settings: ListenerSettings, server: Server, guest: Guest) -> None:
        self._settings = settings
        self._server = server
        self._guest = guest
        #: The address under which the session is counted; "" once it no longer is.
        self._counted_as = ""
        self._proved = False
        #: True if the session may have one of the places that are kept.
        self.known = False
        #: The instant on the loop's clock after which `expire` is called.
        self.deadline = NEVER
        #: The instant at which the last command was answered.
        self.rested_at = guest.connection.opened_at
        self._ends_at = self.rested_at + settings.limits.session_seconds

    # -- the place -----------------------------------------------------------------------------------------

    def admit(self, address: str) -> Reply | None:
        """Count a session that begins now. Returns the reply that refuses it, or None."""
        settings, server, now = self._settings, self._server, self._guest.connection.opened_at
        server.sessions.add(self)
        if server.draining:  # accepted before the listeners closed: the counters may be gone
            return replies.SHUTTING_DOWN
        self._counted_as = address
        self.known = settings.trusted or server.limiter.has_delivered(address, now=now)
        refusal = server.limiter.enter(address, settings.limits, trusted=settings.trusted, known=self.known)
        if settings.allow and not contains(settings.allow, address):
            refusal = replies.ACCESS_DENIED
        refusal = server.refusal() or refusal
        if refusal is replies.TOO_MANY_SESSIONS and server.places.make_room(
            server.sessions, known=self.known, now=now
        ):
            return None
        return refusal

    def free(self) -> None:
        """Take the session out of the counts."""
        if self._counted_as:
            self._server.limiter.leave(self._counted_as)
            self._counted_as = ""

    def leave(self) -> bool:
        """End the session's stay. Returns False where it had ended already, or never begun."""
        if self not in self._server.sessions:
            return False
        self._server.sessions.discard(self)
        self.free()
        del self._guest  # else each session would leave a circle of references for the garbage collector
        return True

    def prove(self) -> None:
        """Note that mail of this session was accepted: its peer is known from now on."""
        if not self._proved:
            self._proved = self.known = True
            self._server.limiter.delivered(self._counted_as, now=self._guest.connection.heard_at)

    def listen(self, tap: Tap | None) -> None:
        """Begin a transcript of the session, or end it."""
        self._guest.listen(tap)

    def make_way(self) -> None:
        """End for a newcomer's sake. The place is free at once."""
        guest = self._guest
        if guest.connection.phase is Phase.HANDSHAKE:
            guest.why = "made way"
            guest.connection.cut()
        else:
            guest.hang_up(replies.MADE_WAY, linger=False)
        self.free()

    def stop(self, *, urgent: bool) -> None:
        """Say 421 and close: at once when urgent, else only when no mail is under way. Never during a
        commit.
        """
        guest = self._guest
        under_way = guest.connection.busy or guest.in_transaction
        if not self.committing and (urgent or not under_way):
            guest.hang_up(replies.SHUTTING_DOWN, linger=False)

    @property
    def committing(self) -> bool:
        """Returns whether a mail of the session is being committed."""
        return self._guest.transfer is not None and self._guest.transfer.committing

    # -- the time ------------------------------------------------------------------------------------------

    def rest(self, now: float) -> None:
        """Note that a command was answered: the next one has its own time (RFC 5321 §4.5.3.2.7), within
        that of the session.
        """
        self.rested_at = now
        due_at = now + self._server.places.command_seconds(self._settings.limits)
        self.deadline = min(self._ends_at, due_at)

    def expire(self, now: float) -> None:
        """Act on the deadline, which has passed."""
        guest = self._guest
        transfer, connection = guest.transfer, guest.connection
        if connection.phase is Phase.CLOSING:
            connection.cut()
        elif transfer is not None and transfer.committing:
            # RFC 5321 §4.5.3.2.6 gives us ten minutes, but not every peer waits so long.
            transfer.give_up()
            guest.arrived(transfer, replies.TOO_SLOW, None)
        elif transfer is not None and transfer.full:
            connection.heard_at = now  # the disk is slow, not the peer
            transfer.excuse(now)
            self.deadline = now + self._settings.limits.commit_seconds
        elif transfer is not None and transfer.deadline(connection.heard_at) <= now:
            guest.hang_up(replies.TIMED_OUT)
        elif transfer is not None and guest.in_content:
            self.deadline = transfer.deadline(connection.heard_at)
        else:
            self._overstay(now)
            if transfer is not None:  # between two chunks
                self.deadline = min(self.deadline, transfer.deadline(connection.heard_at))

    def _overstay(self, now: float) -> None:
        """Act on the deadline of a command. If a command came after the deadline was set, move it on;
        otherwise close with 421.
        """
        guest, places, limits = self._guest, self._server.places, self._settings.limits
        if guest.connection.phase is Phase.HANDSHAKE:
            # The handshake keeps its own time, but for the stress that has begun within it.
            self.deadline = self.rested_at + places.handshake_seconds(limits) if places.stressed else NEVER
            if self.deadline <= now:
                guest.connection.cut()
            return
        self.rest(self.rested_at)
        if self.deadline <= now:
            guest.hang_up(replies.SESSION_OVER if now >= self._ends_at else replies.TIMED_OUT)

    def idle_since(self) -> float:
        """The time since which the peer is waited for. Infinity while it is not.

        The octets of a command that does not end do not count as a word of the peer; those of a mail's data
        do.
        """
        guest = self._guest
        transfer, connection = guest.transfer, guest.connection
        if connection.phase in (Phase.CLOSING, Phase.QUIET, Phase.WAITING):
            return NEVER
        if transfer is None or not guest.in_content:
            return self.rested_at
        return NEVER if transfer.full or transfer.committing else connection.heard_at

    def hurry(self) -> None:
        """Shorten the time for a command, because the stress has begun. That for a mail's data stays."""
        if self._guest.transfer is None and self.idle_since() < NEVER:
            self.deadline = min(self.deadline, self.rested_at)
