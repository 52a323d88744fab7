"""Entries as `--json` prints them.

Owns the keys, which are promised in docs/spool.md: they are added here, never renamed or dropped.
"""

from __future__ import annotations

from typing import Any

from relay.cli.entries import id_of
from relay.cli.waiting import find_stops
from relay.spool.desk import Desk
from relay.spool.model import Entry, Event, Paused, State


def build_record(entry: Entry, paused: Paused) -> dict[str, Any]:
    """The record of an entry, as in a list."""
    state = entry.shown_state
    reason, detail = entry.shown_reason
    return {
        "spool_id": entry.spool_id,
        "entry": id_of(entry),
        "destination": entry.destination.address,
        "instance_id": entry.destination.instance_id,
        "forward_paths": list(entry.destination.forward_paths),
        "route": entry.destination.route,
        "state": str(state),
        "attempts": entry.attempts,
        "cut_short": entry.cut_short,
        "rung": str(entry.rung),
        "next_attempt_at": entry.next_attempt_at.isoformat() if state is State.QUEUED else None,
        "lease_until": entry.lease_until.isoformat() if entry.lease_until else None,
        "accepted_at": entry.accepted_at.isoformat(),
        "updated_at": entry.updated_at.isoformat(),
        "reason": reason,
        "detail": detail,
        "contact_id": entry.contact_id,
        "message_id": entry.message_id,
        "reverse_path": entry.envelope.reverse_path,
        "size": entry.size,
        "stopped_by": [stop.subject for stop in find_stops(entry, paused)],
    }


def build_details(desk: Desk, entry: Entry, paused: Paused) -> dict[str, Any]:
    """The record of an entry with everything else that is known of it."""
    envelope = entry.envelope
    peer = envelope.peer
    return {
        **build_record(entry, paused),
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
        "captured": dict(entry.captured) if entry.captured is not None else None,
        "repairs": list(envelope.repairs),
        "attributes": dict(envelope.attributes),
        "smtputf8": envelope.smtputf8,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "fingerprint": entry.fingerprint,
        "released": entry.released,
        "request_bytes": len(entry.request) if entry.request is not None else None,
        "request_expires_at": entry.request_expires_at.isoformat() if entry.request_expires_at else None,
        "history": [_build_event(event) for event in desk.history(entry)],
    }


def _build_event(event: Event) -> dict[str, Any]:
    return {
        "at": event.at.isoformat(),
        "event": event.event,
        "attempt": event.attempt,
        "reason": event.reason,
        "detail": event.detail,
    }


def build_paused(paused: Paused) -> dict[str, Any]:
    """The record of the pauses."""
    return {
        "intake": paused.intake,
        "delivery": paused.delivery,
        "routes": list(paused.routes),
        "standby": list(paused.standby),
        "held_routes": [
            {"route": h.route, "reason": h.reason, "detail": h.detail, "since": h.since.isoformat()}
            for h in paused.holds
        ],
    }
