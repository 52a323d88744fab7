"""The command `relay`: its sub-commands and its exit codes.

Owns the list of sub-commands and the exit codes: 0 fine, 1 failed, 2 bad usage or bad configuration. A
sub-command is imported only when it is asked for, so a receiver never loads the AWS libraries of another
command.
"""

from __future__ import annotations

import errno
import importlib
import sys
from contextlib import suppress
from typing import Any, NamedTuple

import click

from relay import __version__
from relay.errors import ConfigError, RelayError
from relay.terminal import write_out


class Command(NamedTuple):
    """A sub-command: where its function is, and its line in `relay --help`."""

    place: str
    help: str


COMMANDS = {
    "init": Command("relay.cli.init:init_command", "Write a first configuration from a few questions."),
    "serve": Command("relay.cli.serve:serve_command", "Receive mail and deliver it, until told to stop."),
    "check": Command("relay.cli.check:check_command", "Say everything that can be wrong, one line each."),
    "explain": Command(
        "relay.cli.explain:explain_command", "Show what a mail would become, without network."
    ),
    "queue": Command("relay.cli.queue:queue_group", "List and change the mail that waits."),
    "list": Command("relay.cli.lists:list_group", "Read and change lists of senders."),
    "passwd": Command("relay.cli.passwd:passwd_command", "Set the password of a login, or remove the login."),
    "alarms": Command("relay.cli.alarms:alarms_group", "Try the receivers of alarms."),
    "policy": Command("relay.cli.policy:policy_group", "Report what the rules of the policy did."),
    "report": Command(
        "relay.cli.report:report_command", "Say what a day or a week brought, and what it cost."
    ),
    "tail": Command("relay.cli.tail:tail_command", "Show what peers say, and we answer, as it is said."),
    "trace": Command("relay.cli.trace:trace_command", "Answer: where is my mail?"),
    "erase": Command("relay.cli.erase:erase_command", "Remove what there is of a person who wrote."),
    "replay": Command(
        "relay.cli.replay:replay_command", "Put a mail from a file into the spool, as if received."
    ),
    "backup": Command(
        "relay.cli.backup:backup_command", "Write the spool into one archive, while mail flows."
    ),
    "restore": Command("relay.cli.backup:restore_command", "Make the spool of an archive."),
    "fleet": Command("relay.cli.fleet:fleet_group", "Make, examine and move the spool that nodes share."),
    "pause": Command("relay.cli.pause:pause_command", "Stop the intake, the delivery, or one route."),
    "resume": Command("relay.cli.pause:resume_command", "Let go on what was paused."),
    "route": Command("relay.cli.routes:route_group", "Lead a route to its standby, and back."),
    "events": Command("relay.cli.events:events_group", "Look after the events that are told outside."),
    "audit": Command("relay.cli.audit:audit_command", "Say who changed something, or read a mail."),
    "sandbox": Command(
        "relay.cli.sandbox:sandbox_command", "Run it all on this machine: no AWS account needed."
    ),
}


#: Errors of a write to a file on a disk that takes no more.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Program(click.Group):
    """A group whose sub-commands are imported when they are asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a program. Output that cannot be written, on a full disk say, ends in a sentence, too."""
        try:
            return super().main(*args, **kwargs)
        except OSError as exc:
            # Commands turn the errors of the spool and of files into ours; click handles EPIPE by itself.
            if exc.filename is not None or exc.errno not in _NO_ROOM:
                raise
            click.echo(f"relay: the output cannot be written: {exc.strerror}", err=True)
            _drop_output()
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The sub-command of this name, which is imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list in `relay --help` from the table above, without any import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and turn our errors into sentences and exit codes."""
        try:
            return super().invoke(ctx)
        except ConfigError as exc:
            for sentence in exc.sentences:
                click.echo(f"relay: {write_out(sentence)}", err=True)
            ctx.exit(2)
        except RelayError as exc:
            click.echo("\n".join(f"relay: {write_out(line)}" for line in str(exc).split("\n")), err=True)
            ctx.exit(1)


def _drop_output() -> None:
    """Close standard output with what it still holds: otherwise the interpreter would try to write it again,
    and complain.
    """
    with suppress(OSError):
        sys.stdout.close()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """Turn every accepted mail into an Amazon Connect e-mail contact."""


#: The option `--config` of every command.
config_option = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    help="The configuration; default: $RELAY_CONFIG, then /etc/relay/relay.toml.",
)
