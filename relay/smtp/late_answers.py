"""The answers of one session that take time: a password is checked, handlers of the operator are asked, a
refusal is held back.

Owns these waits. The session waits for no longer than a hash was made to take, and than handlers may take by
the configuration; `session` turns the outcome into the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay import replies, telemetry
from relay.logins.users import Credentials
from relay.smtp.actions import Answer, AskHandlers, Delayed
from relay.smtp.handlers import HandlerSession
from relay.smtp.server import Server
from relay.smtp.session import Session
from relay.smtp.settings import ListenerSettings


class LateAnswers:
    """The waits of one session."""

    __slots__ = ("_handlers", "_server", "_session", "_settings")

    def __init__(
        self, session: Session, settings: ListenerSettings, server: Server, handlers: HandlerSession | None
    ) -> None:
        self._session = session
        self._settings = settings
        self._server = server
        self._handlers = handlers

    async def find(self, asked: Delayed | Credentials | AskHandlers, *, wanted: Callable[[], bool]) -> Answer:
        """The answer to a command that takes time; `wanted` says whether its peer is still there."""
        if isinstance(asked, Delayed):
            await asyncio.sleep(asked.seconds)
            return asked.reply
        if isinstance(asked, AskHandlers):
            return await self._ask(asked)
        return await self._check(asked, wanted)

    async def _check(self, credentials: Credentials, wanted: Callable[[], bool]) -> Answer:
        """The answer to a login: the password is checked in its turn and in a thread."""
        session, users = self._session, self._settings.users
        assert users is not None
        try:
            good = await self._server.check_password(
                users,
                credentials,
                address=session.peer_state.address,
                limits=self._settings.limits,
                wanted=wanted,
            )
        except OSError:
            telemetry.fault_caught(where="smtp.users")
            return replies.AUTH_UNAVAILABLE
        return session.logged_in(credentials.login, good=good)

    async def _ask(self, asked: AskHandlers) -> Answer:
        """The answer to a MAIL or RCPT that is fine by us, once the handlers were asked."""
        session, handlers, transaction = self._session, self._handlers, self._session.transaction
        assert handlers is not None
        assert transaction is not None
        peer = session.peer_state.peer(smtputf8=transaction.parameters.smtputf8)
        call = handlers.mail if asked.command == "MAIL" else handlers.rcpt
        refusal = await call(transaction, peer)
        if session.transaction is not transaction:  # the peer has gone meanwhile
            return replies.NOT_NOW
        return session.asked(asked.command, refusal)
