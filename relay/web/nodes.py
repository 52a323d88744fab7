"""The nodes of a fleet in words, by their signs of life.

Owns these words. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from relay.spool.nodes import DELIVERER, Beat

#: A node that is silent for longer is left out of the notices: nobody waits for it.
_MISSED = timedelta(days=1)


def describe_nodes(beats: Sequence[Beat], now: datetime) -> Iterator[tuple[str, str]]:
    """Give each node with how it fares: whether it delivers, stands by or is silent, and its pace."""
    leads = [beat for beat in beats if beat.leads and not beat.is_silent(now)]
    leader = max(leads, key=lambda beat: beat.at).node if leads else ""
    for name, own in _by_node(beats).items():
        alive = [beat for beat in own if not beat.is_silent(now)]
        if not alive:
            yield name, f"silent since {max(beat.at for beat in own):%Y-%m-%d %H:%M} UTC"
            continue
        if name == leader:
            words = "delivers"
        elif any(beat.leads for beat in alive):  # its end was sudden, and it is not silent for long yet
            words = "has lost the lead"
        elif any(beat.process == DELIVERER for beat in alive):
            words = "stands by"
        else:
            words = "takes mail"
        rate = sum(beat.accepted_a_minute for beat in alive)
        yield name, f"{words}, {rate:,.0f} mails a minute" if rate >= 1 else words


def list_silent(beats: Sequence[Beat], now: datetime) -> Iterator[str]:
    """Give a sentence for each node that fell silent in the last day. One that ends in good order says so."""
    for name, own in _by_node(beats).items():
        last = max(beat.at for beat in own)
        if all(beat.is_silent(now) for beat in own) and now - last < _MISSED:
            yield (
                f"The node {name} is silent since {last:%Y-%m-%d %H:%M} UTC: it is dead, or cut off from the table "
                "(relay fleet status)."
            )


def _by_node(beats: Sequence[Beat]) -> dict[str, list[Beat]]:
    found: dict[str, list[Beat]] = {}
    for beat in sorted(beats, key=lambda beat: beat.node):
        found.setdefault(beat.node, []).append(beat)
    return found
