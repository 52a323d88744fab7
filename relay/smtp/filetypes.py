"""Files that a route refuses at the door: `disallowed_types = "reject"`.

Owns the look into a mail before its commit, on those routes only. The parsing runs in a thread; the decision is
`relay.contact.refusal`'s. Whatever goes wrong here refuses nothing: the delivering half stores such files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from relay.config.model import Config, Route
from relay.contact.refusal import refusals
from relay.envelope import Destination
from relay.message.parse import parse_message
from relay.routes import RouteTable
from relay.spool.model import RawFile

#: By the name of a route, the names of the files that it refuses: never none.
Refused = Mapping[str, tuple[str, ...]]


def strict_routes(destinations: Sequence[Destination], routes: RouteTable) -> list[Route]:
    """The routes of these destinations that refuse files at the door: most have none."""
    names = dict.fromkeys(destination.route for destination in destinations)
    return [
        route
        for route in map(routes.route, names)
        if route is not None and route.disallowed_types == "reject"
    ]


async def find_refused(raw: bytes | RawFile, strict: Sequence[Route], config: Config) -> Refused:
    """The routes that refuse the mail, each with the names of the files; empty when all of them take it.

    Raises:
        SpoolError: a large mail cannot be read back.
    """
    return await asyncio.to_thread(_look, raw, strict, config)


def _look(raw: bytes | RawFile, strict: Sequence[Route], config: Config) -> Refused:
    if isinstance(raw, bytes):
        return _names(memoryview(raw), strict, config)
    with raw.view() as octets:
        return _names(octets, strict, config)


def _names(octets: memoryview, strict: Sequence[Route], config: Config) -> Refused:
    message = parse_message(octets, clock=time.thread_time)
    found = {route.name: refusals(message, route, config) for route in strict}
    return {name: files for name, files in found.items() if files}
