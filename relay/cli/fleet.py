"""The commands `relay fleet …`: the spool that the nodes of a fleet share is made, examined and looked at.

Owns their output.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli import config_option
from relay.cli.audited import auditing, build_action, reason_option
from relay.cli.entries import count_entries, echo, echo_json, echo_note, encode_json, json_option
from relay.cli.findings import Output
from relay.cli.progress import showing_progress

if TYPE_CHECKING:  # `--help` needs no pydantic
    from relay.config.model import Config
    from relay.spool.founded import Step
    from relay.spool.moved import Move


@click.group("fleet")
def fleet_group() -> None:
    """Make, examine and move the spool that the nodes of a fleet share (docs/fleet.md)."""


def load_fleet(config_path: str | None) -> Config:
    """The configuration, which names a table."""
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic
    from relay.spool.administration import check_fleet  # noqa: PLC0415 - see above

    config = load_config(config_path)
    check_fleet(config)
    return config


@fleet_group.command("create", epilog="\b\nExample:\n  relay fleet create && relay fleet check")
@config_option
@json_option
def create_command(config_path: str | None, *, as_json: bool) -> None:
    """Make the table of [fleet]: its indexes, on demand, with deletion protection and point-in-time recovery.

    What is there already is left as it is, and what lacks is made, so the command may be given again. The
    bucket is that of [s3]; this makes none.
    """
    from relay.spool.administration import found_fleet  # noqa: PLC0415 - see above

    config = load_fleet(config_path)

    def tell(step: Step) -> None:
        if as_json:
            click.echo(encode_json(step._asdict()))
        else:
            echo(f"{'made' if step.is_new else 'there':<5} {step.subject}: {step.detail}")

    found_fleet(config, tell=tell)


@fleet_group.command("check", epilog="\b\nExample:\n  relay fleet check --json")
@config_option
@json_option
@click.pass_context
def check_command(ctx: click.Context, config_path: str | None, *, as_json: bool) -> None:
    """Examine the table and the bucket of [fleet], and what this machine may do there: ok, warn or fail.

    Exits with 1 when a line says fail. A right to write is proved by a change that cannot happen, and in the
    bucket by one empty object, which is removed again. `relay check` has these lines, too.
    """
    from relay.check.fleet import examine_shared  # noqa: PLC0415 - the AWS libraries take most of a second

    output = Output(as_json=as_json)
    for finding in examine_shared(load_fleet(config_path)):
        output.show(finding)
    ctx.exit(1 if output.failed else 0)


@fleet_group.command("status", epilog="\b\nExample:\n  relay fleet status --json | jq .leader")
@config_option
@json_option
def status_command(config_path: str | None, *, as_json: bool) -> None:
    """Say which node delivers and how old its lease is, what each node tells of itself, and what is owed.

    Nodes tell of themselves every five minutes, and when something changes. It asks the table alone: any
    machine with rights will do.
    """
    from relay.cli.fleet_status import build_status, show_status  # noqa: PLC0415 - see above
    from relay.spool.administration import read_fleet  # noqa: PLC0415 - see above

    status = read_fleet(load_fleet(config_path))
    if as_json:
        echo_json(build_status(status))
    else:
        echo(*show_status(status))


@fleet_group.command("import", epilog="\b\nExample:\n  relay fleet import --from /var/lib/relay")
@config_option
@click.option(
    "--from",
    "data_dir",
    metavar="DATA_DIR",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The data_dir whose spool is moved; its relay must be stopped.",
)
@reason_option
@json_option
@click.pass_context
def import_command(
    ctx: click.Context, config_path: str | None, data_dir: Path, *, because: str, as_json: bool
) -> None:
    """Move a local spool into the fleet: mail, entries, tokens, doubts, requests, guards and the ledger.

    From its beginning on no relay starts on that spool, so nothing is delivered from two places. If it is cut
    short, give it again: it goes on, and nothing comes twice. When all has moved, the spool is empty, and may
    be used again.
    """
    from relay.spool.administration import import_spool  # noqa: PLC0415 - see above

    config = load_fleet(config_path)
    action = build_action([str(data_dir.absolute())], because)
    with auditing(config, action) as ending, showing_progress("import") as progress:
        move = import_spool(config, data_dir.absolute(), progress=progress, action=action)
        ending.counts = {"mails": move.mails, "waiting": move.owed, "left": len(move.left)}
    _tell_move(move, as_json=as_json)
    if move.left:
        echo_note(
            f"{data_dir}: stays closed to relays; mend or drop what is left, and give the command again"
        )
        ctx.exit(1)


@fleet_group.command(
    "export", epilog="\b\nExample:\n  relay pause intake && relay fleet export --to /var/lib/relay"
)
@config_option
@click.option(
    "--to",
    "data_dir",
    metavar="DATA_DIR",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The data_dir into whose spool all is moved; one that has none gets one.",
)
@reason_option
@json_option
@click.pass_context
def export_command(
    ctx: click.Context, config_path: str | None, data_dir: Path, *, because: str, as_json: bool
) -> None:
    """Move all of the fleet into a local spool. The nodes are stopped, and the intake is paused.

    It holds the lead, so no node delivers meanwhile, and no relay starts on the local spool until all is
    there. If it is cut short, give it again. Entries get new numbers behind the ids of their mails.
    """
    from relay.spool.administration import export_spool  # noqa: PLC0415 - see above

    config = load_fleet(config_path)
    action = build_action([str(data_dir.absolute())], because)
    with auditing(config, action) as ending, showing_progress("export") as progress:
        move = export_spool(config, data_dir.absolute(), progress=progress, action=action)
        ending.counts = {"mails": move.mails, "waiting": move.owed, "left": len(move.left)}
    _tell_move(move, as_json=as_json)
    if move.left:
        echo_note(
            f"{data_dir}: stays closed to relays; mend or drop what is left, and give the command again"
        )
        ctx.exit(1)


def _tell_move(move: Move, *, as_json: bool) -> None:
    if as_json:
        echo_json(
            {
                "mails": move.mails,
                "waiting": move.owed,
                "known": move.known,
                "records": move.records,
                "left": [{"spool_id": left.spool_id, "why": left.why} for left in move.left],
            }
        )
    else:
        mails = f"{move.mails:,} {'mail' if move.mails == 1 else 'mails'}"
        known = f", {move.known:,} were there already" if move.known else ""
        echo(
            f"moved {mails}, {count_entries(move.owed)} waiting{known}; {move.records:,} records of earlier mail"
        )
    for left in move.left:
        echo_note(f"{left.spool_id}: stays where it is: {left.why}")
