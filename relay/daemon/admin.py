"""Health and metrics for the operator: /livez, /readyz and /metrics over HTTP, by default on loopback only.

Owns the HTTP of the daemon. Never shows a mail, an address or a configuration value. Each process counts for
itself; their metrics are merged here, under the label `process`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from relay import PROGRAM
from relay.config.words import split_bind
from relay.errors import ConfigError

#: Prometheus's text format, version 0.0.4.
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Merged(Collector):
    """The metrics of several processes as one collector."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        """Give each family of metrics once, its samples labelled with their process."""
        families: dict[str, Metric] = {}
        for process, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
        return families.values()


def merge_expositions(texts: Mapping[str, str]) -> bytes:
    """Merge the expositions of several processes into one text, each sample under the label `process`."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return generate_latest(registry)


def build_application(
    *,
    problems: Callable[[], tuple[str, ...]],
    metrics: Callable[[], Awaitable[Mapping[str, str]]],
    notices: Callable[[], tuple[str, ...]] = tuple,
) -> web.Application:
    """The application with the three pages.

    `problems` gives the reasons why mail should not be sent here now, `notices` what a person should know
    though it can be sent.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        found = problems()
        lines = (*(found or ("ok",)), *notices())
        return web.Response(text="\n".join(lines) + "\n", status=503 if found else 200)

    async def metrics_page(_: web.Request) -> web.Response:
        return web.Response(body=merge_expositions(await metrics()), headers={"Content-Type": _CONTENT_TYPE})

    async def sign(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = PROGRAM  # by which `relay check` knows its own

    app = web.Application()
    app.on_response_prepare.append(sign)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics_page)
    return app


@asynccontextmanager
async def open_admin(binds: Sequence[str], app: web.Application) -> AsyncIterator[list[str]]:
    """Serve the pages. Gives the addresses, with the ports that were taken.

    Raises:
        ConfigError: an address cannot be opened.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        for bind in binds:
            await web.TCPSite(runner, *split_bind(bind)).start()
    except OSError as exc:
        await runner.cleanup()
        raise ConfigError(
            f'admin.bind = "{bind}": cannot be opened ({exc.strerror or exc}); '
            "give each relay serve of this machine an address and port of its own (RELAY_ADMIN__BIND "
            'where they share a file), or "" for none'
        ) from exc
    try:
        yield [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port, *_ in runner.addresses]
    finally:
        await runner.cleanup()
