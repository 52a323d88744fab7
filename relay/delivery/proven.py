"""Addresses that Connect has lately taken mail for: they tell a 404 for one address from a 404 for the whole
route.

Owns the memory of the last two such addresses of each route. Never does I/O: instants are arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from relay.domains import normalise_address
from relay.envelope import Destination

#: An instance, a flow or a permission that worked within this time is taken to be there still.
_KEPT = timedelta(hours=24)
#: Addresses kept for each route: if one of them gets the 404, the other vouches for the route.
_EACH = 2


class ProvenAddresses:
    """The addresses that Connect took mail for, kept in memory by one runner."""

    def __init__(self) -> None:
        #: The addresses of each route as (instance, address), the latest last.
        self._delivered: dict[str, dict[tuple[str, str], datetime]] = {}

    def add(self, destination: Destination, *, now: datetime) -> None:
        """Record that Connect has taken mail for this address."""
        known = self._delivered.setdefault(destination.route, {})
        known.pop(_key(destination), None)
        known[_key(destination)] = now
        while len(known) > _EACH:
            del known[next(iter(known))]

    def is_alone(self, destination: Destination, *, now: datetime) -> bool:
        """Record that Connect does not have this address.

        Returns whether it took mail for another address of the route.

        Only addresses of the same instance count: a 404 may also mean that the instance is gone.
        """
        known = self._delivered.get(destination.route, {})
        known.pop(_key(destination), None)
        return any(
            instance_id == destination.instance_id and now - at < _KEPT
            for (instance_id, _), at in known.items()
        )

    def forget(self) -> None:
        """Forget all addresses: a new configuration may lead elsewhere."""
        self._delivered.clear()


def _key(destination: Destination) -> tuple[str, str]:
    return destination.instance_id, normalise_address(destination.address)


def tell_unknown(destination: Destination, detail: str) -> str:
    """The sentence for an operator about an address that Connect does not have."""
    return (
        f"{destination.address} is not known to Connect, which has others of this route: make it there, "
        f"or give the route a destination ({detail})"
    )
