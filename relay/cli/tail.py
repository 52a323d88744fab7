"""The command `relay tail`: what peers and we say to each other, as it is said.

Owns the lines for people: which session, who speaks, and how long an answer took. Secrets and the content of
mails are left out before they come here (`relay.smtp.shown`). Reads until it is stopped.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from relay.cli import config_option
from relay.cli.entries import echo_note, encode_json, json_option, printable
from relay.errors import RelayError
from relay.tail.event import Direction, SessionEvent
from relay.tail.wanted import Wanted, build_wanted, normalise_recipient

#: Sessions of which the last event is remembered, for the time that an answer took.
_MOST_SESSIONS = 10_000
#: In RFC 5321's own examples S: is the server's word, and C: the client's.
_MARKS = {
    Direction.OPENED: "--",
    Direction.IN: "C:",
    Direction.OUT: "S:",
    Direction.CONTENT: "C:",
    Direction.TLS: "--",
    Direction.CLOSED: "--",
    Direction.MISSED: "!!",
}


class TailError(RelayError):
    """The transcripts are not for this user."""


class _NetworkType(click.ParamType[str]):
    name = "CIDR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            build_wanted(peers=[str(value)])
        except ValueError:
            self.fail(f'"{value}" is neither an address nor a network such as 203.0.113.0/24', param, ctx)
        return str(value)


class _RecipientType(click.ParamType[str]):
    name = "ADDRESS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return normalise_recipient(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


@click.command(
    "tail",
    epilog="\b\nExamples:\n  relay tail\n  relay tail --peer 203.0.113.0/24 --rcpt @help.example.com\n"
    "  relay tail --json | jq .line",
)
@config_option
@click.option("--peer", "peers", multiple=True, type=_NetworkType(), help="Only sessions of these peers.")
@click.option(
    "--rcpt",
    "recipients",
    metavar="ADDRESS|@DOMAIN",
    multiple=True,
    type=_RecipientType(),
    help="Only sessions with a RCPT for it, refused or not: from their beginning, once the RCPT has come.",
)
@json_option
def tail_command(
    config_path: str | None, peers: tuple[str, ...], recipients: tuple[str, ...], *, as_json: bool
) -> None:
    """Show sessions as they are: commands, replies, TLS and times, of all receivers, until you stop it.

    Secrets are left out, and mails: their number of octets stands for them. It is for root and the user of
    the daemon, which must run on this machine.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic

    config = load_config(config_path)
    data_dir = config.data_dir
    if config.fleet.table:
        echo_note("shows the receivers of this machine; those of another node are seen there")
    wanted = build_wanted(peers=peers, recipients=recipients)
    with suppress(KeyboardInterrupt):
        asyncio.run(_follow(data_dir, wanted, as_json=as_json))


async def _follow(data_dir: Path, wanted: Wanted, *, as_json: bool) -> None:
    from relay.tail.client import open_tail  # noqa: PLC0415 - see above

    transcript = Transcript()
    try:
        async with open_tail(data_dir, wanted) as tail:
            names = sorted(tail.receivers)
            if names:
                echo_note(f"listens to {', '.join(names)}")
            else:
                echo_note(f"no relay receives in {data_dir} (data_dir) now; waits for one")
            async for event in tail:
                click.echo(encode_json(build_record(event)) if as_json else transcript.show(event))
                sys.stdout.flush()
    except PermissionError as exc:
        raise TailError(
            f"{exc.filename or data_dir}: transcripts are for root and the daemon's user"
        ) from exc


def build_record(event: SessionEvent) -> dict[str, Any]:
    """The record of an event for programs."""
    return {
        "session": event.session,
        "at": event.at.isoformat(timespec="microseconds"),
        "direction": event.direction,
        "line": event.line,
        "peer": event.peer,
        "listener": event.listener,
        "tls": event.tls,
        "seconds": event.seconds,
    }


class Transcript:
    """The lines for a person, one for each event."""

    def __init__(self) -> None:
        #: The time of each session's last event.
        self._last: OrderedDict[str, float] = OrderedDict()

    def show(self, event: SessionEvent) -> str:
        """The line of an event. After a reply, and the end, stands the time since what came before it."""
        before = self._last.pop(event.session, None)
        if event.session and event.direction is not Direction.CLOSED:
            self._last[event.session] = event.seconds
            if len(self._last) > _MOST_SESSIONS:
                self._last.popitem(last=False)
        words = [f"{event.at:%H:%M:%S}.{event.at.microsecond // 1_000:03}Z", event.session]
        words.append(_MARKS[event.direction])
        if event.direction is Direction.OPENED:
            words.append(f"{event.peer} at {event.listener}")
        elif event.direction in {Direction.CLOSED, Direction.TLS}:
            words.append(event.direction)
        words += [event.line] if event.line else []
        if event.direction is Direction.CLOSED:
            words.append(f"after {event.seconds:.3f} s")
        elif event.direction is Direction.OUT and before is not None:
            words.append(f"(+{max(event.seconds - before, 0.0):.3f} s)")
        return printable(" ".join(word for word in words if word))
