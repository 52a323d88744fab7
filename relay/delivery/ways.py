"""The ways to Connect: for each instance its client, its bucket and its pace, and the attempts that may be
under way.

Owns which instances share a pace (those of one account and Region, which AWS gives one quota), and the places
of each. So an instance that is slow or throttled keeps its own places full, and not those of the others.
Never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from relay import telemetry
from relay.aws.clients import Clients
from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config import Config
from relay.config.connect import Instance, Quota
from relay.delivery.apart import ServiceApart
from relay.delivery.outage import Outages
from relay.delivery.outcome import Delivered, Failed, Outcome, Postponed
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
    #: The services that are its own, and not those of `[connect]` and `[s3]`.
    apart: tuple[ServiceApart, ...] = ()

    @property
    def pace(self) -> Pace:
        """The pace of its quota."""
        return self.lane.pace

    def wait(self) -> Postponed | None:
        """The outcome for a mail that has to wait: a service of its own is away, or others are before it.

        Returns None where its attempt may begin.
        """
        for each in self.apart:
            if seconds := each.wait_seconds():
                reason, detail = f"{each.service}.away", f"{each.name} is away ({each.why})"
                return Postponed(reason=reason, detail=detail, seconds=seconds)
        if seconds := self.lane.wait_seconds():
            return Postponed(detail="other mails for its instance are before it", seconds=seconds)
        return None

    @contextmanager
    def attempt(self, reference: str) -> Iterator[Callable[[Outcome], Outcome]]:
        """Take a place until the block ends. It is given the judge of its outcome."""
        begun_at = self.lane.clock()
        for each in self.apart:
            each.begin(reference)

        def judge(outcome: Outcome) -> Outcome:
            for each in self.apart:
                if isinstance(outcome, Delivered | Failed):
                    outcome = each.judge(reference, outcome, begun_at=begun_at)
            return outcome

        with self.lane.attempt():
            yield judge


@dataclass(slots=True, kw_only=True)
class Ways:
    """The ways to all instances under one configuration, each made when it is first wanted."""

    config: Config
    clients: Clients
    clock: Callable[[], float]
    _ways: dict[str, Way] = field(default_factory=dict)
    _lanes: dict[Quota, Lane] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _apart: dict[str, ServiceApart] = field(default_factory=dict)

    @property
    def away(self) -> Mapping[str, str]:
        """The services of some instances only that are away, and why."""
        return {name: each.why for name, each in self._apart.items() if each.why}

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
                    role=self.clients.abroad.find_role(instance),
                ),
                store=AttachmentStore(
                    await self.clients.abroad.find_s3(instance.bucket_region),
                    config=self.config.of_instance(instance_id).s3,
                ),
                lane=self._lane(quota, home),
                apart=tuple(self._find_apart(instance, quota, home)),
            )
        return way

    def _find_apart(self, instance: Instance, quota: Quota, home: Quota) -> Iterator[ServiceApart]:
        connect = self.config.connect
        # Where a route has a standby, no instance is everyone's: while one is away, the other takes mail.
        is_any = not any(route.standby for route in self.config.routes)
        if not is_any or quota != connect.find(connect.instance_id).quota.at(home):
            yield self._service("connect", " ".join(filter(None, (quota.region, quota.account))))
        bucket = instance.s3.bucket or self.config.s3.bucket
        if not is_any or bucket != self.config.s3.bucket:
            yield self._service("s3", bucket)

    def _service(self, service: str, place: str) -> ServiceApart:
        name = f"{service} {place}"
        if name not in self._apart:
            outages = Outages(self.config.deliver)
            self._apart[name] = ServiceApart(service=service, name=name, outages=outages, clock=self.clock)
        return self._apart[name]

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
