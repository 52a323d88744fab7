"""The sandbox as a whole: S3, Connect and the page, on loopback, with an account of its own.

Owns the made-up account and the environment that points a daemon at the sandbox. Never starts the daemon
itself (`relay.sandbox.daemon` does). In a program:

    async with Sandbox() as box:                  # in this event loop
        environment = box.environ()

    with running_sandbox() as box:                # in a thread with a loop of its own
        subprocess.run([...], env=box.environ())
        box.contacts()
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web

from relay.config.connect import Quota
from relay.config.discovered import find_destinations
from relay.config.model import Config
from relay.config.words import bare_id
from relay.routes import RouteTable
from relay.sandbox.chaos import Dice
from relay.sandbox.connect import ConnectService
from relay.sandbox.contacts import Book
from relay.sandbox.fetcher import Fetcher
from relay.sandbox.home import open_home
from relay.sandbox.limits import Settings
from relay.sandbox.nodes import Nodes
from relay.sandbox.s3 import S3Service, open_s3
from relay.sandbox.signature import Keys
from relay.sandbox.sts import KeyRing, StsService
from relay.timing import utc_now

#: Not us-east-1, where a wrong default would go unnoticed.
REGION = "eu-central-1"
ACCOUNT = "999988887777"
BUCKET = "relay-sandbox"
_T = TypeVar("_T")


class Sandbox:
    """S3, Connect and the page, started on entry. Methods without `async` may be called from any thread."""

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        bucket: str = BUCKET,
        buckets: Mapping[str, str] = MappingProxyType({}),
        http: tuple[str, int] = ("127.0.0.1", 0),
        session_token: str | None = None,
        seed: int | None = None,
        smtp: str = "127.0.0.1:2525",
        config: Config | None = None,
        now: Callable[[], datetime] = utc_now,
        dynamodb_url: str = "",
        nodes: Nodes | None = None,
    ) -> None:
        self.keys = Keys(
            access_key="AKIASANDBOX000000000",
            secret_key="a-secret-that-opens-nothing",  # noqa: S106  # it signs for this sandbox only
            region=REGION,
            token=session_token,
            account=ACCOUNT,
        )
        self.bucket = bucket
        #: Further buckets, with the Region of each.
        self._buckets = buckets
        #: The address where the daemon listens, for the page.
        self.smtp = smtp
        #: The configuration of the daemon whose spool the page shows; None for no page.
        self._config = config
        #: The nodes of a fleet, and the emulator of its table; none and "" for one daemon.
        self.nodes = nodes
        self._dynamodb_url = dynamodb_url
        self.http_url = ""
        self.connect_url = ""
        self.sts_url = ""
        self.s3: S3Service
        self.connect: ConnectService
        self.sts: StsService
        self.ring = KeyRing(self.keys, now)
        self._settings = settings or Settings()
        self._http = http
        #: The clock of S3 and Connect. Their pace goes by the event loop's clock.
        self._now = now
        self._dice = Dice(seed)
        self._book = Book()
        self._fetcher: Fetcher
        self._stack = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        enter = self._stack.enter_async_context
        buckets = {self.bucket: REGION, **self._buckets}
        self.s3 = await enter(open_s3(keys=self.keys, dice=self._dice, buckets=buckets, now=self._now))
        client = await enter(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        self._fetcher = Fetcher(
            client, keys=self.keys, origin=self.s3.url, region_of=self.s3.region_of, now=self._now
        )
        self._stack.push_async_callback(self._fetcher.close)
        self.connect = ConnectService(
            settings=self._settings,
            ring=self.ring,
            dice=self._dice,
            book=self._book,
            fetcher=self._fetcher,
            size_of=self.s3.size_of,
            now=self._now,
            clock=self._loop.time,
        )
        self.connect_url = await self._serve(self.connect.application(), "127.0.0.1", 0)
        self.sts = StsService(self.ring, self._now)
        self.sts_url = await self._serve(self.sts.application(), "127.0.0.1", 0)
        app = await open_home(self, self._config, self._stack, bind_host=self._http[0], now=self._now)
        self.http_url = await self._serve(app, *self._http)

    async def _serve(self, app: web.Application, host: str, port: int) -> str:
        """Serve an application until the end. Returns its URL."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, host, port).start()
        bound: tuple[str, int] = runner.addresses[0]
        return f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"

    @property
    def env(self) -> dict[str, str]:
        """The variables that point any AWS client at this sandbox."""
        return {
            "AWS_ACCESS_KEY_ID": self.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key,
            **({"AWS_SESSION_TOKEN": self.keys.token} if self.keys.token else {}),
            "AWS_DEFAULT_REGION": self.keys.region,
            "AWS_REGION": self.keys.region,
            "AWS_ENDPOINT_URL_S3": self.s3.url,
            "AWS_ENDPOINT_URL_CONNECT": self.connect_url,
            "AWS_ENDPOINT_URL_STS": self.sts_url,
            **({"AWS_ENDPOINT_URL_DYNAMODB": self._dynamodb_url} if self._dynamodb_url else {}),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def environ(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """An environment for a daemon: the base (ours by default) without its AWS account, with `env`."""
        kept = {name: value for name, value in (base or os.environ).items() if not name.startswith("AWS_")}
        return kept | self.env

    @property
    def book(self) -> Book:
        """The contacts, as the services of this sandbox keep them."""
        return self._book

    def contacts(self) -> list[dict[str, Any]]:
        """The list of `GET /api/contacts`, after a short wait for attachments that are being fetched.

        In the sandbox's own loop nothing can wait here: `await settle()` first.
        """
        if threading.get_ident() != self._thread:
            self._run(self.settle())
        return [json.loads(contact.to_json()) for contact in self._book.select()]

    def clear(self) -> None:
        """Forget every contact and client token."""
        self._run(_soon(self._book.clear))

    def chaos(
        self, document: Mapping[str, Any] | None = None, /, **tables: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Set faults as `POST /api/chaos` does, `chaos(s3={"refuse": True})`, or end all of them with
        `chaos({})`.

        Raises:
            ValueError: the document is not right.
        """
        if document is None and not tables:
            return self._dice.chaos.document()
        return self._run(self.set_chaos({**(document or {}), **tables}))

    async def set_chaos(self, document: object) -> dict[str, Any]:
        """Set faults, from within the sandbox's own loop."""
        self._dice.chaos = self._dice.chaos.updated(document)
        await self.s3.apply_faults()
        return self._dice.chaos.document()

    def fetch_from(self, url: str) -> None:
        """Have Connect fetch from here, where something stands before S3.

        URLs that lead elsewhere are refused.
        """
        self._fetcher.lead(url)

    async def settle(self, timeout_seconds: float = 2.0) -> None:
        """Wait for the attachments that are being fetched now, so long at most."""
        await self._fetcher.settle(timeout_seconds)

    async def until(self, count: int, timeout_seconds: float) -> bool:
        """Wait for so many contacts. Returns whether they came in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while len(self._book) < count:
                    self._book.grown.clear()
                    await self._book.grown.wait()
        except TimeoutError:
            return False
        return True

    def wait(self, count: int, timeout_seconds: float = 30.0) -> list[dict[str, Any]]:
        """Wait from another thread for so many contacts, or until time is up. Returns the contacts."""
        self._run(self.until(count, timeout_seconds), timeout_seconds + 5)
        return self.contacts()

    def _run(self, work: Coroutine[Any, Any, _T], timeout_seconds: float = 30.0) -> _T:
        """Run a coroutine in the sandbox's loop, from another thread. Returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_seconds)


async def _soon(work: Any) -> None:
    work()


def settings_of(config: Config, **changes: Any) -> Settings:
    """The simulated instances that fit a configuration, with addresses, file types and limits, each
    in its Region and account.
    """
    others = {
        bare_id(each): _settings_of(config.of_instance(each), **_place_of(config, each))
        for each in config.connect.instances
    }
    return _settings_of(config, **({"others": others} | changes))


def buckets_of(config: Config) -> dict[str, str]:
    """The buckets that instances have of their own, each with its Region."""
    return {
        instance.s3.bucket: instance.bucket_region or REGION
        for instance in config.connect.instances.values()
        if instance.s3.bucket
    }


def _place_of(config: Config, instance_id: str) -> dict[str, str]:
    quota = config.connect.find(instance_id).quota.at(Quota(account=ACCOUNT, region=REGION))
    return {"account": quota.account, "region": "" if quota.region == REGION else quota.region}


def _settings_of(config: Config, **changes: Any) -> Settings:
    routes = RouteTable(config)

    def has_address(_instance_id: str, address: str) -> bool:
        return routes.is_ours(address)

    def addresses(instance_id: str) -> list[str]:
        # a pattern takes many, of which none is known
        same = [each for each in config.list_instances() if bare_id(each) == bare_id(instance_id)]
        return sorted({address for each in same for address in find_destinations(config, each)})

    values: dict[str, Any] = {
        "instance_ids": frozenset(config.list_instances()),
        "addresses": addresses,
        "has_address": has_address,
        "extensions": config.connect.allowed_extensions,
        "max_attachments": config.connect.max_attachments,
        "max_file_bytes": config.connect.max_attachment_bytes,
        "max_total_bytes": config.connect.max_total_bytes,
        "requests_per_second": config.connect.requests_per_second,
        "burst": config.connect.burst,
    }
    return Settings(**(values | changes))


@contextmanager
def running_sandbox(**arguments: Any) -> Iterator[Sandbox]:
    """A sandbox in a thread of its own, for callers that have no event loop or must not share theirs."""
    ready: threading.Event = threading.Event()
    found: list[Sandbox | BaseException] = []
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        end = asyncio.Event()
        async with Sandbox(**arguments) as box:
            ends.append((asyncio.get_running_loop(), end))
            found.append(box)
            ready.set()
            await end.wait()

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as exc:  # noqa: BLE001  # it is raised again in the caller's thread
            found.append(exc)
            ready.set()

    thread = threading.Thread(target=main, name="sandbox", daemon=True)
    thread.start()
    ready.wait()
    if isinstance(found[0], BaseException):
        raise found[0]
    try:
        yield found[0]
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(timeout=30)
