"""The handshake of TLS within a session: its limit of time, its line in the log, and the facts it tells.

Owns what a handshake means for the session. `connection` moves its octets, `tls` has the certificate.
"""

from __future__ import annotations

from enum import Enum, auto

from relay import telemetry
from relay.smtp.connection import Connection
from relay.smtp.session import Session
from relay.smtp.settings import ListenerSettings
from relay.smtp.tls import client_name, describe_failure, describe_tls


class Handshake(Enum):
    """The end of a handshake."""

    DONE = auto()
    #: The two sides did not agree, or the peer was too slow.
    FAILED = auto()
    #: The connection was closed meanwhile.
    LEFT = auto()


async def make_handshake(
    connection: Connection, session: Session, settings: ListenerSettings, *, seconds: float
) -> Handshake:
    """Go over to TLS within some seconds, and note in the session what it tells of the peer. Call
    `connection.hold` first. Returns how it ended; a failure is logged.
    """
    secured, context = None, settings.context
    try:
        if context is not None:
            secured = await connection.start_tls(context, handshake_seconds=seconds)
    except (OSError, EOFError) as exc:  # time-outs and ssl.SSLError are OSErrors
        peer, reason = session.peer_state.address, describe_failure(exc)
        telemetry.handshake_failed(peer=peer, listener=settings.bind, reason=reason)
        if connection.transcript is not None:
            connection.transcript.secured(f"handshake failed: {reason}")
        return Handshake.FAILED
    if secured is None:
        return Handshake.LEFT
    session.secured(describe_tls(secured), certificate=client_name(secured))
    if connection.transcript is not None:
        connection.transcript.secured()
    if reason := getattr(secured, "unverified", ""):
        telemetry.client_unverified(peer=session.peer_state.address, listener=settings.bind, reason=reason)
    return Handshake.DONE
