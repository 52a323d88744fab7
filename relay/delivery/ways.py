"""The ways to Connect: for each instance its client, its bucket and its pace, and the attempts that may be
under way.

Owns which instances share a pace (those of one account and Region, which AWS gives one quota), and the places
of each. So an instance that is slow or throttled keeps its own places full, and not those of the others.
Never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from relay import telemetry
from relay.aws.clients import Clients
from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
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
    store: AttachmentStore
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
    _told: set[str] = field(default_factory=set)

    async def find(self, instance_id: str) -> Way:
        """The way to an instance.

        Raises:
            ConfigError: no client can be made for its Region.
        """
        connect = self.config.connect
        instance, home = connect.find(instance_id), await self._home()
        quota = instance.quota.at(home)
        if (way := self._ways.get(instance_id)) is None or way.lane is not self._lanes.get(quota):
            self._ways[instance_id] = way = Way(
                connect=ConnectClient(
                    await self.clients.abroad.find(instance),
                    timeout_seconds=connect.timeout_seconds,
                    is_apart=bool(instance.role_arn or instance.region),
                ),
                store=AttachmentStore(
                    await self.clients.abroad.find_s3(instance.bucket_region),
                    config=self.config.of_instance(instance_id).s3,
                ),
                lane=self._lane(quota, home),
                is_apart=quota != connect.find(connect.instance_id).quota.at(home),
            )
        return way

    async def _home(self) -> Quota:
        """The account and the Region of the environment. The account is "" while it is unknown, or no matter:
        a role of it counts as one of another account then.
        """
        account = None
        if any(instance.role_arn for instance in self.config.connect.instances.values()):
            account = await self.clients.abroad.own_account.find()
        return Quota(account=account or "", region=str(self.clients.connect.meta.region_name))

    def _lane(self, quota: Quota, home: Quota) -> Lane:
        """The lane of a quota.

        It has the least of the rates of its instances, which may differ until our own account is known.
        """
        if quota not in self._lanes:
            connect = self.config.connect
            named = [(each, connect.find(each).quota.at(home)) for each in self.config.list_instances()]
            quotas = {quota, *(its for _, its in named)}
            rates = [connect.adopt(each) for each, its in named if its == quota] or [connect]
            places = max(1, self.config.deliver.concurrency // len(quotas)) if len(quotas) > 1 else None
            pace = Pace(
                rate=min(each.requests_per_second for each in rates),
                burst=min(each.burst for each in rates),
                clock=self.clock,
            )
            self._lanes[quota] = Lane(pace=pace, places=places, clock=self.clock)
            for sentence in set(self.config.torn_quotas(home)) - self._told:
                self._told.add(sentence)
                telemetry.quota_torn(detail=sentence)
        return self._lanes[quota]
