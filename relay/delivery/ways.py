"""The ways to Connect: for each instance its client and its pace, and the attempts that may be under way.

Owns which instances share a pace (those of one account and Region, which AWS gives one quota), and the places
of each. So an instance that is slow or throttled keeps its own places full, and not those of the others.
Never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from relay.aws.clients import Clients
from relay.aws.connect import ConnectClient
from relay.config import Config
from relay.config.connect import Quota
from relay.delivery.pace import Pace

#: The most seconds that a mail is put off while the places of its quota are full. It is asked again then, so
#: that a pace which finds its way back is not kept waiting.
_LONGEST_SECONDS = 30.0
#: Least seconds, so that no mail is claimed again at once.
_SHORTEST_SECONDS = 0.05


@dataclass(slots=True, kw_only=True)
class Lane:
    """The attempts of one quota. `places` None puts no limit of its own."""

    pace: Pace
    places: int | None = None
    clock: Callable[[], float]
    running: int = 0
    booked: float = 0.0

    def wait_seconds(self) -> float:
        """The seconds after which another attempt may begin; 0.0 for now.

        Each that has to wait is given an instant of its own, as far from the one before as the pace wants.
        """
        if self.places is None or self.running < self.places:
            return 0.0
        now = self.clock()
        self.booked = max(self.booked, now) + 1 / self.pace.rate
        if self.booked - now > _LONGEST_SECONDS:
            self.booked = now
            return _LONGEST_SECONDS
        return max(self.booked - now, _SHORTEST_SECONDS)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Take a place until the block ends."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The way to one instance."""

    connect: ConnectClient
    lane: Lane
    #: True where the instance has a quota other than that of `[connect]`.
    is_apart: bool = False

    @property
    def pace(self) -> Pace:
        """The pace of its quota."""
        return self.lane.pace


@dataclass(slots=True, kw_only=True)
class Ways:
    """The ways to all instances under one configuration, each made when it is first wanted."""

    config: Config
    clients: Clients
    clock: Callable[[], float]
    _ways: dict[str, Way] = field(default_factory=dict)
    _lanes: dict[Quota, Lane] = field(default_factory=dict)

    async def find(self, instance_id: str) -> Way:
        """The way to an instance.

        Raises:
            ConfigError: no client can be made for its Region.
        """
        if instance_id not in self._ways:
            instance, connect = self.config.connect.find(instance_id), self.config.connect
            client = await self.clients.abroad.find(instance)
            self._ways[instance_id] = Way(
                connect=ConnectClient(
                    client,
                    timeout_seconds=connect.timeout_seconds,
                    is_apart=bool(instance.role_arn or instance.region),
                ),
                lane=self._lane(instance_id),
                is_apart=self._quota(instance_id) != self._quota(connect.instance_id),
            )
        return self._ways[instance_id]

    def _quota(self, instance_id: str) -> Quota:
        quota = self.config.connect.find(instance_id).quota
        return quota._replace(region=quota.region or self._home())

    def _home(self) -> str:
        region: Any = self.clients.connect.meta.region_name
        return str(region)

    def _lane(self, instance_id: str) -> Lane:
        quota, connect = self._quota(instance_id), self.config.connect.adopt(instance_id)
        if quota not in self._lanes:
            known = {
                self._quota(each)
                for each in (self.config.connect.instance_id, *self.config.connect.instances)
            }
            several = len(known) > 1
            places = max(1, self.config.deliver.concurrency // len(known)) if several else None
            pace = Pace(rate=connect.requests_per_second, burst=connect.burst, clock=self.clock)
            self._lanes[quota] = Lane(pace=pace, places=places, clock=self.clock)
        return self._lanes[quota]
