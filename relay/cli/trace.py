"""`relay trace`: where is my mail?

Owns the one screen that follows a mail from the peer's address to the contact id, found by any of Message-ID,
spool id, contact id, sender or recipient. Never changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from relay.cli import config_option
from relay.cli.entries import build_details, desk_of, echo_json, json_option, printable
from relay.spool.base import Desk
from relay.spool.model import Entry, Remembered, State

_SHOWN = 20

_STANDING = {
    State.QUEUED: "waits for its next attempt at {entry.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC",
    State.LEASED: "is being delivered (attempt {entry.attempts})",
    State.HELD: "is held, and waits for a person: relay queue release {entry.spool_id}.{entry.entry_id}",
    State.DEAD: "was given up, and waits for a person: relay queue retry {entry.spool_id}.{entry.entry_id}",
}


@click.command("trace")
@config_option
@click.argument("word", metavar="MESSAGE-ID|SPOOL-ID|CONTACT-ID|ADDRESS")
@json_option
@click.pass_context
def trace_command(ctx: click.Context, config_path: str | None, word: str, as_json: bool) -> None:
    """Answer: where is my mail? Exit code 1 when nothing here knows of it."""
    with desk_of(config_path) as desk:
        entries = desk.trace(word)
        known = {(entry.spool_id, entry.destination.address) for entry in entries}
        remembered = [line for line in desk.remembered(word) if (line.spool_id, line.address) not in known]
        if as_json:
            records = [build_details(desk, entry) for entry in entries]
            echo_json([*(_remembered_record(line) for line in remembered), *records])
        else:
            for line in remembered:
                click.echo(_remembered_line(line))
            _echo_entries(desk, entries)
    if not entries and not remembered:
        if not as_json:
            click.echo(f"relay: nothing is known of {printable(word)}", err=True)
        ctx.exit(1)


def _echo_entries(desk: Desk, entries: Sequence[Entry]) -> None:
    """The newest in full, as many as are of use; the rest in a sentence."""
    if len(entries) > _SHOWN:
        click.echo(f"({len(entries) - _SHOWN} older entries are not shown; --json has them)")
    for entry in entries[-_SHOWN:]:
        _echo_story(desk, entry)


def _echo_story(desk: Desk, entry: Entry) -> None:
    envelope = entry.envelope
    peer = envelope.peer
    tls = f", {peer.tls}" if peer.tls else ", in clear"
    login = f", as {peer.login}" if peer.login else ""
    lines = [
        f"{entry.spool_id}.{entry.entry_id}  {entry.message_id or '(no Message-ID)'}",
        f"  from      {envelope.reverse_path or '<>'}",
        f"  for       {', '.join(entry.destination.forward_paths)}",
        f"  peer      {peer.address} ({peer.helo or 'no HELO'}) by {peer.protocol}{tls}{login}",
        f"  accepted  {entry.accepted_at:%Y-%m-%d %H:%M:%S} UTC, {entry.size:,} octets",
    ]
    if entry.results:
        lines.append(f"  checks    {', '.join(f'{name}={value}' for name, value in entry.results.items())}")
    if envelope.repairs:
        lines.append(f"  repaired  {', '.join(envelope.repairs)}")
    lines.append(
        f"  route     {entry.destination.route} -> {entry.destination.address}, {entry.destination.instance_id}"
    )
    for event in desk.history(entry):
        why = f": {event.reason} {event.detail}".rstrip() if event.reason else ""
        lines.append(f"  {event.at:%m-%d %H:%M:%S}  attempt {event.attempt} {event.event}{why}")
    lines.append(f"  now       {_standing(entry)}")
    for line in lines:
        click.echo(printable(line))
    click.echo()


def _standing(entry: Entry) -> str:
    if entry.state is not State.DONE:
        return _STANDING[entry.state].format(entry=entry)
    if entry.contact_id:
        return f"done: contact {entry.contact_id}, {entry.updated_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"done, without a contact id of ours ({entry.reason})"


def _remembered_line(line: Remembered) -> str:
    what = f"contact {line.contact_id}" if line.contact_id else "no contact known"
    end = f"{what} (the mail itself is no longer kept)"
    if line.dropped_at is not None:
        end = f"dropped by an operator, {line.dropped_at:%Y-%m-%d %H:%M:%S} UTC"
    return printable(
        f"{line.spool_id}  {line.message_id or '(no Message-ID)'}  accepted {line.accepted_at:%Y-%m-%d %H:%M:%S} UTC "
        f"for {line.address}: {end}"
    )


def _remembered_record(line: Remembered) -> dict[str, Any]:
    return {
        "spool_id": line.spool_id,
        "destination": line.address,
        "instance_id": line.instance_id,
        "message_id": line.message_id,
        "contact_id": line.contact_id,
        "accepted_at": line.accepted_at.isoformat(),
        "state": "dropped" if line.dropped_at is not None else "forgotten",
        "dropped_at": line.dropped_at.isoformat() if line.dropped_at is not None else None,
    }
