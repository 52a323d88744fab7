"""An hour of faults in simulated time: every kind there is, coming and going, under mail that does not stop.

Spool, runner, pace, delivery, AWS clients, proxies, S3 and Connect are the real ones, with the intervals that
they have
in production, Connect's limits and URLs that die included; only the hour passes as fast as its work allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from aws_parts import OneWay, clients_of
from chaos.proxy import (
    Deed,
    Proxy,
    Request,
    conflict,
    drip,
    forward,
    hang,
    json_error,
    page,
    reset_after,
    reset_unsent,
    truncate,
    xml_error,
)
from chaos.simulated import SimulatedLoop, Watched, sign_at
from harness import build_mail, sha256
from readings import reading_here
from resources import Footprint, footprint_of
from spool_helpers import build_destination, build_submission

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.delivery.attempt import Delivery
from relay.delivery.pace import Pace
from relay.delivery.runner import Runner
from relay.sandbox.service import Sandbox, settings_of
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox

SUPPORT, SALES = "support@example.com", "sales@example.com"
RATE, BURST = 2.0, 5  # Amazon Connect service quotas
#: None: nobody listens.
CONNECT_FAULTS: dict[str, Deed | None] = {
    "refuses": None,
    "resets": reset_unsent,
    "hangs": hang,
    "loses its answers": reset_after,
    "cuts its answers": truncate,
    "is slow": drip,
    "says 409 after its work": conflict,
    "is a page of 503": page(503),
    "says 500": json_error(500, "InternalServiceException"),
    "says 503": json_error(503, "ServiceUnavailable"),
    "says 429": json_error(429, "ThrottlingException"),
    "says 402": json_error(402, "ServiceQuotaExceededException"),
    "says something new": json_error(400, "FancyNewException"),
    "says 403": json_error(403, "AccessDeniedException"),
    "says that the token ended": json_error(403, "ExpiredTokenException"),
    "says 404": json_error(404, "ResourceNotFoundException"),
}
S3_FAULTS: dict[str, Deed | None] = {
    "refuses": None,
    "resets": reset_unsent,
    "hangs": hang,
    "loses its answers": reset_after,
    "cuts its answers": truncate,
    "is slow": drip,
    "is a page of 503": page(503),
    "says 500": xml_error(500, "InternalError"),
    "says 503": xml_error(503, "SlowDown"),
    "says 403": xml_error(403, "AccessDenied"),
    "says that the token ended": xml_error(400, "ExpiredToken"),
    "says 404": xml_error(404, "NoSuchBucket"),
}
#: How far our own clock goes wrong: AWS takes a signature that is up to 15 minutes off.
SKEWS = (timedelta(minutes=20), timedelta(minutes=-20))


def file_of(number: int) -> bytes | None:
    """The attachment of a mail: one in sixteen is stored as a file, one in four has none."""
    size = 200_000 if number % 16 == 8 else (20_000, 0, 2_000, 2_000)[number % 4]
    return b"%PDF-1.7\n" + Random(number).randbytes(size) if size else None


def mail_of(number: int) -> bytes:
    """A mail of its own, as a session would give it to the spool."""
    mail = build_mail(name_of(number), attachment=file_of(number))
    del mail["Message-ID"]
    mail["Message-ID"] = f"<{number}@customer.example>"
    return bytes(mail.as_bytes().replace(b"\n", b"\r\n"))


def name_of(number: int) -> str:
    """One in fifty is refused whenever it comes, one in fifty at its first coming."""
    return {7: f"poison {number}", 17: f"once {number}"}.get(number % 50, str(number))


def desks_of(number: int) -> tuple[str, ...]:
    """One in five goes to two."""
    return (SUPPORT, SALES) if number % 5 == 0 else (SUPPORT,)


class Service:
    """One of the two behind its proxy, with a fault that comes and goes."""

    def __init__(
        self, upstream: str, faults: dict[str, Deed | None], choose: Callable[[Request], Deed]
    ) -> None:
        self.proxy = Proxy(upstream)
        #: Requests that met each fault, or times that nobody listened.
        self.suffered: Counter[str] = Counter()
        self._faults = faults
        self._choose = choose
        self._met = asyncio.Event()

    async def suffer(self, rng: Random, *, healthy: float, ill: float) -> None:
        """Every fault in turn, in an order of chance, again and again until cancelled."""
        while True:
            for name in rng.sample(sorted(self._faults), len(self._faults)):
                await asyncio.sleep(rng.uniform(0.2, 1.8) * healthy)
                self._met.clear()
                await self._fall_ill(name)
                await asyncio.sleep(rng.uniform(0.2, 1.8) * ill)
                with contextlib.suppress(TimeoutError):  # while the other service is ill, none may come
                    await asyncio.wait_for(self._met.wait(), 3 * ill)
                await self.recover()

    async def _fall_ill(self, name: str) -> None:
        if (deed := self._faults[name]) is not None:
            return await self.proxy.change_plan(lambda request: self._ill(request, name, deed))
        self.suffered[name] += 1
        self._met.set()
        return await self.proxy.change_refusal(refusing=True)

    async def recover(self) -> None:
        await self.proxy.change_plan(self._choose)
        await self.proxy.change_refusal(refusing=False)

    def _ill(self, request: Request, name: str, deed: Deed) -> Deed:
        if (
            request.method == "GET"
        ):  # Connect fetches for itself, and gives up at a 403: that is no trouble of ours
            return forward
        self.suffered[name] += 1
        self._met.set()
        healthy = self._choose(request)  # a mail that Connect refuses is no better while Connect is slow
        return deed if healthy is forward else healthy


class Refusals:
    """What Connect says of single mails when nothing else is wrong."""

    def __init__(self) -> None:
        self._once: set[bytes] = set()

    def __call__(self, request: Request) -> Deed:
        refusal = json_error(400, "InvalidRequestException")
        if b"Mail poison" in request.body:
            return refusal
        at = request.body.find(b"Mail once")
        if at >= 0 and (word := request.body[at : at + 16].split(b'"')[0]) not in self._once:
            self._once.add(word)
            return refusal
        return forward


class Hour:
    """The relay's right half, what it talks to, and the mail that comes."""

    def __init__(self, home: Path, *, seed: int, report: Callable[[int, int], None]) -> None:
        self.report = report
        self.loop: SimulatedLoop = asyncio.get_running_loop()  # type: ignore[assignment]
        self.config = builtin_config(
            data_dir=home / "spool",
            connect={"requests_per_second": RATE, "burst": BURST},
            deliver={"backoff_max_seconds": 600.0, "probe_seconds": 15.0},
            # A stored request is good for five minutes: ten of the fifteen are Connect's.
            s3={"url_ttl_seconds": 900},
            spool={"min_free_bytes": 0, "min_free_inodes": 0, "large_message_bytes": 100_000},
        )
        self.rng = Random(seed)
        self.skew = timedelta()
        self.sent: list[int] = []
        self.box: Sandbox
        self.services: dict[str, Service] = {}
        self.outbox: Watched
        self.intake: Watched

    def now(self) -> datetime:
        """What our own clock says."""
        return self.loop.now() + self.skew

    @contextlib.asynccontextmanager
    async def opened(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runner]:
        """Everything, as the deliverer opens it."""
        async with contextlib.AsyncExitStack() as stack:
            settings = settings_of(self.config)
            self.box = await stack.enter_async_context(Sandbox(settings=settings, seed=1, now=self.loop.now))
            self.services = {
                "s3": Service(self.box.s3.url, S3_FAULTS, lambda _: forward),
                "connect": Service(self.box.connect_url, CONNECT_FAULTS, Refusals()),
            }
            for service in self.services.values():
                await service.proxy.listen()
                stack.push_async_callback(service.proxy.close)
                await service.recover()
            urls = {f"AWS_ENDPOINT_URL_{name.upper()}": s.proxy.url for name, s in self.services.items()}
            self.box.fetch_from(self.services["s3"].proxy.url)
            clients = await stack.enter_async_context(clients_of(self.box.env | urls, monkeypatch))
            for client in (clients.s3, clients.connect):
                sign_at(client, self.now)
            self.intake = Watched(open_intake(self.config), self.loop)
            stack.push_async_callback(self.intake.close)
            self.outbox = Watched(open_outbox(self.config), self.loop)
            stack.push_async_callback(self.outbox.close)
            delivery = Delivery(
                config=self.config,
                outbox=self.outbox,
                ways=OneWay(
                    ConnectClient(clients.connect, timeout_seconds=self.config.connect.timeout_seconds),
                    Pace(rate=RATE, burst=BURST, clock=self.loop.time),
                    AttachmentStore(clients.s3, config=self.config.s3, now=self.now),
                ),
                understanding=reading_here(),
                now=self.now,
            )
            yield Runner(
                outbox=self.outbox,
                delivery=delivery,
                wake=stack.enter_context(self.outbox.open_wake()),
                limits=self.config.deliver,
                now=self.now,
                steady=self.loop.time,
                rng=self.rng,
            )

    async def receive(self, *, every: float, seconds: float) -> None:
        """For so long a mail every so many seconds on average, in waves; one in ten comes twice."""
        for number in itertools.count():
            self.report(int(self.loop.time()), int(seconds))
            if self.loop.time() >= seconds:
                return
            raw = mail_of(number)
            await self._accept(number, raw)
            self.sent.append(number)
            if number % 10 == 3:
                await self._accept(number, raw)
            lull = 2.0 if int(self.loop.time() / 100) % 2 else 0.5
            await asyncio.sleep(self.rng.expovariate(1 / (every * lull)))

    async def _accept(self, number: int, raw: bytes) -> None:
        await self.intake.put(
            build_submission(
                self.intake.new_id(),
                trace=b"",
                body=raw,
                message_id=f"<{number}@customer.example>",
                destinations=[build_destination(desk, desk, INSTANCE_ID) for desk in desks_of(number)],
                at=self.now(),
            )
        )

    async def lose_time(self, *, healthy: float, ill: float) -> None:
        """Our clock goes wrong and is set right, again and again until cancelled."""
        for skew in itertools.cycle(SKEWS):
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * healthy)
            self.skew = skew
            try:
                await asyncio.sleep(self.rng.uniform(0.5, 1.5) * ill)
            finally:
                self.skew = timedelta()

    async def drained(self) -> None:
        """Until nothing waits and every file was fetched."""
        with contextlib.closing(open_desk(self.config)) as desk:
            while desk.counts()[State.QUEUED] or desk.counts()[State.LEASED]:
                await asyncio.sleep(5.0)
        await self.box.settle(600.0)


async def pass_time(
    hour: Hour, monkeypatch: pytest.MonkeyPatch, *, seconds: float, healthy: float, ill: float, every: float
) -> None:
    """Let so much time pass under faults and mail, then let everything through; and hold the bounds."""
    async with hour.opened(monkeypatch) as runner, asyncio.timeout(seconds + 7_200):
        running = asyncio.create_task(runner.run())
        receiving = asyncio.create_task(hour.receive(every=every, seconds=seconds))
        await asyncio.sleep(60.0)  # a healthy minute: what the first mails bring into memory is no leak
        before, turns = footprint_of("self"), hour.loop.turns
        weather = [
            asyncio.create_task(each)
            for each in (
                *(service.suffer(hour.rng, healthy=healthy, ill=ill) for service in hour.services.values()),
                hour.lose_time(healthy=healthy * 5, ill=ill),
            )
        ]
        await receiving
        assert not [task for task in weather if task.done()], "the weather has ended"
        for task in weather:
            task.cancel()
        await asyncio.gather(*weather, return_exceptions=True)
        for service in hour.services.values():
            await service.recover()
        await hour.drained()
        assert not (await hour.outbox.paused()).holds, "a route stayed held"
        await runner.stop(60.0)
        await running
        for service in hour.services.values():
            await service.proxy.change_refusal(refusing=True)  # kept connections are no leak
        await asyncio.sleep(1.0)
        check_bounds(hour, before=before, turns=hour.loop.turns - turns)


def check_bounds(hour: Hour, *, before: Footprint, turns: int) -> None:
    """Nobody rushes, nothing grows: calls, turns of the loop, memory and open files, against time
    and work.
    """
    passed, calls = hour.loop.time(), hour.outbox.calls
    attempts = calls["finish"] + calls["defer"] + calls["bury"]
    now = footprint_of("self")
    grown, more = now.resident - before.resident, now.handles - before.handles
    stored = sum(hour.box.s3.sizes) + sum(len(contact.raw) for contact in hour.box.book.select())
    print(f"{passed:.0f} s: {len(hour.sent)} mails, {attempts} attempts, {calls['claim']} claims, {turns} turns of the loop, "
          f"{grown >> 20} MiB more with {stored >> 20} stored by S3 and Connect, {more} handles more")  # fmt: skip
    # A poll a second, one look after each attempt and one after each claim that found something, a ring a
    # mail.
    assert calls["claim"] <= passed / hour.config.deliver.poll_seconds + 2 * attempts + 2 * len(hour.sent)
    assert calls["next_due_at"] <= calls["claim"]
    assert turns <= 15 * passed + 100 * attempts
    assert calls["defer"] <= 4 * len(hour.sent)
    # S3's client tries three times; Connect fetches each file, and comes again while S3 does not answer.
    assert len(hour.services["s3"].proxy.times) <= 3 * attempts + 10 * len(hour.box.book)
    times = hour.services["connect"].proxy.times
    busiest = max(bisect_right(times, at + 60.0) - number for number, at in enumerate(times))
    # aiohttp sends a PUT again, once and at once, when a kept connection ends without an answer (RFC 9112
    # §9.3.1).
    assert busiest <= 2 * (60 * RATE + BURST), f"{busiest} calls to Connect within a minute"
    # Most is what moto and the book keep of it, in this process; the daemon's own is held in test_storm and
    # elsewhere.
    assert grown <= (48 << 20) + stored * 3 // 2
    assert more <= 16


def check_mail(hour: Hour) -> None:
    """Each mail is one contact for each of its desks, with its file; what is dead or held has the reason for
    it.
    """
    assert hour.sent == list(range(len(hour.sent)))
    whole = {(name_of(number), desk): number for number in hour.sent for desk in desks_of(number)}
    arrived: Counter[tuple[str, str]] = Counter()
    for contact in hour.box.book.select():
        request = contact.request
        name = request["EmailMessage"]["RawMessage"]["Subject"].removeprefix("Mail ")
        pair = (name, request["DestinationEmailAddress"])
        arrived[pair] += 1
        octets = file_of(whole[pair])
        if not name.startswith("once"):  # those came without the file that was refused
            found = [file.sha256 or file.error for file in contact.attachments]
            assert found == ([sha256(octets)] if octets else []), pair
    dead = {pair for pair in whole if pair[0].startswith("poison")}
    assert arrived == Counter(dict.fromkeys(whole.keys() - dead, 1))
    with contextlib.closing(open_desk(hour.config)) as desk:
        entries = list(desk.select(Filter(limit=10**6)))
    assert len(entries) == len(whole)
    for entry in entries:
        if (name_of(int(str(entry.message_id)[1:].partition("@")[0])), entry.destination.address) in dead:
            assert (entry.state, entry.reason) == (State.DEAD, "connect.InvalidRequestException"), entry
        elif entry.state is State.HELD:
            # Connect said of what had never been sent that it was: a person is asked, for others may use our
            # tokens.
            assert entry.reason == "connect.conflict_unexplained", entry
        else:
            assert entry.state is State.DONE, entry
            assert entry.contact_id or entry.reason == "already_there", entry


def live(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: Callable[[int, int], None],
    *,
    seed: int,
    **weather: float,
) -> Hour:
    began = time.monotonic()

    async def story() -> Hour:
        hour = Hour(home, seed=seed, report=report)
        await pass_time(hour, monkeypatch, **weather)
        return hour

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        hour = runner.run(story())
    print(f"{hour.loop.time():.0f} s in {time.monotonic() - began:.1f} s")
    check_mail(hour)
    return hour


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_four_minutes(tmp_path, monkeypatch, report):
    """Four minutes with several faults of each service: nothing lost, nothing twice, no rush, no leak."""
    hour = live(tmp_path, monkeypatch, report, seed=1, seconds=240.0, healthy=5.0, ill=5.0, every=3.5)
    assert min(len(service.suffered) for service in hour.services.values()) >= 4


@pytest.mark.long
@pytest.mark.timeout(120)
def test_ten_minutes(tmp_path, monkeypatch, report):
    """Ten minutes in which most faults come once: the same."""
    hour = live(tmp_path, monkeypatch, report, seed=1, seconds=600.0, healthy=5.0, ill=5.0, every=3.5)
    assert min(len(service.suffered) for service in hour.services.values()) >= 6


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_an_hour(tmp_path, monkeypatch, report):
    """An hour in which every fault comes several times: the same."""
    hour = live(tmp_path, monkeypatch, report, seed=2, seconds=3_600.0, healthy=15.0, ill=12.0, every=2.5)
    assert hour.services["s3"].suffered.keys() == S3_FAULTS.keys()
    assert hour.services["connect"].suffered.keys() == CONNECT_FAULTS.keys()
