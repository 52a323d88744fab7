"""Nodes of a fleet as whole daemons, on one machine: started, killed, frozen, and asked who leads."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_helpers import client, make_table
from harness import Daemon

from relay.aws.values import Item, load_item
from relay.sandbox.service import Sandbox

_SETTINGS = """
[fleet]
table = "{table}"
node = "{node}"
lease_seconds = {lease}
"""


class Nodes:
    """Some nodes of one fleet, beside one sandbox for S3 and Connect and one emulator for the table."""

    def __init__(
        self,
        home: Path,
        box: Sandbox,
        url: str,
        *,
        count: int,
        lease: float,
        env: Mapping[str, str] | None = None,
        **daemon: Any,
    ) -> None:
        """`env` leads the nodes elsewhere, to a proxy say; `daemon` goes to each `Daemon`."""
        self.box = box
        self.url = url
        self.table = make_table(url, bucket=None)
        self._env = {**box.environ(), "AWS_ENDPOINT_URL_DYNAMODB": url, **(env or {})}
        self.nodes = [self._build(home / f"node{number}", lease=lease, **daemon) for number in range(count)]

    def _build(self, home: Path, *, lease: float, **daemon: Any) -> Daemon:
        home.mkdir()
        extra = _SETTINGS.format(table=self.table, node=home.name, lease=lease)
        return Daemon(home, env=self._env, extra=extra, **daemon)

    def start(self) -> None:
        """Start all, each ready before the next."""
        for node in self.nodes:
            node.start(wait=False)
            node.wait_for("daemon.ready", seconds=120)

    def alive(self) -> list[Daemon]:
        """The nodes that run."""
        return [node for node in self.nodes if node.process and node.process.poll() is None]

    def leader(self) -> Daemon | None:
        """The node that delivers now, as its own log says; None while nobody does."""
        for node in self.alive():
            words = ("fleet.led", "fleet.lost", "fleet.resigned")
            told = [line["event"] for line in node.events if line.get("event") in words]
            if told and told[-1] == "fleet.led":
                return node
        return None

    def arrived(self) -> Counter[str]:
        """How often each subject became a contact."""
        return Counter(
            contact.request["EmailMessage"]["RawMessage"]["Subject"] for contact in self.box.book.select()
        )

    def rows(self) -> list[Item]:
        """Every item of the table, read without the nodes."""
        table = client("dynamodb", self.url)
        found: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            page = table.scan(TableName=self.table, ConsistentRead=True, **start)
            found += [load_item(each) for each in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def kill(self) -> None:
        """SIGKILL to all that run."""
        for node in self.alive():
            node.kill()


def freeze(node: Daemon, *, frozen: bool) -> None:
    """Stop every process of a node, or let them go on."""
    assert node.process
    os.killpg(node.process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)
