"""The commands `relay events`: how many events wait, and a further try for those that were given up.

Owns their words. The events themselves are told by the deliverer (docs/events.md).
"""

from __future__ import annotations

import click

from relay.cli import config_option
from relay.cli.audited import build_action, noting_failure, reason_option
from relay.cli.entries import echo, echo_json, json_option, open_view


@click.group("events")
def events_group() -> None:
    """Look after the events that are told to a receiver outside."""


@events_group.command("status")
@config_option
@json_option
def status_command(config_path: str | None, *, as_json: bool) -> None:
    """Say how many events wait to be told, and how many were given up."""
    with open_view(config_path) as view:
        waiting, given_up = view.desk.feed()
    if as_json:
        echo_json({"waiting": waiting, "given_up": given_up})
    else:
        echo(f"{waiting} wait, {given_up} were given up")


@events_group.command("retry")
@config_option
@reason_option
@json_option
def retry_command(config_path: str | None, *, because: str, as_json: bool) -> None:
    """Have the events told again that were given up."""
    action = build_action([], because)
    with open_view(config_path) as view, noting_failure(view.desk, action):
        count = view.desk.retry_feed(action=action)
    if as_json:
        echo_json({"changed": count})
    else:
        echo(f"{count} events are due again")
