"""The command `relay replay`: puts mails from files into the spool, as if a peer had just sent them.

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
from relay.cli.entries import echo_json, echo_note, encode_json, json_option
from relay.cli.mail_file import MailFileError, read_mail
from relay.cli.progress import tracked
from relay.cli.waiting import UNATTENDED
from relay.config.load import load_config, make_data_dir
from relay.config.model import Config
from relay.errors import RelayError
from relay.policy.octets import end_lines
from relay.smtp.local_mail import Agree, LocalMailError, take_local_mail
from relay.spool.interface import Intake
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
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask where a second contact of a known mail may come.")
@reason_option
@json_option
@click.pass_context
def replay_command(
    ctx: click.Context,
    /,
    config_path: str | None,
    recipients: tuple[str, ...],
    sender: str | None,
    files: tuple[str, ...],
    *,
    yes: bool,
    because: str,
    as_json: bool,
) -> None:
    """Put mails from files into the spool, as if they had just been received, and print their spool ids.

    FILE is a mail as it would be sent; "-" is the standard input. Of several files, one that cannot be taken
    has its line, and ends nothing.
    """
    config = load_config(config_path)
    # A single file that holds no mail leaves no spool behind.
    raws = [_read(files[0])] if len(files) == 1 else []
    if not config.fleet.table:  # a fleet's spool is nowhere on this machine
        make_data_dir(config.data_dir)
    agree = partial(_agree, config, yes=yes, silent=as_json)
    replaying = _Replaying(
        config, recipients=recipients, sender=sender, agree=agree, because=because, as_json=as_json
    )
    asyncio.run(replaying.replay(files, raws))
    if replaying.stored and not is_attended(config):
        echo_note(f"{UNATTENDED}: the mail is stored, and goes out when one is started")
    ctx.exit(1 if replaying.failed else 0)


class _Replaying:
    """The files of one command."""

    def __init__(
        self,
        config: Config,
        *,
        recipients: tuple[str, ...],
        sender: str | None,
        agree: Agree,
        because: str,
        as_json: bool,
    ) -> None:
        self._config = config
        self._recipients = recipients
        self._sender = sender
        self._agree = agree
        self._because = because
        self._as_json = as_json
        self.stored = self.failed = 0

    async def replay(self, files: tuple[str, ...], raws: list[bytes]) -> None:
        """Accept the mails; `raws` are those that were read already.

        Raises:
            RelayError: the only mail is refused, or the spool takes none.
        """
        intake = await asyncio.to_thread(open_intake, self._config, by_hand=True)
        try:
            with diagnosed(self._config):
                for file in tracked("replay", files):
                    try:
                        raw = raws.pop() if raws else _read(file)
                        receipt = await self._take(file, raw, intake)
                    except (LocalMailError, ReplayError) as exc:
                        if len(files) == 1:
                            raise
                        self.failed += 1
                        echo_note(str(exc) if isinstance(exc, ReplayError) else f"{file}: {exc}")
                    else:
                        self._show(receipt, file if len(files) > 1 else None)
        finally:
            await intake.close()

    async def _take(self, file: str, raw: bytes, intake: Intake) -> Receipt:
        """Accept one mail, which has its own row in the audit."""
        action = build_action([file, *(f"--rcpt {each}" for each in self._recipients)], self._because)
        with noting_end(self._config, action):
            return await take_local_mail(
                raw,
                config=self._config,
                intake=intake,
                recipients=self._recipients,
                sender=self._sender,
                agree=self._agree,
                action=action,
            )

    def _show(self, receipt: Receipt, file: str | None) -> None:
        """Print the spool id; `file` is given where there are several."""
        self.stored += not receipt.duplicate
        record = {"spool_id": receipt.spool_id, "duplicate": receipt.duplicate}
        if self._as_json and file is not None:
            click.echo(encode_json({"file": file, **record}))
        elif self._as_json:
            echo_json(record)
        else:
            click.echo(receipt.spool_id)
        if receipt.duplicate:
            told = "this mail was here before; nothing was stored"
            echo_note(f"{file}: {told}" if file is not None else told)


def _read(file: str) -> bytes:
    """Read the file, with lines ended by CRLF: files of this machine end theirs with LF."""
    try:
        raw = read_mail(file)
    except MailFileError as exc:
        raise ReplayError(f"{file}: {exc}") from exc
    if not raw.strip():
        raise ReplayError(f"{file}: there is no mail in it")
    return end_lines(raw)


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
