"""The home of the page in the sandbox: the spool of its daemon, with all that only a sandbox has.

Owns the application on the sandbox's address: the page, which is open to whoever is at this machine, and the
API. Never starts a daemon: the page shows its spool as soon as there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial

from aiohttp import web

from relay.config import Config
from relay.sandbox.api import Api
from relay.sandbox.extras import SandboxExtras
from relay.sandbox.guard import guard_of
from relay.sandbox.node_rows import NodeRows
from relay.sandbox.transcripts import Transcripts, following
from relay.sandbox.view import SandboxView
from relay.spool.opening import open_desk
from relay.tail.client import open_tail
from relay.web.access import OpenAccess
from relay.web.application import build_page
from relay.web.desks import Desks
from relay.web.responses import page
from relay.web.spool_view import SpoolView

#: Addresses that the page offers to mail to.
_RECIPIENTS = 6


async def open_home(
    box: SandboxView,
    config: Config | None,
    stack: AsyncExitStack,
    *,
    bind_host: str,
    now: Callable[[], datetime],
) -> web.Application:
    """The application over the spool of a configuration, or the API alone where there is none; what it opens
    is closed with the stack.
    """
    app = web.Application() if config is None else await _open_page(box, config, stack, bind_host, now)
    app.middlewares.insert(0, guard_of(bind_host))
    app.add_routes(Api(box).routes())
    if config is None:
        app.router.add_get("/", _tell_bare)
    return app


async def _open_page(
    box: SandboxView,
    config: Config,
    stack: AsyncExitStack,
    bind_host: str,
    now: Callable[[], datetime],
) -> web.Application:
    view = SpoolView(config)
    stack.push_async_callback(view.close)
    transcripts = Transcripts()
    nodes = box.nodes
    for data_dir in [node.config.data_dir for node in nodes.all] if nodes else [config.data_dir]:
        await stack.enter_async_context(following(transcripts, partial(open_tail, data_dir)))
    rows: NodeRows | None = None
    if nodes is not None:
        desks = Desks(partial(open_desk, config), most=1)
        stack.push_async_callback(desks.close)
        rows = NodeRows(nodes, desks)
        stack.push_async_callback(rows.close)
    extras = SandboxExtras(
        box, transcripts, recipients=list(list_recipients(config))[:_RECIPIENTS], now=now, nodes=rows
    )
    return build_page(view, access=OpenAccess(bind_host), extras=extras)


def list_recipients(config: Config) -> Iterator[str]:
    """An address that each match of the routes takes."""
    for route in config.routes:
        for match in route.match:
            local, _, domain = match.rpartition("@")
            yield f"{local.rstrip('*') or 'anyone'}@{domain}"


async def _tell_bare(_request: web.Request) -> web.Response:
    return page("bare.html", {})
