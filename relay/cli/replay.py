"""The command `relay replay`: puts a mail from a file into the spool, as if a peer had just sent it.

Owns how the octets are read and what a person is asked. `relay.smtp.local_mail` takes the mail as a session
would. Works while the daemon runs and while it does not; never delivers itself.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from functools import partial

import click

from relay.cli import config_option
from relay.cli.audited import build_action, noting_end, reason_option
from relay.cli.entries import echo_json, echo_note, json_option
from relay.cli.mail_file import MailFileError, read_mail
from relay.cli.waiting import UNATTENDED
from relay.config.load import load_config, make_data_dir
from relay.config.model import Config
from relay.errors import RelayError
from relay.policy.octets import end_lines
from relay.smtp.local_mail import Agree, take_local_mail
from relay.spool.action import Action
from relay.spool.model import Receipt, Submission
from relay.spool.opening import diagnosed, is_attended, open_desk, open_intake


class ReplayError(RelayError):
    """The file holds no mail, or cannot be read."""


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
@reason_option
@json_option
def replay_command(
    config_path: str | None,
    recipients: tuple[str, ...],
    sender: str | None,
    file: str,
    *,
    yes: bool,
    because: str,
    as_json: bool,
) -> None:
    """Put a mail from a file into the spool, as if it had just been received, and print its spool id.

    FILE is a mail as it would be sent; "-" is the standard input.
    """
    config = load_config(config_path)
    raw = _read(file)
    make_data_dir(config.data_dir)
    agree = partial(_agree, config, yes=yes, silent=as_json)
    action = build_action([file, *(f"--rcpt {each}" for each in recipients)], because)
    with noting_end(config, action):
        receipt = asyncio.run(_replay(config, raw, recipients, sender, agree, action))
    if as_json:
        echo_json({"spool_id": receipt.spool_id, "duplicate": receipt.duplicate})
    else:
        click.echo(receipt.spool_id)
    if receipt.duplicate:
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
    return end_lines(raw)


async def _replay(
    config: Config,
    raw: bytes,
    recipients: tuple[str, ...],
    sender: str | None,
    agree: Agree,
    action: Action,
) -> Receipt:
    """Accept the mail."""
    intake = await asyncio.to_thread(open_intake, config, by_hand=True)
    try:
        with diagnosed(config):
            return await take_local_mail(
                raw,
                config=config,
                intake=intake,
                recipients=recipients,
                sender=sender,
                agree=agree,
                action=action,
            )
    finally:
        await intake.close()


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
