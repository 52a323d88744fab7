"""The options that choose entries, the same for every command of `relay queue`.

Owns their words, and what they mean together: finished entries are chosen only if they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from relay.cli.entries import SpoolView, echo_note
from relay.spool.model import Filter, State

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: Every state but done: the entries that an operator may have to act on.
_OPEN = (State.QUEUED, State.LEASED, State.HELD, State.DEAD)

Function = TypeVar("Function", bound=Callable[..., Any])


def parse_age(text: str) -> timedelta:
    """The time span that "90s", "15m", "6h" or "2d" means.

    Raises:
        click.BadParameter: the text is no such span.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match is None:
        raise click.BadParameter(f'"{text}" is no age; write it like 90s, 15m, 6h or 2d')
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _said(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Reject an empty filter value: it usually comes from an unset shell variable, and would select every
    entry.
    """
    if value is not None and not value.strip():
        raise click.BadParameter("is empty")
    return value


def _limited(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """The instant that an age means."""
    if value is None:
        return None
    try:
        return datetime.now(UTC) - parse_age(value)
    except OverflowError:
        raise click.BadParameter(f'"{value}" is before all time') from None


#: The routes of a tenant before the configuration has said which they are: none.
_NOT_YET: tuple[str, ...] = ()
_STATES = click.option(
    "--state",
    "states",
    metavar="STATE",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="queued, leased, held, dead or done; may be given again. Default: all but done.",
)
_OTHERS = (
    click.option("--tenant", metavar="NAME", callback=_said, help="Only routes of this tenant."),
    click.option("--route", metavar="NAME", callback=_said, help="Only this route, by its name."),
    click.option(
        "--reason", metavar="WORD", callback=_said, help='Only reasons that begin so: "connect.", "s3.".'
    ),
    click.option(
        "--sender",
        metavar="ADDRESS",
        callback=_said,
        help='Only this reverse-path: a@b, @b (domain), a@ (local part), or a part of it; "<>" is the null one.',
    ),
    click.option(
        "--recipient",
        metavar="ADDRESS",
        callback=_said,
        help="Only this recipient or destination, written in the same way.",
    ),
    click.option(
        "--older-than",
        metavar="AGE",
        callback=_limited,
        help="Only what was accepted before: 90s, 15m, 6h, 2d.",
    ),
)


def filters(function: Function) -> Function:
    """Add the options that choose entries."""
    everything = click.option(
        "--all", "everything", is_flag=True, help="Entries of every state: what is done, too."
    )
    for option in reversed((_STATES, *_OTHERS, everything)):
        function = option(function)
    return function


def is_chosen(chosen: dict[str, Any]) -> bool:
    """Returns whether any of the options was given."""
    return any(chosen.values())


def tell_filter(chosen: dict[str, Any]) -> list[str]:
    """The options that were given, as they are written."""
    told = [f"--state {state}" for state in chosen["states"]]
    names = ("tenant", "route", "reason", "sender", "recipient")
    told += [f"--{name} {chosen[name]}" for name in names if chosen[name] is not None]
    if chosen["older_than"] is not None:
        told.append(f"--older-than {chosen['older_than']:%Y-%m-%dT%H:%M:%SZ}")
    return [*told, *(["--all"] if chosen["everything"] else [])]


def build_filter(
    ids: Sequence[str] = (),
    *,
    states: Sequence[str],
    tenant: str | None,
    route: str | None,
    reason: str | None,
    sender: str | None,
    recipient: str | None,
    older_than: datetime | None,
    everything: bool,
    limit: int,
) -> Filter:
    """The filter that ids and options ask for."""
    return Filter(
        ids=tuple(ids),
        states=tuple(State(state) for state in states) or (() if everything else _OPEN),
        route=route,
        routes=None if tenant is None else _NOT_YET,
        reason=reason,
        sender=sender,
        recipient=recipient,
        older_than=older_than,
        limit=limit,
    )


def note_unlooked(view: SpoolView) -> None:
    """Print a note if the last question did not look at all of the spool."""
    if left_out := view.desk.unlooked():
        echo_note(left_out)


def limit_to_tenant(view: SpoolView, wanted: Filter, tenant: str | None) -> Filter:
    """The filter with the routes of the tenant that an option names."""
    return wanted if tenant is None else replace(wanted, routes=find_tenant(view.tenants, tenant))


def find_tenant(tenants: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """The routes of a tenant.

    Raises:
        click.UsageError: there is no such tenant: nobody takes a misspelt one for one without mail.
    """
    if name not in tenants:
        known = ", ".join(sorted(tenants)) or "none (routes[].tenant)"
        raise click.UsageError(f'no tenant is named "{name}"; there are: {known}')
    return tenants[name]


def note_unknown_route(view: SpoolView, name: str | None) -> None:
    """Print a note if a filter names a route that does not exist, with those that do."""
    if name is None or name in view.routes:
        return
    known = view.find_routes()
    if name not in known:
        echo_note(f'no route is named "{name}"; there are: {", ".join(known)}')
