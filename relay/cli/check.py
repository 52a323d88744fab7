"""The command `relay check`: a line for everything that was examined, and an exit code.

Owns the output, and who examines: root runs the examination as the service of the unit, if there is one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from relay.check import Service, examine
from relay.check.finding import Level, fail, ok
from relay.check.rules import examine_included
from relay.check.service import borrowed_environment, examine_program, find_service, run_as_service
from relay.check.unit import NAME, Unit, find_unit
from relay.cli import config_option
from relay.cli.audited import auditing, build_action, reason_option
from relay.cli.entries import echo_note
from relay.cli.findings import Output
from relay.cli.live import Live, ask_live, makes_contacts
from relay.config.load import find_config, is_of_environment, load_all, load_config
from relay.errors import ConfigError


@click.command("check")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--offline", is_flag=True, help="Look at this machine only; ask nothing of DNS or AWS.")
@click.option("--alarm", is_flag=True, help="Send a test alarm, and its end, to the receivers of [alarms].")
@click.option("--as-is", is_flag=True, help="As root: examine as root, with the environment of this shell.")
@click.option(
    "--unit",
    "name",
    default=NAME,
    show_default=True,
    help="The systemd unit whose user and environment count.",
)
@click.option(
    "--live", is_flag=True, help="Ask an account the questions of these names, by contacts; `list` has them."
)
@click.option("--yes", is_flag=True, help="With --live: agree to the contacts and their cost.")
@click.option("--report", default="", metavar="PATH", help="With --live: write PATH.txt and PATH.json.")
@click.option(
    "--instance", default="", metavar="ID", help="With --live: another instance than [connect] names."
)
@click.option(
    "--patience",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, 3_600),
    metavar="SECONDS",
    help="With --live: how long to wait for what Connect does later.",
)
@reason_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--as-service", is_flag=True, hidden=True, help="The rights of the unit's service were taken.")
@click.pass_context
def check_command(
    ctx: click.Context,
    config_path: str | None,
    name: str,
    report: str,
    instance: str,
    patience: float,
    names: tuple[str, ...],
    because: str,
    *,
    live: bool,
    yes: bool,
    as_json: bool,
    offline: bool,
    alarm: bool,
    as_is: bool,
    as_service: bool,
) -> None:
    """Say everything that can be wrong, one line each: ok, warn or fail.

    Exits with 1 when a line says fail. Run as root, it examines as the user of the systemd unit, with the
    unit's environment file and credentials; --as-is turns that off. With AWS it stores one small object,
    <prefix>relay-check, and fetches it by a presigned URL as Connect would.

    With --live it asks a real instance what only that can answer (docs/live.md): each NAME is a question,
    which starts contacts that cost money and are ended at once. It asks before. Run as root, it asks with the
    environment of the unit, too.
    """
    if live:
        if as_json or offline or alarm:
            raise click.UsageError(
                "--live asks a real account, and writes a report: it goes without --json, --offline and --alarm"
            )
        wanted = Live(names=names, yes=yes, report=report, instance_id=instance, patience_seconds=patience)
        unit = None if as_is or os.geteuid() != 0 else find_unit(name)
        ctx.exit(0 if _ask_live(unit, config_path, wanted, because) else 1)
    if names:
        raise click.UsageError(f"{names[0]}: only --live takes names")
    output = Output(as_json=as_json)
    unit = None if as_is else find_unit(name)
    if unit is not None and not as_service and os.geteuid() == 0:
        flags = {"--json": as_json, "--offline": offline, "--alarm": alarm}
        arguments = [flag for flag, is_given in flags.items() if is_given]
        code = _pass_on(unit, config_path, arguments, output)
        if code is not None:
            ctx.exit(1 if output.failed else code)
    service_unit = unit if as_service else None
    _examine_all(config_path, output, remote=not offline, alarm=alarm, unit=service_unit)
    ctx.exit(1 if output.failed else 0)


def _examine_all(
    config_path: str | None, output: Output, *, remote: bool, alarm: bool, unit: Unit | None
) -> None:
    """Show the findings about the configuration, and about all that it names."""
    try:
        loaded = load_all(config_path, checked=True)
    except ConfigError as exc:
        for sentence in exc.sentences:
            output.show(fail("config", sentence))
        return
    file = find_config(config_path)
    alone = is_of_environment(config_path)
    output.show(ok("config", "the environment alone (RELAY_...)" if alone else file))
    service = Service(unit=unit, file=Path(file)) if unit is not None else None
    now = datetime.now(UTC)
    for finding in examine_included(loaded):
        output.show(finding)
    for finding in examine(loaded.config, now=now, remote=remote, alarm=alarm, service=service):
        output.show(finding)


def _ask_live(unit: Unit | None, config_path: str | None, wanted: Live, because: str) -> bool:
    """Ask a real instance, by the credentials of the unit where there is one. Returns whether each question
    has its answer. The audit tells of the contacts, and of the person behind root.
    """
    subject = [*wanted.names, *([wanted.instance_id] if wanted.instance_id else [])]
    action = build_action(subject, because)
    with _lent(unit):
        config = load_config(config_path or (_named_config(unit) if unit is not None else "") or None)
        if not makes_contacts(wanted):
            return ask_live(config, wanted)
        with auditing(config, action) as ending:
            is_known = ask_live(config, wanted)
            ending.detail = "" if is_known else "not every question was answered"
        return is_known


@contextmanager
def _lent(unit: Unit | None) -> Iterator[None]:
    """A block with the environment of the unit, if one is given.

    Raises:
        ConfigError: the unit has no environment to start with.
    """
    if unit is None:
        yield
        return
    service = find_service(unit)
    wrong = [each.detail for each in service.findings] if service is not None else [_tell_nobody(unit)]
    if service is None or wrong:
        raise ConfigError(
            *(f"{sentence} (--as-is asks by the credentials of this shell)" for sentence in wrong)
        )
    echo_note(f"asks with the environment of {unit.path}")
    with borrowed_environment(service):
        yield


def _tell_nobody(unit: Unit) -> str:
    who = f"User={unit.user}" + (f" or Group={unit.group}" if unit.group else "")
    return (
        f"{who} of {unit.path} is not on this machine; make it: systemd-sysusers, with systemd/relay.sysusers"
    )


def _pass_on(unit: Unit, config_path: str | None, arguments: list[str], output: Output) -> int | None:
    """Have the examination made as the service. Returns its exit code, or None where it cannot be made so."""
    service = find_service(unit)
    if service is None:
        output.show(fail("unit", _tell_nobody(unit)))
        return None
    program = list(examine_program(service))
    for finding in (*service.findings, *program):
        output.show(finding)
    if any(finding.level is not Level.OK for finding in program):
        return None
    path = os.path.abspath(config_path) if config_path else _named_config(unit)  # noqa: PTH100 - no links resolved
    own = [sys.executable, "-m", "relay"]
    named = ["--config", path] if path else []
    sys.stdout.flush()
    code = run_as_service(service, ["check", "--as-service", "--unit", unit.name, *named, *arguments], own)
    if code not in (0, 1, 2):
        first = (unit.command or own)[0]
        output.show(
            fail(
                "unit",
                f"{shutil.which(first) or first} ends with {code} as {service.user}; may that user run it?",
            )
        )
    return code


def _named_config(unit: Unit) -> str:
    """The configuration that ExecStart= names, or ""."""
    words = unit.command
    at = words.index("--config") + 1 if "--config" in words else len(words)
    return words[at] if at < len(words) else ""
