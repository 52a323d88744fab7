"""The command `relay check`: a line for everything that was examined, and an exit code."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from relay.check import examine
from relay.check.finding import Finding, Level, fail, ok
from relay.cli import config_option
from relay.cli.entries import encode_json, printable
from relay.config.load import find_config, load_config
from relay.errors import ConfigError

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command("check")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--offline", is_flag=True, help="Look at this machine only; ask nothing of DNS or AWS.")
@click.pass_context
def check_command(ctx: click.Context, config_path: str | None, as_json: bool, offline: bool) -> None:
    """Say everything that can be wrong, one line each: ok, warn or fail.

    Exits with 1 when a line says fail. With AWS it stores one small object, <prefix>relay-check, and fetches
    it by a presigned URL as Connect would.
    """
    failed = False

    def show(finding: Finding) -> None:
        nonlocal failed
        failed |= finding.level is Level.FAIL
        if as_json:
            click.echo(encode_json(asdict(finding)))
        else:
            level = click.style(f"{finding.level:<5}", fg=_COLOURS[finding.level])
            click.echo(f"{level} {printable(f'{finding.subject}: {finding.detail}')}")

    try:
        config = load_config(config_path)
    except ConfigError as exc:
        for sentence in exc.sentences:
            show(fail("config", sentence))
    else:
        show(ok("config", find_config(config_path)))
        for finding in examine(config, now=datetime.now(UTC), remote=not offline):
            show(finding)
    ctx.exit(1 if failed else 0)
