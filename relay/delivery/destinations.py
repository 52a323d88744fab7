"""The destination of an attempt: by the stored request, by today's routes, or by a switch to the standby.

Owns the rule that keeps a mail from becoming a contact in each of two instances: a request that may be one by
now is repeated at its own instance until its fate is known, wherever its route leads meanwhile
(docs/spool.md, "Standby"). Never sends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay import telemetry
from relay.config import Config, Route
from relay.contact.plan import Plan
from relay.envelope import Destination
from relay.routes import RouteTable
from relay.spool.interface import Outbox
from relay.spool.model import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """An entry with the destination of this attempt."""

    entry: Entry
    #: The stored request, which binds this attempt; None where a new one is made.
    sent: Mapping[str, Any] | None
    #: True if its request is in doubt at an instance that its route does not lead to any more.
    elsewhere: bool


class Destinations:
    """The destinations under one configuration."""

    def __init__(self, config: Config, outbox: Outbox) -> None:
        self._routes = RouteTable(config)
        self._outbox = outbox
        #: The routes with a standby, and whether each was seen on it; those that were not looked at are not
        #: there.
        self._seen: dict[str, bool] = {}

    def find_route(self, entry: Entry) -> Route | None:
        """The route of the entry by its name; if the configuration has no such route, the one that matches
        its first forward-path.
        """
        named = self._routes.route(entry.destination.route)
        if named is not None:
            return named
        routed = self._routes.match(entry.destination.forward_paths[0])
        return routed.route if routed else None

    async def lead(self, entry: Entry, route: Route, sent: Mapping[str, Any] | None) -> Led:
        """Find the destination of this attempt. `sent` is the entry's stored request, if it has one.

        A request that is in doubt stays at its instance. So does one that Connect has answered, unless its
        route has a standby: then the next request is made for the instance that the route leads to now.
        """
        today = await self._today(entry, route)
        asked = _asked(entry, today, sent)
        if entry.in_doubt_since is None and (sent is None or route.standby is not None):
            if asked.instance_id != today.instance_id:
                entry, sent = replace(entry, request=None, request_expires_at=None), None
            asked = asked if sent is not None else today
        elsewhere = asked.instance_id != today.instance_id
        return Led(entry=replace(entry, destination=asked), sent=sent, elsewhere=elsewhere)

    async def _today(self, entry: Entry, route: Route) -> Destination:
        """The destination by today's routes and switches.

        So a wrong address or instance, once mended in the configuration, is mended for mail that waits.
        """
        place = entry.destination
        routed = self._routes.match(place.forward_paths[0])
        if routed is not None and routed.route is route:
            place = replace(place, instance_id=routed.instance_id, address=routed.address)
        if route.standby is None:
            return place
        is_switched = route.name in (await self._outbox.paused()).standby
        place = replace(place, instance_id=route.standby) if is_switched else place
        if is_switched is not self._seen.get(route.name, False):
            telemetry.route_switched(route=route.name, standby=is_switched, instance=place.instance_id)
        self._seen[route.name] = is_switched
        return place


def adopt_flow(plan: Plan, route: Route) -> Plan:
    """The plan with the flow that stands for its own at the standby, if it goes there: each instance has
    flows of its own.
    """
    flow = plan.contact_flow_id
    if flow is None or plan.instance_id != route.standby:
        return plan
    return replace(plan, contact_flow_id=route.standby_flows.get(flow, flow))


def _asked(entry: Entry, today: Destination, sent: Mapping[str, Any] | None) -> Destination:
    """The destination of the last request; that of today where none went out."""
    if sent is not None:
        return replace(today, instance_id=sent["InstanceId"], address=sent["DestinationEmailAddress"])
    if entry.in_doubt_since is not None and entry.asked_instance is not None:
        return replace(today, instance_id=entry.asked_instance)
    return today
