"""The state of a fleet, for people and for programs.

Owns the lines and the keys of `relay fleet status`; keys are added, never renamed or dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from relay.cli.entries import span
from relay.cli.records import build_paused
from relay.cli.waiting import pause_sentences
from relay.spool.nodes import DELIVERER, Beat
from relay.spool.status import FleetStatus


def build_status(status: FleetStatus) -> dict[str, Any]:
    """The state as an object."""
    leader = status.leader
    read, written = status.units_a_second
    return {
        "table": status.table,
        "at": status.now.isoformat(),
        "delivers": status.is_led,
        "leader": leader
        and {
            "node": leader.node,
            "epoch": leader.epoch,
            "lease_age_seconds": round(leader.age_seconds, 3),
            "released": leader.is_released,
        },
        "lease_seconds": status.lease_seconds,
        "nodes": [
            {
                "node": node,
                "processes": [_build_beat(beat, status) for beat in beats],
            }
            for node, beats in _by_node(status)
        ],
        "owed": {str(state): number for state, number in status.owed.items()},
        "oldest_at": status.oldest_at.isoformat() if status.oldest_at else None,
        "capacity": {"read_units_a_second": round(read, 3), "write_units_a_second": round(written, 3)},
        "paused": build_paused(status.paused),
    }


def _by_node(status: FleetStatus) -> Iterator[tuple[str, list[Beat]]]:
    beats = sorted(status.beats, key=lambda beat: (beat.node, beat.process))
    return ((node, list(some)) for node, some in groupby(beats, key=lambda beat: beat.node))


def _build_beat(beat: Beat, status: FleetStatus) -> dict[str, Any]:
    return {
        "process": beat.process,
        "version": beat.version,
        "started_at": beat.started_at.isoformat(),
        "told_at": beat.at.isoformat(),
        "silent": beat.is_silent(status.now),
        "leads": beat.leads,
        "reaches_connect": beat.connect,
        "accepted_a_minute": round(beat.accepted_a_minute, 3),
    }


def show_status(status: FleetStatus) -> Iterator[str]:
    """The state as lines."""
    yield f"leader    {_tell_leader(status)}"
    owed = ", ".join(f"{number:,} {state}" for state, number in status.owed.items())
    oldest = (
        f"; the oldest for {span((status.now - status.oldest_at).total_seconds())}"
        if status.oldest_at
        else ""
    )
    yield f"owed      {owed}{oldest}"
    read, written = status.units_a_second
    yield f"capacity  {written:.1f} units written and {read:.1f} read a second, as the nodes told last"
    if not status.beats:
        yield "nodes     none has told of itself in the last week"
    for node, beats in _by_node(status):
        yield f"node      {node}"
        yield from (f"          {_tell_beat(beat, status)}" for beat in beats)
    yield from pause_sentences(status.paused, status.now, attended=status.is_led)


def _tell_leader(status: FleetStatus) -> str:
    leader = status.leader
    if leader is None:
        return "none: no node has delivered yet"
    if leader.is_released:
        return f"none: {leader.node} gave epoch {leader.epoch} back {span(leader.age_seconds)} ago"
    told = f"{leader.node}, epoch {leader.epoch}, lease renewed {leader.age_seconds:.1f} s ago of {status.lease_seconds:g} s"
    return told if status.is_led else f"none: {told}; it is dead, or cut off"


def _tell_beat(beat: Beat, status: FleetStatus) -> str:
    words = [f"{beat.process} {beat.version}, up {span((status.now - beat.started_at).total_seconds())}"]
    if beat.process == DELIVERER:
        words.append("leads" if beat.leads else "stands by")
        words += (
            [] if beat.connect is None else [f"{'reaches' if beat.connect else 'does not reach'} Connect"]
        )
    else:
        words.append(f"{beat.accepted_a_minute:.1f} mails a minute")
    ago = span((status.now - beat.at).total_seconds())
    words.append(f"silent for {ago}: dead, or cut off" if beat.is_silent(status.now) else f"told {ago} ago")
    return ", ".join(words)
