"""A fleet on one machine: several real nodes, an emulator of DynamoDB, and the sandbox's S3 and Connect.

Owns the order in which all of it comes up and ends, and what the nodes' configurations share.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from relay.config.model import Config
from relay.sandbox.configuration import sandbox_config
from relay.sandbox.ministack import find_ministack, open_ministack
from relay.sandbox.nodes import Nodes
from relay.sandbox.service import Sandbox, buckets_of, settings_of
from relay.spool.administration import found_fleet

#: Short, so that a person who kills the leader sees the next one at work soon.
LEASE_SECONDS = 5.0
_TABLE = "relay-sandbox"


def build_configs(
    place: Path, *, count: int, smtp: str, config_path: str | None = None, **tables: Any
) -> list[Config]:
    """The configurations of nodes that take mail at this address and at the ports behind it, or at any free
    ports if its port is 0.

    Raises:
        ConfigError: the file is not right.
    """
    host, _, port = smtp.rpartition(":")
    fleet = {"table": _TABLE, "lease_seconds": LEASE_SECONDS, **tables.pop("fleet", {})}
    return [
        sandbox_config(
            smtp=f"{host}:{int(port) + number if int(port) else find_port(host.strip('[]'))}",
            data_dir=place / f"node-{number + 1}",
            config_path=config_path,
            fleet={**fleet, "node": f"node-{number + 1}"},
            server={"receivers": 1},
            admin="",
            **tables,
        )
        for number in range(count)
    ]


def find_port(host: str) -> int:
    """A port that nobody listens at now. A node keeps its own when it is started again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """A block in which this process asks the sandbox for AWS, too: the page reads the table itself."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


@asynccontextmanager
async def open_fleet(
    place: Path, configs: Sequence[Config], *, http: tuple[str, int], **settings: Any
) -> AsyncIterator[tuple[Sandbox, Nodes]]:
    """The sandbox with all nodes up, for the time of the block; at its end no process of it is left.

    Raises:
        ConfigError: there is no emulator of DynamoDB.
        DaemonError: a node did not come up; its log is in `place`.
    """
    nodes = Nodes(configs, place)
    desk = configs[0].model_copy(update={"data_dir": place / "page"})
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(open_ministack(find_ministack(), place / "ministack"))
        box = Sandbox(
            settings=settings_of(desk, **settings),
            bucket=desk.s3.bucket,
            buckets=buckets_of(desk),
            http=http,
            smtp=nodes.all[0].smtp,
            config=desk,
            dynamodb_url=url,
            nodes=nodes,
        )
        await stack.enter_async_context(box)
        nodes.environ = box.environ()
        stack.enter_context(_environment(box.env))
        await asyncio.to_thread(found_fleet, desk, tell=lambda _step: None)
        await stack.enter_async_context(nodes)
        yield box, nodes
