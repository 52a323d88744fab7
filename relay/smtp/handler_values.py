"""The values that a handler sees: aiosmtpd's SMTP, Session, Envelope and AuthResult, made of a session of
ours.

Owns these values, and the look at what a handler has made of them. Follows the chapters "Handlers" and
"Concepts" of aiosmtpd's documentation, version 1.4.6. Values in, values out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from mmap import mmap
from typing import Any, NoReturn, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from relay.config.model import Config
from relay.envelope import ForwardPath, Peer

#: aiosmtpd's spelling of the null reverse-path.
NULL_PATH = "<>"


class HandlerServer(SMTP):
    """The `server` of a handler's arguments: aiosmtpd's class, without a connection of its own.

    aiosmtpd's constructor is not called: it makes a stream reader and looks through all members of the
    handler. The public attributes have the values of this session.
    """

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.hostname = config.hostname
        self.data_size_limit = config.max_message_bytes
        self.enable_SMTPUTF8 = True
        self.event_handler: object = None
        self.session: Session | None = None
        self.envelope: Envelope | None = None
        self.transport = None
        self.tls_context = None
        self.require_starttls = False

    async def push(self, status: str | bytes) -> NoReturn:  # noqa: ARG002 - aiosmtpd's signature
        """Refuse to write to the peer: the order of replies is ours (RFC 2920 §3.2)."""
        raise RuntimeError("a handler cannot write to the peer: return the reply")


class HandlerEnvelope(Envelope):
    """The `envelope` of a handler's arguments: aiosmtpd's class, and the attributes of the contact."""

    content: Any  # a mail over 1 MiB is a map of a file, which aiosmtpd does not know

    def __init__(self) -> None:
        super().__init__()
        self.attributes: dict[str, str] = {}


def update_session(session: Session, peer: Peer) -> None:
    """Give a session of aiosmtpd's the facts that are known of the peer now."""
    session.peer = cast("Any", (peer.address, peer.port))  # aiosmtpd, too, has the pair, and says str
    session.host_name = peer.helo
    session.extended_smtp = peer.protocol != "SMTP"
    session.ssl = _describe_tls(peer.tls)
    if peer.login is not None:
        # The password was ours to check, and goes nowhere; a client's certificate has none.
        result = AuthResult(success=True, auth_data=LoginPassword(peer.login.encode(), b""))
        session.authenticated, session.auth_data = result.success, result.auth_data
    else:
        session.authenticated = session.auth_data = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of an envelope that are ours to set."""

    mail_from: str | None
    rcpt_tos: list[str]
    content: bytes | mmap | None

    def restore(self, envelope: HandlerEnvelope) -> None:
        """Set the fields, whatever a handler has made of them."""
        envelope.mail_from, envelope.rcpt_tos = self.mail_from, list(self.rcpt_tos)
        envelope.content = envelope.original_content = cast("bytes | None", self.content)

    def changes(self, envelope: HandlerEnvelope, appended: str | None) -> list[str]:
        """The names of the fields that a handler has changed. `appended` may stand at the end of rcpt_tos,
        where aiosmtpd has handle_RCPT put it.
        """
        mail_from = getattr(envelope, "mail_from", None)
        rcpt_tos = getattr(envelope, "rcpt_tos", None)
        same = {
            "mail_from": _equals(mail_from, self.mail_from),
            "rcpt_tos": type(rcpt_tos) is list
            and (_are(rcpt_tos, self.rcpt_tos) or _are(rcpt_tos, [*self.rcpt_tos, appended])),
            "content": getattr(envelope, "content", None) is self.content,
        }
        return [name for name, kept in same.items() if not kept]


def _equals(found: object, wanted: object) -> bool:
    """Returns whether a handler has left this string; a type of the handler's own is never asked."""
    return type(found) is type(wanted) and found == wanted


def _are(found: list[object], wanted: list[Any]) -> bool:
    """Returns whether a handler has left these strings."""
    return len(found) == len(wanted) and all(map(_equals, found, wanted))


def options_of(path: ForwardPath) -> list[str]:
    """The parameters of a RCPT (RFC 3461), in capitals, as aiosmtpd has them."""
    named = {"NOTIFY": path.notify, "ORCPT": path.orcpt}
    return [f"{name}={value}".upper() for name, value in named.items() if value is not None]


def _describe_tls(tls: str | None) -> dict[str, Any] | None:
    """The TLS of a session as asyncio's `get_extra_info` has it: the cipher and the version. Returns None
    in clear.
    """
    if tls is None:
        return None
    version, _, cipher = tls.partition(" ")
    return {"cipher": (cipher, version, None)}
