"""The command `relay replay`: puts a mail from a file into the spool, as if a peer had just sent it.

Owns where envelope and octets come from when there is no session. Recipients, limits, loops and acceptance
are decided by the same code as over SMTP. Works while the daemon runs and while it does not; never delivers
itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial

import click

from relay import replies
from relay.cli import config_option
from relay.cli.entries import echo_json, echo_note, json_option
from relay.cli.mail_file import MailFileError, read_mail
from relay.cli.waiting import UNATTENDED
from relay.config.load import load_config, make_data_dir
from relay.config.model import Config, Listener
from relay.domains import strip_brackets
from relay.envelope import Peer, SpoolId
from relay.errors import RelayError, SpoolSickError
from relay.message.glimpse import glimpse_message
from relay.routes import RouteTable
from relay.smtp.acceptance import begin_acceptance, complete, take_in
from relay.smtp.content import Content
from relay.smtp.parameters import MailParameters
from relay.smtp.settings import ListenerSettings, build_settings
from relay.smtp.transaction import Transaction, decide_sender
from relay.spool.interface import Intake
from relay.spool.model import Receipt, Submission
from relay.spool.opening import explain_failure, is_attended, open_desk, open_intake
from relay.vocabulary import Reply

#: The MAIL parameters of an operator, who is trusted to use any address in any script (RFC 6531).
_PARAMETERS = MailParameters(smtputf8=True)


_Agree = Callable[[Submission], None]


class ReplayError(RelayError):
    """The mail was not taken; the sentence is what a peer would have been told."""


@click.command("replay")
@config_option
@click.option(
    "--rcpt",
    "recipients",
    metavar="ADDRESS",
    multiple=True,
    required=True,
    help="A recipient, matched to a route as at RCPT; once for each.",
)
@click.option(
    "--from",
    "sender",
    metavar="ADDRESS",
    help='The reverse-path, "<>" for the null one; default: the author of the mail.',
)
@click.argument("file", metavar="FILE")
@click.option("--yes", is_flag=True, help="Do not ask where a second contact of a known mail may come.")
@json_option
def replay_command(
    config_path: str | None,
    recipients: tuple[str, ...],
    sender: str | None,
    file: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Put a mail from a file into the spool, as if it had just been received, and print its spool id.

    FILE is a mail as it would be sent; "-" is the standard input.
    """
    config = load_config(config_path)
    raw = _read(file)
    make_data_dir(config.data_dir)
    agree = partial(_agree, config, yes=yes, silent=as_json)
    spool_id, duplicate = asyncio.run(_replay(config, raw, recipients, sender, agree))
    if as_json:
        echo_json({"spool_id": spool_id, "duplicate": duplicate})
    else:
        click.echo(spool_id)
    if duplicate:
        echo_note("this mail was here before; nothing was stored")
    elif not is_attended(config):
        echo_note(f"{UNATTENDED}: the mail is stored, and goes out when one is started")


def _read(file: str) -> bytes:
    """Read the file, with lines ended by CRLF: files of this machine end theirs with LF."""
    try:
        raw = read_mail(file)
    except MailFileError as exc:
        raise ReplayError(f"{file}: {exc}") from exc
    if not raw.strip():
        raise ReplayError(f"{file}: there is no mail in it")
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")


async def _replay(
    config: Config, raw: bytes, recipients: tuple[str, ...], sender: str | None, agree: _Agree
) -> tuple[SpoolId, bool]:
    """Accept the mail. Returns its spool id, and whether it was here before."""
    settings = build_settings(
        config=config,
        listener=Listener(bind="127.0.0.1:0", role="mx", tls="none"),
        routes=RouteTable(config),
        tls=None,
        users=None,
    )
    reverse_path = _reverse_path(settings, sender, raw)
    intake = await asyncio.to_thread(open_intake, config, by_hand=True)
    try:
        transaction = Transaction(
            settings=settings,
            spool_id=intake.new_id(),
            reverse_path=reverse_path,
            parameters=_PARAMETERS,
            started_at=asyncio.get_running_loop().time(),
        )
        for recipient in recipients:
            reply, _ = transaction.add_recipient(f"TO:<{strip_brackets(recipient)}>".encode())
            if not reply.positive:
                raise ReplayError(f"{recipient}: {_sentence(reply)}")
        return await _accept(transaction, raw, intake=intake, agree=agree)
    finally:
        await intake.close()


def _reverse_path(settings: ListenerSettings, sender: str | None, raw: bytes) -> str | None:
    """The reverse-path: the address given, else the author's where it can stand in an envelope."""
    given = sender is not None
    if sender is None:
        author = glimpse_message(raw).author
        sender = author[0].address if author else ""
    path = f"FROM:<{strip_brackets(sender)}> SMTPUTF8"
    decided = decide_sender(path.encode(), settings=settings, authenticated=False)
    if not isinstance(decided, Reply):
        return decided[0].address or None
    if given:
        raise ReplayError(f"{sender}: {_sentence(decided)}")
    return None


async def _accept(
    transaction: Transaction, raw: bytes, *, intake: Intake, agree: _Agree
) -> tuple[SpoolId, bool]:
    """Go from the whole mail to the commit as a session does, without dots or an end-of-data to remove."""
    settings = transaction.settings
    peer = Peer(address="127.0.0.1", port=0, helo=settings.hostname, protocol="local", role="mx")
    acceptance = begin_acceptance(transaction, peer)
    content = Content(
        stuffed=False,
        terms=replace(settings.terms, repairs=True),
        block_bytes=settings.config.spool.large_message_bytes,
        open_file=lambda: intake.open_file(transaction.spool_id),
    )
    content.add(raw)
    outcome: Submission | Receipt | Reply = complete(acceptance, content, trim=0)
    if isinstance(outcome, Submission):
        await asyncio.to_thread(agree, outcome)
        outcome = await take_in(acceptance, outcome, intake=intake)
    if outcome is replies.NOT_STORED:
        raise explain_failure(settings.config, SpoolSickError(_sentence(outcome)))
    if isinstance(outcome, Reply):
        raise ReplayError(_sentence(outcome))
    return outcome.spool_id, outcome.duplicate


def _agree(config: Config, submission: Submission, *, yes: bool, silent: bool) -> None:
    """Have a person agree where the spool knows these octets and would not take them for a retransmission.

    Raises:
        click.UsageError: no person is there, or none who could see the question.
        click.Abort: the person says no.
    """
    if yes:
        return
    with closing(open_desk(config)) as desk:
        others = desk.others(submission)
    if not others:
        return
    told = (
        f"this mail was here before ({', '.join(others)}), from another sender, by another route or long ago"
    )
    if silent or not sys.stdin.isatty():
        raise click.UsageError(f"{told}: a second contact may come; say --yes to replay it all the same")
    click.confirm(f"{told}. A second contact may come. Replay it?", abort=True, err=True)


def _sentence(reply: Reply) -> str:
    """The sentence for a refusal: what a peer would be told, in words for a person who can act."""
    when = next((row.when for row in replies.ROWS if row.reply is reply), "")
    return f"{reply.text} ({when})" if when else reply.text
