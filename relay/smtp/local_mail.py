"""Mail of this machine, taken without a session: recipients, limits, loops and acceptance are a session's.

Owns the peer, the listener's settings and the MAIL parameters that such mail has in place of a session's.
Never opens a spool, and never asks a person itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from relay import replies
from relay.config.listener import Listener
from relay.config.model import Config
from relay.domains import strip_brackets
from relay.envelope import Peer
from relay.errors import RelayError, SpoolSickError
from relay.message.glimpse import glimpse_message
from relay.routes import RouteTable
from relay.smtp.acceptance import begin_acceptance, complete, take_in
from relay.smtp.content import Content
from relay.smtp.parameters import MailParameters
from relay.smtp.settings import ListenerSettings, build_settings
from relay.smtp.transaction import Transaction, decide_sender
from relay.spool.action import Action
from relay.spool.interface import Intake
from relay.spool.model import Receipt, Submission
from relay.vocabulary import Reply

#: An operator is trusted to use any address in any script (RFC 6531).
_PARAMETERS = MailParameters(smtputf8=True)

#: Called in a thread with the whole mail before its commit. What it raises leaves the mail out.
Agree = Callable[[Submission], None]


class LocalMailError(RelayError):
    """The mail was not taken; the sentence is what a peer would have been told."""


async def take_local_mail(
    raw: bytes,
    *,
    config: Config,
    intake: Intake,
    recipients: Sequence[str],
    sender: str | None,
    agree: Agree,
    action: Action | None = None,
) -> Receipt:
    """Accept a mail whose lines end with CRLF, as from a peer whose session is not there. The audit tells of
    the `action` exactly if it was accepted.

    `sender` is the reverse-path; None takes the author of the mail, where that can stand in an envelope.

    Raises:
        LocalMailError: the mail is refused.
        SpoolSickError: the spool has not taken it.
    """
    settings = build_settings(
        config=config,
        listener=Listener(bind=("127.0.0.1:0",), role="mx", tls="none"),
        routes=RouteTable(config),
        tls=None,
        users=None,
    )
    transaction = Transaction(
        settings=settings,
        spool_id=intake.new_id(),
        reverse_path=_reverse_path(settings, sender, raw),
        parameters=_PARAMETERS,
        started_at=asyncio.get_running_loop().time(),
    )
    for recipient in recipients:
        reply, _ = transaction.add_recipient(f"TO:<{strip_brackets(recipient)}>".encode())
        if not reply.positive:
            raise LocalMailError(f"{recipient}: {_sentence(reply)}")
    return await _accept(transaction, raw, intake=intake, agree=agree, action=action)


def _reverse_path(settings: ListenerSettings, sender: str | None, raw: bytes) -> str | None:
    """The reverse-path: the address given, else the author's if it can stand in an envelope."""
    given = sender is not None
    if sender is None:
        author = glimpse_message(raw).author
        sender = author[0].address if author else ""
    path = f"FROM:<{strip_brackets(sender)}> SMTPUTF8"
    decided = decide_sender(settings, path.encode(), authenticated=False)
    if not isinstance(decided, Reply):
        return decided[0].address or None
    if given:
        raise LocalMailError(f"{sender}: {_sentence(decided)}")
    return None


async def _accept(
    transaction: Transaction, raw: bytes, *, intake: Intake, agree: Agree, action: Action | None
) -> Receipt:
    """Go from the whole mail to the commit as a session does, without dots or an end-of-data to remove."""
    settings = transaction.settings
    peer = Peer(address="127.0.0.1", port=0, helo=settings.hostname, protocol="local", role="mx")
    acceptance = begin_acceptance(transaction, peer)
    content = Content(
        stuffed=False,
        terms=replace(settings.terms, line_ends="any"),
        block_bytes=settings.config.spool.large_message_bytes,
        open_file=lambda: intake.open_file(transaction.spool_id),
    )
    content.add(raw)
    outcome: Submission | Receipt | Reply = complete(acceptance, content, trim=0, arrived_at=intake.now())
    if isinstance(outcome, Submission):
        await asyncio.to_thread(agree, outcome)
        outcome = await take_in(acceptance, outcome._replace(action=action), intake=intake)
    if outcome is replies.NOT_STORED:
        raise SpoolSickError(_sentence(outcome))
    if isinstance(outcome, Reply):
        raise LocalMailError(_sentence(outcome))
    return outcome


def _sentence(reply: Reply) -> str:
    """The sentence for a refusal: what a peer would be told, in words for a person who can act."""
    when = next((row.when for row in replies.ROWS if row.reply is reply), "")
    return f"{reply.text} ({when})" if when else reply.text
