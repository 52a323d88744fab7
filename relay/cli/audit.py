"""The command `relay audit`: who did what, when, why, and how it ended.

Owns the lines for people and the records for programs. Reads alone: it works on a full disk, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli import config_option
from relay.cli.entries import echo, echo_json, echo_note, json_option
from relay.cli.filters import find_tenant, parse_age
from relay.spool.audit import Audited, AuditFilter, Stage, merge_rows
from relay.spool.desk import Desk


def _read_instant(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """The instant that an age, a day or a time of day means."""
    if value is None:
        return None
    try:
        return datetime.now(UTC) - parse_age(value)
    except OverflowError:
        raise click.BadParameter(f'"{value}" is before all time') from None
    except click.BadParameter:
        pass
    try:
        at = datetime.fromisoformat(value.strip())
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f'"{value}" is neither an age (90s, 15m, 6h, 7d) nor an instant (2026-11-29, 2026-11-29T14:00Z)'
        ) from None


#: Rows that are looked through for a tenant: a year has fewer.
_MOST_ROWS = 1_000_000


def _instant(name: str, help_text: str) -> Callable[..., Any]:
    return click.option(name, metavar="AGE|INSTANT", callback=_read_instant, help=help_text)


@click.command(
    "audit",
    epilog="\b\nExamples:\n  relay audit --since 7d\n  relay audit --actor ann --command queue\n"
    "  relay audit --since 2026-11-01 --until 2026-11-30 --json",
)
@config_option
@_instant("--since", "Only what was done since: 6h, 7d, 2026-11-29, 2026-11-29T14:00Z.")
@_instant("--until", "Only what was done until then.")
@click.option("--actor", metavar="NAME", help="Only what this person did.")
@click.option(
    "--command", "command", metavar="WORDS", help='Only this command, or group: "queue drop", "queue".'
)
@click.option("--tenant", metavar="NAME", help="Only what was done to mail or routes of this tenant.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    default=1_000,
    show_default=True,
    help="The newest N rows at most.",
)
@json_option
def audit_command(
    config_path: str | None,
    since: datetime | None,
    until: datetime | None,
    actor: str | None,
    command: str | None,
    tenant: str | None,
    *,
    limit: int,
    as_json: bool,
) -> None:
    """Say who changed something, or read a mail: newest last, for a year back.

    What was begun outside of the spool, and of which no end is known, is shown as begun.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic
    from relay.spool.opening import open_desk  # noqa: PLC0415 - nor SQLite

    words = " ".join(command.split()) if command is not None else None
    wanted = AuditFilter(
        since=since,
        until=until,
        actor=actor,
        command=words,
        limit=limit + 1 if tenant is None else _MOST_ROWS,
    )
    config = load_config(config_path)
    with closing(open_desk(config)) as desk:
        rows = desk.actions(wanted)
        if tenant is not None:
            routes = find_tenant(config.list_tenants(), tenant)
            rows = [row for row in rows if _concerns(desk, row, routes, tenant)]
    if len(rows) > limit:
        rows = rows[-limit:]
        echo_note(f"only the newest {limit} rows are shown; --limit N shows more")
    merged = merge_rows(rows)
    if as_json:
        echo_json([build_record(row) for row in merged])
        return
    for row in merged:
        echo(show_row(row))
    if not merged:
        echo_note("nothing of this is in the audit")


def _concerns(desk: Desk, row: Audited, routes: Collection[str], tenant: str) -> bool:
    """Returns whether all that an action was about is the tenant's: its routes, or mail of them that
    the spool still has.
    """
    from relay.spool.model import Filter  # noqa: PLC0415 - as above

    about = [word for word in row.action.about if not word.startswith("--to ")]
    names = {*routes, *(f"route {each}" for each in routes), *(f"--route {each}" for each in routes)}
    names.add(f"--tenant {tenant}")
    filters = [word for word in about if word.startswith("--")]
    if filters:  # together they chose the mail: one that names a route of the tenant bounds all
        return any(word in names for word in filters)
    ids = [word for word in about if word not in names]
    if not about or not ids:
        return bool(about)
    found = desk.select(Filter(ids=tuple(ids)))
    return bool(found) and not desk.unknown(ids) and all(each.destination.route in routes for each in found)


def build_record(row: Audited) -> dict[str, Any]:
    """The record of an action for programs."""
    action = row.action
    return {
        "number": row.number,
        "at": row.at.isoformat(),
        "actor": action.actor,
        "via": action.via,
        "command": action.command,
        "about": list(action.about),
        "outcome": row.stage,
        "counts": dict(row.counts),
        "reason": action.reason,
        "detail": row.detail,
    }


def show_row(row: Audited) -> str:
    """The line of an action for a person."""
    action = row.action
    counts = ", ".join(f"{number:,} {name}" for name, number in row.counts.items() if number)
    parts = [
        f"{row.at:%Y-%m-%d %H:%M:%S}Z",
        action.actor,
        f"({action.via})",
        " ".join((action.command, *action.about)),
        "-",
        "begun, no end is known" if row.stage is Stage.BEGUN else row.stage,
    ]
    line = " ".join(parts) + (f": {counts}" if counts else "")
    line += f"; {row.detail}" if row.detail else ""
    return line + (f'; reason: "{action.reason}"' if action.reason else "")
