"""`relay queue`: the mail that waits, and an operator's hands on it.

Owns the words and columns of the queue for people and for programs (`--json`). Talks to the spool itself, so it
works while the daemon runs and while it does not. Never touches an entry that is under way.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from relay.cli import config_option
from relay.cli.entries import (
    build_details,
    build_record,
    desk_of,
    echo_json,
    json_option,
    pause_sentences,
    printable,
    span,
)
from relay.spool.model import Backlog, Entry, Filter, Paused, State

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_OPEN = (State.QUEUED, State.LEASED, State.HELD, State.DEAD)
#: The columns of `summary`, doubling as in qshape(1): 5 minutes to 42 hours, then the rest.
_AGES = tuple(timedelta(minutes=5 * 2**step) for step in range(10))

Function = TypeVar("Function", bound=Callable[..., Any])


def parse_age(text: str) -> timedelta:
    """The time span that "90s", "15m", "6h" or "2d" means.

    Raises:
        click.BadParameter: it means none.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match is None:
        raise click.BadParameter(f'"{text}" is no age; write it like 90s, 15m, 6h or 2d')
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def filters(function: Function) -> Function:
    """The options that choose entries."""
    for option in reversed(
        (
            click.option(
                "--state",
                "states",
                multiple=True,
                type=click.Choice([state.value for state in State]),
                help="Only this state.",
            ),
            click.option("--route", help="Only the route of this name."),
            click.option("--reason", help='Only this reason, or all that begin with it ("connect").'),
            click.option("--sender", help='Only reverse-paths with this in them; "<>" is the null one.'),
            click.option("--recipient", help="Only recipients with this in them."),
            click.option(
                "--older-than", metavar="AGE", help="Only what was accepted before: 90s, 15m, 6h, 2d."
            ),
        )
    ):
        function = option(function)
    return function


def build_filter(
    ids: Sequence[str],
    *,
    states: Sequence[str],
    route: str | None,
    reason: str | None,
    sender: str | None,
    recipient: str | None,
    older_than: str | None,
    limit: int,
) -> Filter:
    """The filter that ids and options ask for."""
    return Filter(
        ids=tuple(ids),
        states=tuple(State(state) for state in states),
        route=route,
        reason=reason,
        sender=sender,
        recipient=recipient,
        older_than=datetime.now(UTC) - parse_age(older_than) if older_than else None,
        limit=limit,
    )


@click.group("queue")
def queue_group() -> None:
    """List and change the mail that waits. An ID is a spool id, or ENTRY as `list` shows it."""


@queue_group.command("list")
@config_option
@filters
@click.option("--all", "everything", is_flag=True, help="Finished entries too.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1_000, show_default=True)
@json_option
def list_command(
    config_path: str | None, *, everything: bool, limit: int, as_json: bool, **chosen: Any
) -> None:
    """List what is queued, leased, held or dead, oldest first."""
    if not chosen["states"] and not everything:
        chosen["states"] = _OPEN
    with desk_of(config_path) as desk:
        # One more than is shown, to know whether that is all.
        entries = desk.select(build_filter((), limit=limit + 1, **chosen))
        counts = desk.counts()
        paused = desk.paused()
    if len(entries) > limit:
        click.echo(f"relay: only the oldest {limit} are listed; --limit N lists more", err=True)
        entries = entries[:limit]
    if as_json:
        echo_json([build_record(entry) for entry in entries])
        return
    now = datetime.now(UTC)
    for entry in entries:
        click.echo(_line(entry, now))
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    for sentence in pause_sentences(paused, now):
        click.echo(sentence)


def _line(entry: Entry, now: datetime) -> str:
    sender = entry.envelope.reverse_path or "<>"
    line = (
        f"{entry.spool_id}.{entry.entry_id}  {entry.state:<6}  {span((now - entry.accepted_at).total_seconds()):>7}  "
        f"{entry.attempts:>3}  {printable(sender)} -> {printable(entry.destination.address)}"
    )
    if entry.state is State.QUEUED and entry.next_attempt_at > now:
        line += f"  (again in {span((entry.next_attempt_at - now).total_seconds())})"
    if entry.reason:
        line += f"\n    {printable(entry.reason)}: {printable(entry.detail)}"
    return line


@queue_group.command("show")
@config_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@click.pass_context
def show_command(ctx: click.Context, config_path: str | None, ids: Sequence[str], as_json: bool) -> None:
    """Show everything that is known of an entry, or of all entries of a mail."""
    with desk_of(config_path) as desk:
        entries = desk.select(Filter(ids=tuple(ids)))
        details = [build_details(desk, entry) for entry in entries]
    if as_json:
        echo_json(details)
    else:
        for record in details:
            _echo_details(record)
    if not entries:
        click.echo("relay: no such entry", err=True)
        ctx.exit(1)


def _echo_details(record: dict[str, Any]) -> None:
    for name, value in record.items():
        if name == "history":
            for event in value:
                why = f" {event['reason']}: {event['detail']}" if event["reason"] else ""
                click.echo(f"  {event['at']}  attempt {event['attempt']}  {event['event']}{printable(why)}")
        elif isinstance(value, dict):
            click.echo(f"{name + ':':<20}{printable(', '.join(f'{k}={v}' for k, v in value.items() if v))}")
        elif value not in (None, ""):
            click.echo(f"{name + ':':<20}{printable(str(value))}")
    click.echo()


def _changer(name: str, what: str, done: str, *, states: tuple[State, ...]) -> None:
    """Add a command that changes the entries of IDs, or those that the filters choose."""

    @queue_group.command(name, help=what, short_help=what)
    @config_option
    @click.argument("ids", nargs=-1, metavar="[ID]...")
    @filters
    @click.option("--yes", is_flag=True, help="Do not ask before many entries are changed.")
    @json_option
    @click.pass_context
    def command(
        ctx: click.Context,
        /,
        config_path: str | None,
        *,
        ids: Sequence[str],
        yes: bool,
        as_json: bool,
        **chosen: Any,
    ) -> None:
        if not ids and not any(chosen.values()):
            raise click.UsageError("say which: one or more IDs, or a filter such as --route or --reason")
        if set(chosen["states"]) - {*states}:
            raise click.UsageError(f"{name} takes entries that are {', '.join(states)}")
        with desk_of(config_path) as desk:
            chosen["states"] = chosen["states"] or states
            entries = desk.select(build_filter(ids, limit=1_000_000, **chosen))
            if not ids and not yes and entries:
                if as_json or not sys.stdin.isatty():
                    raise click.UsageError(f"{len(entries)} entries would be changed: say --yes")
                click.confirm(f"{name} {len(entries)} entries?", abort=True)
            change = getattr(desk, name)
            count: int = change([f"{e.spool_id}.{e.entry_id}" for e in entries], now=datetime.now(UTC)).count
        if as_json:
            echo_json({"changed": count})
        else:
            click.echo(f"{count} {'entry' if count == 1 else 'entries'} {done}")
        if not count:
            ctx.exit(1)


_changer(
    "retry",
    "Deliver entries now: queued, held or dead ones.",
    "due now",
    states=(State.QUEUED, State.HELD, State.DEAD),
)
_changer("hold", "Keep queued entries from being delivered.", "held", states=(State.QUEUED,))
_changer("release", "Let held entries be delivered, now.", "released", states=(State.HELD,))
_changer(
    "drop",
    "Remove entries for good, and the mail with the last of them. Nobody is told.",
    "dropped",
    states=(State.QUEUED, State.HELD, State.DEAD, State.DONE),
)


@queue_group.command("export")
@config_option
@click.argument("spool_id", metavar="ID")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, writable=True), help="A file; default: standard output."
)
@click.pass_context
def export_command(ctx: click.Context, config_path: str | None, spool_id: str, output: str | None) -> None:
    """Print the mail as it was received, after our own Received line."""
    with desk_of(config_path) as desk:
        raw = desk.export(spool_id)
    if raw is None:
        click.echo(f"relay: the mail {spool_id} is not in the spool", err=True)
        ctx.exit(1)
    with click.open_file(output or "-", "wb") as file:
        file.write(raw)


@queue_group.command("summary")
@config_option
@json_option
def summary_command(config_path: str | None, *, as_json: bool) -> None:
    """Count what waits by route and age, in minutes (as qshape does), and say what stands still."""
    now = datetime.now(UTC)
    with desk_of(config_path) as desk:
        backlogs = desk.backlog(limits=_AGES, now=now)
        counts = desk.counts()
        paused = desk.paused()
    if as_json:
        echo_json(_summary_record(backlogs, counts, paused))
        return
    heads = [str(int(limit.total_seconds() // 60)) for limit in _AGES]
    click.echo(
        f"{'route':<30}{'total':>7}" + "".join(f"{head:>6}" for head in [*heads, f"{heads[-1]}+"]) + "  dead"
    )
    for backlog in backlogs:
        row = f"{printable(backlog.route)[:29]:<30}{sum(backlog.ages):>7}"
        click.echo(row + "".join(f"{age:>6}" for age in backlog.ages) + f"{backlog.dead:>6}")
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    for sentence in pause_sentences(paused, now):
        click.echo(sentence)


def _summary_record(backlogs: Sequence[Backlog], counts: Any, paused: Paused) -> dict[str, Any]:
    return {
        "counts": {str(state): count for state, count in counts.items()},
        "age_limits_seconds": [int(limit.total_seconds()) for limit in _AGES],
        "routes": [
            {
                "route": backlog.route,
                "queued": backlog.queued,
                "leased": backlog.leased,
                "held": backlog.held,
                "dead": backlog.dead,
                "ages": list(backlog.ages),
                "oldest_accepted_at": backlog.oldest_at.isoformat() if backlog.oldest_at else None,
            }
            for backlog in backlogs
        ],
        "paused": {
            "intake": paused.intake,
            "delivery": paused.delivery,
            "routes": list(paused.routes),
            "held_routes": [
                {"route": h.route, "reason": h.reason, "detail": h.detail, "since": h.since.isoformat()}
                for h in paused.holds
            ],
        },
    }
