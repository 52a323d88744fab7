"""The command `relay list`: an operator adds a sender to a list, removes one, and reads a list.

Owns the words of the command. A list in a file is changed where it lies, one in a table by DynamoDB; running
receivers see a file's change within a second, and a table's within a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from relay.cli import config_option
from relay.cli.audited import auditing, build_action, reason_option
from relay.cli.entries import echo
from relay.config.lists import ListSource
from relay.config.load import load_config
from relay.config.model import Config
from relay.lists.change import add_line, list_lines, remove_line
from relay.lists.entries import EntryError, list_candidates, read_entry

#: Seconds that one call to DynamoDB may take.
_SECONDS = 20.0
Answer = TypeVar("Answer")


@click.group("list")
def list_group() -> None:
    """Read and change lists of senders."""


class _EntryType(click.ParamType[str]):
    name = "ENTRY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return read_entry(str(value))
        except EntryError as exc:
            self.fail(f'"{value}" {exc}', param, ctx)


def _find_source(config_path: str | None, name: str) -> tuple[Config, ListSource]:
    """The configuration, and the list of this name in it."""
    config = load_config(config_path)
    lists = config.lists
    if name not in lists:
        there = f"there are {', '.join(lists)}" if lists else "the configuration has none"
        raise click.BadParameter(f'no list is called "{name}"; {there}', param_hint="NAME")
    return config, lists[name]


def _ask(call: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """The answer of a call to DynamoDB."""
    from relay.aws.clients import open_service  # noqa: PLC0415 - slow to import, and files do without

    async def ask() -> Answer:
        async with open_service("dynamodb") as client:
            return await call(client)

    return asyncio.run(ask())


@list_group.command("add")
@config_option
@click.argument("name")
@click.argument("entries", nargs=-1, required=True, type=_EntryType())
@reason_option
def add_command(config_path: str | None, name: str, entries: tuple[str, ...], because: str) -> None:
    """Add senders to the list NAME: an address, @domain or .domain each."""
    config, source = _find_source(config_path, name)
    added = 0
    with auditing(config, build_action([name, *entries], because)) as ending:
        for entry in entries:
            if source.file is not None:
                new = add_line(source.file, entry)
            else:
                new = _add_item(str(source.dynamodb), entry)
            added += new
            ending.tell(changed=added, left=len(entries) - added)
            echo(f"{entry} is on the list {name} now" if new else f"{entry} was on the list {name} already")


def _add_item(table: str, entry: str) -> bool:
    from relay.aws.tables import add_entry  # noqa: PLC0415 - see `_ask`

    return _ask(lambda client: add_entry(client, table, entry, seconds=_SECONDS))


@list_group.command("remove")
@config_option
@click.argument("name")
@click.argument("entries", nargs=-1, required=True, type=_EntryType())
@reason_option
@click.pass_context
def remove_command(
    ctx: click.Context, config_path: str | None, name: str, entries: tuple[str, ...], because: str
) -> None:
    """Remove senders from the list NAME. Exits with 1 when one of them is not on it."""
    config, source = _find_source(config_path, name)
    removed = 0
    with auditing(config, build_action([name, *entries], because)) as ending:
        for entry in entries:
            if source.file is not None:
                gone = remove_line(source.file, entry)
            else:
                gone = _remove_item(str(source.dynamodb), entry)
            removed += gone
            ending.tell(changed=removed, left=len(entries) - removed)
            echo(f"{entry} is off the list {name} now" if gone else f"{entry} is not on the list {name}")
    ctx.exit(1 if removed < len(entries) else 0)


def _remove_item(table: str, entry: str) -> bool:
    from relay.aws.tables import remove_entry  # noqa: PLC0415 - see `_ask`

    return _ask(lambda client: remove_entry(client, table, entry, seconds=_SECONDS))


@list_group.command("show")
@config_option
@click.argument("name")
@click.argument("address", required=False)
@click.pass_context
def show_command(ctx: click.Context, config_path: str | None, name: str, address: str | None) -> None:
    """Show the entries of the list NAME, or those that name ADDRESS. Exits with 1 when there are none."""
    _, source = _find_source(config_path, name)
    found = list_lines(source.file) if source.file is not None else _list_items(str(source.dynamodb))
    if address is not None:
        found = [entry for entry in found if entry in list_candidates(address)]
    for entry in found:
        echo(entry)
    ctx.exit(0 if found else 1)


def _list_items(table: str) -> list[str]:
    from relay.aws.tables import list_entries  # noqa: PLC0415 - see `_ask`

    async def read(client: Any) -> list[str]:
        return sorted([entry async for entry in list_entries(client, table, seconds=_SECONDS)])

    return _ask(read)
