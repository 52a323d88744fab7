"""The seam for handlers: the operator's own code, called by aiosmtpd's handler interface (docs/smtp.md,
"Handlers").

Owns the values that a handler sees (aiosmtpd's SMTP, Session, Envelope and AuthResult), the order of the
calls, and the two things that a handler may change: the reply, and attributes of the contact. A handler never
writes to a peer, never changes the envelope or the octets of a mail, and never has a mail accepted or lost:
its faults defer. Follows the chapters "Handlers" and "Concepts" of aiosmtpd's documentation, version 1.4.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Any, NoReturn, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from relay import replies, telemetry
from relay.config.model import Config
from relay.envelope import ForwardPath, Peer
from relay.smtp.handler_answers import read_attributes
from relay.smtp.handler_calls import Hook, Hooks, call_handler
from relay.smtp.transaction import Transaction
from relay.vocabulary import Reply

#: aiosmtpd's spelling of the null reverse-path.
_NULL_PATH = "<>"
#: Refusals of one session that are logged one by one, so that an attack fills no disk.
_LOGGED_REFUSALS = 5


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


class HandlerSession:
    """One SMTP session, as its handlers see it."""

    __slots__ = ("_envelope", "_hooks", "_refusals", "_server", "_session", "_transaction")

    def __init__(self, hooks: Hooks, loop: asyncio.AbstractEventLoop) -> None:
        self._hooks = hooks
        self._server = HandlerServer(hooks.config, loop)
        self._session = self._server.session = Session(loop)
        self._envelope = HandlerEnvelope()
        self._transaction: Transaction | None = None
        self._refusals = 0

    async def mail(self, transaction: Transaction, peer: Peer) -> Reply | None:
        """The reply by which a handler refuses a reverse-path that is fine by us. Returns None when all
        let it go on.
        """
        self._begin(transaction, peer)
        return await self._ask("MAIL", self._envelope.mail_from, list(self._envelope.mail_options))

    async def rcpt(self, transaction: Transaction, peer: Peer) -> Reply | None:
        """The reply by which a handler refuses the last forward-path, which is fine by us. Returns None
        when all let it go on.
        """
        self._begin(transaction, peer)
        path = transaction.forward_paths[-1]
        self._envelope.rcpt_tos.pop()  # as in aiosmtpd, the handler's part is to append it
        return await self._ask("RCPT", path.address, _options_of(path), appended=path.address)

    @property
    def reads_mail(self) -> bool:
        """Returns whether a handler is to be asked about a whole mail."""
        return self._hooks.calls("DATA")

    async def data(
        self, transaction: Transaction, peer: Peer, content: bytes | mmap | None
    ) -> Reply | Mapping[str, str]:
        """The reply by which a handler refuses a whole mail that is fine by us; else the attributes of its
        contact.

        `content` are the octets of the mail as they came, without our Received field.
        """
        self._begin(transaction, peer)
        refusal = await self._ask("DATA", content=content)
        attributes, left = read_attributes(
            getattr(self._envelope, "attributes", None), prefix=self._hooks.config.contact.attribute_prefix
        )
        if left:
            telemetry.hook_attributes_dropped(spool_id=transaction.spool_id, names=left)
        self._envelope.content = self._envelope.original_content = None
        return refusal if refusal is not None else attributes

    def _begin(self, transaction: Transaction, peer: Peer) -> None:
        """Bring the session up to date, and the envelope: a new one for a new transaction, as in aiosmtpd."""
        if transaction is not self._transaction:
            self._transaction = transaction
            self._envelope = self._server.envelope = HandlerEnvelope()
            self._envelope.mail_options = transaction.options.decode().upper().split()
            self._envelope.smtp_utf8 = transaction.parameters.smtputf8
        paths = transaction.forward_paths
        self._envelope.mail_from = transaction.reverse_path or _NULL_PATH
        self._envelope.rcpt_tos = [path.address for path in paths]
        self._envelope.rcpt_options = [option for path in paths for option in _options_of(path)]
        session = self._session
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

    async def _ask(
        self, command: str, *args: object, appended: str | None = None, content: bytes | mmap | None = None
    ) -> Reply | None:
        """Call the handlers in order until one of them refuses, or fails."""
        envelope, server = self._envelope, self._server
        mine = _Fields(mail_from=envelope.mail_from, rcpt_tos=list(envelope.rcpt_tos), content=content)
        for hook in self._hooks.hooks:
            if command not in hook.methods:
                continue
            mine.restore(envelope)
            server.event_handler = hook.handler
            reply = await call_handler(
                hook, command, (server, self._session, envelope, *args), spool_id=self._spool_id
            )
            self._tell_changes(hook, mine.changes(envelope, appended))
            if reply is not None:
                self._tell_refusal(hook, command, reply)
                return reply
        return None

    @property
    def _spool_id(self) -> str:
        return self._transaction.spool_id if self._transaction is not None else ""

    def _tell_refusal(self, hook: Hook, command: str, reply: Reply) -> None:
        """Log which handler refused. A fault was logged already."""
        if reply is not replies.LOCAL_ERROR:
            self._refusals += 1
            again = self._refusals > _LOGGED_REFUSALS
            telemetry.hook_refused(
                hook=hook.name, command=command, spool_id=self._spool_id, reply=reply, again=again
            )

    def _tell_changes(self, hook: Hook, changes: list[str]) -> None:
        """Tell of changes that are ignored; once for each handler and field."""
        told = self._hooks.told
        for name in changes:
            if (hook.name, name) not in told:
                told.add((hook.name, name))
                telemetry.hook_overruled(hook=hook.name, field=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
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


def _options_of(path: ForwardPath) -> list[str]:
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
