"""What tests of the SMTP edge share: a real server on loopback in a thread, and its configuration."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest
from certificates import Papers
from fake_spool import FakeSpool

from relay import telemetry
from relay.config.listener import list_places
from relay.config.model import Config
from relay.smtp.listeners import Listeners
from relay.smtp.sockets import open_socket

ROUTES = [
    {
        "match": [
            "support@example.com",
            "sales@example.com",
            "postmaster@example.com",
            "team*@example.com",
            "a%b@example.com",
        ]
    },
    {"match": ["@help.example.com"]},
    {"match": ["käse@münchen.example"]},
    {"match": ["@straße.example"]},
]


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """An event loop of one of the kinds that the daemon runs on."""
    return pytest.importorskip("uvloop").new_event_loop() if kind == "uvloop" else asyncio.new_event_loop()


def build_config(papers: Papers | None = None, **changes: Any) -> Config:
    """A configuration for tests; `changes` are whole tables, or keys of the top."""
    base: dict[str, Any] = {
        "hostname": "mx.test.example",
        "s3": {"bucket": "test-bucket"},
        "connect": {"instance_id": "00000000-0000-0000-0000-000000000000"},
        "routes": ROUTES,
        "listeners": [{"bind": "127.0.0.1:0", "tls": "starttls" if papers else "none"}],
        # Tests talk to loopback only; those of the checks name a DNS server there.
        "identity": {"enabled": False},
    }
    if papers is not None:
        base["tls"] = {"certificate": str(papers.certificate), "key": str(papers.key)}
    return Config.model_validate(base | changes)


class Serving:
    """A server in a thread of its own, with a spool in memory."""

    def __init__(
        self, config: Config, *, spool: FakeSpool | None = None, loop: str = "asyncio", **options: Any
    ) -> None:
        telemetry.configure("json", "error")
        self.config = config
        self.spool = spool or FakeSpool()
        self._options = options
        self.sockets = {
            number: [open_socket(place.bind)] for number, place in enumerate(list_places(config.listeners))
        }
        self.ports = [opened[0].getsockname()[1] for opened in self.sockets.values()]
        self.loop = new_loop(loop)
        self.trouble: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _loop, context: self.trouble.append(context))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._start())
        return self

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _start(self) -> None:
        self.server = Listeners(config=self.config, intake=self.spool, **self._options)
        await self.server.start(self.sockets)

    def call(self, coroutine: Any, *, seconds: float = 30.0) -> Any:
        """Run a coroutine in the server's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def soon(self, function: Callable[[], Any]) -> None:
        """Run a function in the server's loop."""
        self.loop.call_soon_threadsafe(function)

    def connect(self, index: int = 0, *, source: str | None = None) -> socket.socket:
        """A new connection to a listener."""
        own = self.sockets[index][0]
        host = "::1" if own.family == socket.AF_INET6 else "127.0.0.1"
        return socket.create_connection(
            (host, self.ports[index]), timeout=10, source_address=(source, 0) if source else None
        )

    def __exit__(self, *_: object) -> None:
        self.spool.release_now(self.loop)
        self.call(self.server.drain(0.0))
        self.call(asyncio.sleep(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        telemetry.configure("json", "info")
        assert self.trouble == []
