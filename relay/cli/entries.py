"""The parts that the operator's commands share: access to the spool, and output for people and for programs.

Owns the options and the forms of text that `relay queue`, `relay trace`, `relay pause` and `relay replay`
have in common, and how a peer's text is made safe for a terminal. Never changes anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import click

from relay.spool.change import Target
from relay.spool.desk import Desk
from relay.spool.model import Entry, Paused
from relay.terminal import write_out, write_out_json

_encode = json.JSONEncoder(ensure_ascii=False).encode

json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


class SpoolView(NamedTuple):
    """A spool as an operator sees it, with the routes of its configuration."""

    desk: Desk
    #: The names of the configuration's routes.
    routes: tuple[str, ...]
    #: Our own name, by which we write results.
    hostname: str = ""
    #: The folder of what peers were refused lately.
    refusals: Path = Path()
    #: The configuration's routes as ways of entries.
    targets: tuple[Target, ...] = ()
    #: True if the log has hashes in the place of addresses.
    hashes: bool = False
    #: The names of the routes of each tenant.
    tenants: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def find_routes(self, paused: Paused | None = None) -> list[str]:
        """The names of all routes: of the configuration, of entries, of pauses and of holds."""
        stopped = (*paused.routes, *(hold.route for hold in paused.holds)) if paused else ()
        return sorted({*self.routes, *self.desk.routes(), *stopped})


@contextmanager
def open_view(config_path: str | None) -> Iterator[SpoolView]:
    """Open the spool of the configuration for an operator's command."""
    # Imported late: `relay --help` and a mistyped option need neither pydantic nor SQLite.
    from relay.config.data_dir import REFUSALS  # noqa: PLC0415 - see above
    from relay.config.load import load_config  # noqa: PLC0415 - see above
    from relay.spool.opening import open_desk  # noqa: PLC0415 - see above

    config = load_config(config_path)
    with closing(open_desk(config)) as desk:
        yield SpoolView(
            desk,
            tuple(route.name for route in config.routes),
            config.hostname,
            config.data_dir / REFUSALS,
            tuple(
                Target(
                    route=route.name,
                    instance_id=route.instance_id or config.connect.instance_id,
                    address=route.destination or "",
                )
                for route in config.routes
            ),
            config.log.addresses == "hash",
            config.list_tenants(),
        )


def id_of(entry: Entry) -> str:
    """The entry's own id, as commands take it."""
    return entry.reference


def echo_json(value: object) -> None:
    """Print one JSON document on standard output; a list has one object on each line, for grep and for long
    queues.
    """
    if isinstance(value, list):
        click.echo("[" + ",\n ".join(map(encode_json, value)) + "]")
    else:
        click.echo(write_out_json(json.dumps(value, ensure_ascii=False, indent=2)))


def encode_json(value: object) -> str:
    """A value as one line of JSON, safe for a terminal."""
    return write_out_json(_encode(value))


def echo(*lines: str) -> None:
    """Print lines for a person on standard output, each safe for a terminal; an empty one
    if there are none.
    """
    click.echo("\n".join(map(printable, lines)))


def echo_note(sentence: str) -> None:
    """Print a sentence beside the output, on standard error."""
    click.echo(f"relay: {printable(sentence)}", err=True)


def printable(text: str) -> str:
    """Make a peer's text safe for a terminal: one line; controls, direction marks and invisible characters
    are escaped.
    """
    return write_out(text)


def span(seconds: float) -> str:
    """A time span in at most two units: "3m 20s", "2d 4h"."""
    rest = max(int(seconds), 0)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def count_entries(count: int) -> str:
    """A number of entries in words: "1 entry", "2,000 entries"."""
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
