"""Securing a session: whether STARTTLS and AUTH are taken now, and how they begin.

Owns the conditions of both commands (RFC 3207 §4.2, RFC 4954 §4). Never makes a handshake, nor looks at a
password: the answers are orders to do so.
"""

from __future__ import annotations

from relay import replies
from relay.logins.users import Credentials
from relay.smtp.actions import StartTls
from relay.smtp.auth import Challenge, begin_auth
from relay.smtp.peer import PeerState
from relay.smtp.settings import ListenerSettings
from relay.vocabulary import Reply


def take_starttls(
    argument: bytes, settings: ListenerSettings, peer_state: PeerState, *, within: bool
) -> Reply | StartTls:
    """The answer to STARTTLS; `within` a transaction it is refused."""
    if not settings.starttls:
        return replies.NOT_NOW if peer_state.tls is not None else replies.NOT_HERE
    if argument:
        return replies.BAD_ARGUMENT
    if peer_state.tls is not None or within:
        return replies.NOT_NOW
    return StartTls() if settings.context is not None else replies.TLS_UNAVAILABLE


def take_auth(
    argument: bytes, settings: ListenerSettings, peer_state: PeerState, *, within: bool
) -> Reply | Credentials | Challenge:
    """The first step of a login; `within` a transaction it is refused."""
    if settings.users is None:
        return replies.NOT_HERE
    if peer_state.tls is None:
        return replies.AUTH_NEEDS_TLS
    if peer_state.authenticated is not None or within or not peer_state.extended:
        return replies.NOT_NOW
    return begin_auth(argument)
