"""The commands `relay fleet …`: the spool that the nodes of a fleet share is made, examined and looked at.

Owns their output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli import config_option
from relay.cli.entries import echo, encode_json, json_option
from relay.cli.findings import Output

if TYPE_CHECKING:  # `--help` needs no pydantic
    from relay.config.model import Config
    from relay.spool.founded import Step


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
