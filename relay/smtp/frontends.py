"""Front-ends: the commands by which a listed mail server tells for which client it speaks.

Owns the answers to Postfix's XCLIENT, after which the session is the client's, and XFORWARD, which only names
the client of the next mail. Postfix itself sends XFORWARD alone (`lmtp_send_xforward_command`). Never touches
a socket; who may say so is decided by the address of the connection.
"""

from __future__ import annotations

from relay import replies
from relay.smtp.peer import PeerState
from relay.smtp.settings import ListenerSettings, contains
from relay.smtp.xclient import XCLIENT, XFORWARD, parse_xclient
from relay.vocabulary import Reply


def take_xclient(
    argument: bytes, settings: ListenerSettings, peer_state: PeerState, *, within: bool
) -> Reply | bytes:
    """The answer to XCLIENT, which begins the session anew; `within` a transaction it is refused."""
    if not contains(settings.xclient, peer_state.address):
        return replies.XCLIENT_DENIED if settings.xclient else replies.UNKNOWN_COMMAND
    if within:
        return replies.NOT_NOW
    told = parse_xclient(argument, XCLIENT)
    if told is None:
        return replies.BAD_ARGUMENT
    peer_state.is_another(told)
    return settings.greeting


def take_xforward(
    argument: bytes, settings: ListenerSettings, peer_state: PeerState, *, within: bool
) -> Reply:
    """The answer to XFORWARD, whose attributes hold for one mail; `within` a transaction it is refused."""
    if not contains(settings.xforward, peer_state.address):
        return replies.XCLIENT_DENIED if settings.xforward else replies.UNKNOWN_COMMAND
    if within:
        return replies.NOT_NOW
    told = parse_xclient(argument, XFORWARD)
    if told is None:
        return replies.BAD_ARGUMENT
    peer_state.forwards(told)
    return replies.OK
