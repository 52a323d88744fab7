"""Entries as an operator sees them: as records for programs, as lines for people.

Owns what `relay queue`, `relay trace` and `relay pause` share: the way to the spool, the keys of `--json`, and
how a peer's text is made safe for a terminal. Never changes anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import click

from relay.spool.base import Desk
from relay.spool.model import Entry, Paused, State

_encode = json.JSONEncoder(ensure_ascii=False).encode

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@contextmanager
def desk_of(config_path: str | None) -> Iterator[Desk]:
    """The operator's view of the spool that the configuration names."""
    # Only now: `relay --help` and a mistyped option wait for neither pydantic nor SQLite.
    from relay.config.load import load_config  # noqa: PLC0415 - see above
    from relay.spool.fitness import diagnosed  # noqa: PLC0415 - see above
    from relay.spool.local import open_desk  # noqa: PLC0415 - see above

    config = load_config(config_path)
    with diagnosed(config.data_dir), closing(open_desk(config)) as desk:
        yield desk


def build_record(entry: Entry) -> dict[str, Any]:
    """An entry as `--json` prints it; keys are added here, never renamed."""
    return {
        "spool_id": entry.spool_id,
        "entry": f"{entry.spool_id}.{entry.entry_id}",
        "destination": entry.destination.address,
        "instance_id": entry.destination.instance_id,
        "forward_paths": list(entry.destination.forward_paths),
        "route": entry.destination.route,
        "state": str(entry.state),
        "attempts": entry.attempts,
        "cut_short": entry.cut_short,
        "rung": str(entry.rung),
        "next_attempt_at": entry.next_attempt_at.isoformat() if entry.state is State.QUEUED else None,
        "lease_until": entry.lease_until.isoformat() if entry.lease_until else None,
        "accepted_at": entry.accepted_at.isoformat(),
        "updated_at": entry.updated_at.isoformat(),
        "reason": entry.reason,
        "detail": entry.detail,
        "contact_id": entry.contact_id,
        "message_id": entry.message_id,
        "reverse_path": entry.envelope.reverse_path,
        "size": entry.size,
    }


def echo_json(value: object) -> None:
    """One JSON document on standard output; a list with one object a line, for grep and for long queues."""
    if isinstance(value, list):
        click.echo("[" + ",\n ".join(map(_encode, value)) + "]")
    else:
        click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def printable(text: str) -> str:
    """Text that a peer chose, safe for a terminal: one line, control characters and direction marks escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def span(seconds: float) -> str:
    """A time span in two units at most: "3m 20s", "2d 4h"."""
    rest = max(int(seconds), 0)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def build_details(desk: Desk, entry: Entry) -> dict[str, Any]:
    """A record with the peer, the results, the history and the stored request."""
    peer = entry.envelope.peer
    return {
        **build_record(entry),
        "peer": {
            "address": peer.address,
            "port": peer.port,
            "helo": peer.helo,
            "protocol": peer.protocol,
            "tls": peer.tls,
            "login": peer.login,
            "listener": peer.listener,
        },
        "results": dict(entry.results),
        "fingerprint": entry.fingerprint,
        "request_bytes": len(entry.request) if entry.request is not None else None,
        "request_expires_at": entry.request_expires_at.isoformat() if entry.request_expires_at else None,
        "history": [
            {
                "at": event.at.isoformat(),
                "event": event.event,
                "attempt": event.attempt,
                "reason": event.reason,
                "detail": event.detail,
            }
            for event in desk.history(entry)
        ],
    }


def pause_sentences(paused: Paused, now: datetime) -> Iterator[str]:
    """What stands still, a sentence each."""
    if paused.intake:
        yield "The intake is paused: no mail is accepted."
    if paused.delivery:
        yield "The delivery is paused: nothing is delivered."
    for route in paused.routes:
        yield f"The route {route} is paused."
    for hold in paused.holds:
        since = span((now - hold.since).total_seconds())
        yield f"The route {hold.route} is held for {since} ({hold.reason}: {printable(hold.detail)})."
