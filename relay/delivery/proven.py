"""Which addresses Connect has: whether a 404 speaks of one address, or of its whole route.

Owns the memory of what was delivered to lately, two addresses a route. Never does I/O: instants are arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from relay.domains import normalise_address
from relay.envelope import Destination

#: An instance, a flow or a permission that worked so lately is there; what came before says little of today.
_KEPT = timedelta(hours=24)
#: The one that was refused may be one of them; the other vouches for the route.
_EACH = 2


class ProvenAddresses:
    """What Connect took mail for, kept in memory by one runner."""

    def __init__(self) -> None:
        #: By route, the addresses by (instance, address), the latest last.
        self._delivered: dict[str, dict[tuple[str, str], datetime]] = {}

    def add(self, destination: Destination, *, now: datetime) -> None:
        """Connect has taken mail for this address."""
        known = self._delivered.setdefault(destination.route, {})
        known.pop(_key(destination), None)
        known[_key(destination)] = now
        while len(known) > _EACH:
            del known[next(iter(known))]

    def is_alone(self, destination: Destination, *, now: datetime) -> bool:
        """Connect does not have this address, and no longer counts as having it: whether it has others of the route.

        Others of the same instance: one that is there says nothing of one that may not be.
        """
        known = self._delivered.get(destination.route, {})
        known.pop(_key(destination), None)
        return any(
            instance_id == destination.instance_id and now - at < _KEPT
            for (instance_id, _), at in known.items()
        )

    def forget(self) -> None:
        """What worked by another configuration vouches for nothing."""
        self._delivered.clear()


def _key(destination: Destination) -> tuple[str, str]:
    return destination.instance_id, normalise_address(destination.address)


def tell_unknown(destination: Destination, detail: str) -> str:
    """What an operator does about an address that Connect does not have."""
    return (
        f"{destination.address} is not known to Connect, which has others of this route: make it there, "
        f"or give the route a destination ({detail})"
    )
