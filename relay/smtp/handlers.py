"""The seam for handlers: the operator's own code, called by aiosmtpd's handler interface (docs/smtp.md,
"Handlers").

Owns the order of the calls, and the two things that a handler may change: the reply, and attributes of the
contact. A handler never writes to a peer, never changes the envelope or the octets of a mail, and never has a
mail accepted or lost: its faults defer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from mmap import mmap

from aiosmtpd.smtp import Session

from relay import replies, telemetry
from relay.envelope import Peer
from relay.smtp.handler_answers import read_attributes
from relay.smtp.handler_calls import Hook, Hooks, call_handler
from relay.smtp.handler_values import (
    NULL_PATH,
    Fields,
    HandlerEnvelope,
    HandlerServer,
    options_of,
    update_session,
)
from relay.smtp.transaction import Transaction
from relay.vocabulary import Reply

#: Refusals of one session that are logged one by one, so that an attack fills no disk.
_LOGGED_REFUSALS = 5


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
        return await self._ask("RCPT", path.address, options_of(path), appended=path.address)

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
        self._envelope.mail_from = transaction.reverse_path or NULL_PATH
        self._envelope.rcpt_tos = [path.address for path in paths]
        self._envelope.rcpt_options = [option for path in paths for option in options_of(path)]
        update_session(self._session, peer)

    async def _ask(
        self, command: str, *args: object, appended: str | None = None, content: bytes | mmap | None = None
    ) -> Reply | None:
        """Call the handlers in order until one of them refuses, or fails."""
        envelope, server = self._envelope, self._server
        mine = Fields(mail_from=envelope.mail_from, rcpt_tos=list(envelope.rcpt_tos), content=content)
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
