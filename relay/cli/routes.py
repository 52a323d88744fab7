"""The commands `relay route`: which instance each route leads to, and the switch to its standby and back.

Owns their words. A switch outlives restarts, reloads, a backup and a restore: only the other switch ends it.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from relay.cli import config_option
from relay.cli.audited import build_action, noting_failure, reason_option
from relay.cli.entries import echo, echo_json, echo_note, json_option, printable
from relay.cli.waiting import note_unattended

if TYPE_CHECKING:  # `--help` and a mistyped option need no pydantic
    from relay.config import Config, Route
    from relay.spool.desk import Desk


@click.group("route")
def route_group() -> None:
    """Lead a route to its standby, and back."""


@route_group.command("list")
@config_option
@json_option
def list_command(config_path: str | None, *, as_json: bool) -> None:
    """List the routes, with the instance that each leads to now."""
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic
    from relay.spool.opening import open_desk  # noqa: PLC0415 - as above

    config = load_config(config_path)
    with closing(open_desk(config)) as desk:
        switched = desk.paused().standby
    records = [_record(config, route, switched=route.name in switched) for route in config.routes]
    if as_json:
        echo_json(records)
        return
    for record in records:
        where = "standby" if record["on_standby"] else "primary"
        other = f", standby {record['standby']}" if record["standby"] else ""
        echo(printable(f"{record['route']}  {where}  {record['instance_id']}{other}"))


@route_group.command("switch", epilog="\b\nExamples:\n  relay route switch support --to standby")
@config_option
@click.argument("name", metavar="NAME")
@click.option(
    "--to", "place", required=True, type=click.Choice(["standby", "primary"]), help="Where its mail goes."
)
@reason_option
@json_option
def switch_command(config_path: str | None, name: str, *, place: str, because: str, as_json: bool) -> None:
    """Lead a route to its standby instance (routes[].standby), or back to its own.

    Mail of which no request is in doubt goes there at once, waiting mail too. A mail whose request may have
    become a contact stays with the instance of that request until its fate is known. It lasts, over restarts
    too, until the next switch.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic
    from relay.spool.opening import open_desk  # noqa: PLC0415 - as above

    config = load_config(config_path)
    to_standby = place == "standby"
    action = build_action([name, f"--to {place}"], because)
    with closing(open_desk(config)) as desk:
        route = _find_route(config, desk, name, to_standby=to_standby)
        own = (route and route.instance_id) or config.connect.instance_id
        other = (route and route.standby) or own
        with noting_failure(desk, action):
            changed = desk.switch(
                name,
                standby=to_standby,
                leaving=own if to_standby else other,
                now=datetime.now(UTC),
                action=action,
            )
        record = {"changed": changed, **_record(config, route, switched=to_standby, name=name)}
        if as_json:
            echo_json(record)
        else:
            said = "leads" if changed else "led before"
            echo(printable(f"{name} {said} to its {place}: {record['instance_id']}"))
        if changed:
            note_unattended(desk)
            if (doubtful := _count_doubtful(desk, name)) and not as_json:
                echo_note(f"{doubtful} mails stay with the instance of their request until its fate is known")


def _find_route(config: Config, desk: Desk, name: str, *, to_standby: bool) -> Route | None:
    """The route of this name. Returns None for one that the configuration has not any more, whose switch may
    still be ended.

    Raises:
        click.UsageError: there is no such route, or it has no standby.
    """
    route = next((each for each in config.routes if each.name == name), None)
    if route is None and (to_standby or name not in desk.paused().standby):
        known = ", ".join(each.name for each in config.routes)
        raise click.UsageError(f'no route is named "{name}"; there are: {known}')
    if route is not None and route.standby is None and to_standby:
        raise click.UsageError(
            f'the route {name} has no standby; name one, as in standby = "<instance>" under its [[routes]]'
        )
    return route


def _count_doubtful(desk: Desk, name: str) -> int:
    from relay.spool.model import RETRIABLE, Filter  # noqa: PLC0415 - as above

    found = desk.select(Filter(route=name, states=RETRIABLE))
    return sum(entry.in_doubt_since is not None for entry in found)


def _record(config: Config, route: Route | None, *, switched: bool, name: str = "") -> dict[str, Any]:
    own = (route and route.instance_id) or config.connect.instance_id
    standby = route.standby if route else None
    is_there = switched and standby is not None
    return {
        "route": route.name if route else name,
        "on_standby": is_there,
        "instance_id": standby if is_there else own,
        "primary": own,
        "standby": standby,
    }
