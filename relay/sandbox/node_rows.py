"""The nodes of a sandbox's fleet as its page shows them: which one lives, leads, accepted and delivered.

Owns how these are found out: life from the processes themselves, all else from the table, as any node would.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from relay.errors import RelayError
from relay.sandbox.nodes import Node, Nodes
from relay.spool.desk import Desk
from relay.spool.model import State
from relay.spool.page import EntryQuery
from relay.web.desks import Desks
from relay.web.extras import NodeRow

#: The newest entries that are counted.
_COUNTED = 500
_SECONDS = 2.0


class NodeRows:
    """The rows, and the changes that a person makes by them."""

    def __init__(self, nodes: Nodes, desks: Desks) -> None:
        self._nodes = nodes
        self._desks = desks
        self._starting: set[asyncio.Task[None]] = set()
        #: The last failure of a start, by the name of the node.
        self._troubles: dict[str, str] = {}

    async def list(self) -> Sequence[NodeRow]:
        """All nodes, in their order."""
        leader, accepted, delivered = await self._desks.ask(_count)
        return tuple(
            NodeRow(
                name=node.name,
                smtp=node.smtp,
                life=node.look(),
                leads=node.life == "running" and node.name == leader,
                accepted=accepted[node.name],
                delivered=delivered[node.name],
                kills=node.kills,
                trouble=self._troubles.get(node.name, ""),
            )
            for node in self._nodes.all
        )

    async def kill(self, name: str) -> str:
        """Kill a node. Returns what was done, as a sentence.

        Raises:
            ValueError: there is no such node.
        """
        node = self._find(name)
        return f"{name} is killed." if await node.kill() else f"{name} did not run."

    async def start(self, name: str) -> str:
        """Begin to start a node. Returns what was done, as a sentence.

        Raises:
            ValueError: there is no such node.
        """
        node = self._find(name)
        if node.look() in ("running", "starting"):
            return f"{name} runs already."
        node.life = "starting"
        task = asyncio.create_task(self._start(node))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return f"{name} is starting."

    async def _start(self, node: Node) -> None:
        self._troubles.pop(node.name, None)
        try:
            await node.start(self._nodes.environ)
        except (RelayError, OSError) as exc:
            self._troubles[node.name] = str(exc)

    def _find(self, name: str) -> Node:
        node = self._nodes.find(name)
        if node is None:
            raise ValueError(f'"{name}" is no node of this fleet.')
        return node

    async def close(self) -> None:
        """Wait for the starts under way."""
        await asyncio.gather(*self._starting, return_exceptions=True)


def _count(desk: Desk) -> tuple[str, Counter[str], Counter[str]]:
    """The node that leads, and the numbers of the newest entries that each accepted and delivered."""
    beats = sorted((beat for beat in desk.nodes() if beat.leads), key=lambda beat: beat.at)
    rows = desk.page(EntryQuery(limit=_COUNTED, seconds=_SECONDS)).rows
    accepted = Counter(row.accepted_by for row in rows)
    delivered = Counter(row.delivered_by for row in rows if row.entry.state is State.DONE)
    return beats[-1].node if beats else "", accepted, delivered
