"""The process of the page: the spool as operators see it, over HTTP.

Owns its addresses, and how it goes on by another configuration: a new application takes over the sockets,
and whoever has signed in stays so. An address that is taken is tried again, and a spool that is not there is
asked again: the process never ends for either. It is nicer than mail where it may be.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress

from aiohttp import web

from relay import PROGRAM, telemetry
from relay.config import Config
from relay.daemon.child import descriptors, run_child
from relay.daemon.messages import Start
from relay.errors import ConfigError
from relay.smtp.sockets import open_socket
from relay.telemetry.metrics import begin_web
from relay.web.home import Home

#: Seconds until what was not there, or taken, is tried again.
_AGAIN_SECONDS = 5.0
#: Seconds that requests may take to end when an application gives way to the next.
_DRAIN_SECONDS = 1.0
#: Of nice(2): mail goes first where the processor is short.
_NICENESS = 5


class Page:
    """The page of a daemon."""

    def __init__(self) -> None:
        self._home = Home(clock=time.monotonic)
        self._sockets: dict[str, socket.socket] = {}
        #: The servers of the present application.
        self._stack = AsyncExitStack()
        self._opening: asyncio.Task[None] | None = None

    async def start(self, order: Start) -> None:
        """Begin to open the page; the process works before it is open."""
        begin_web()
        with suppress(OSError):  # the unit's SystemCallFilter= leaves setpriority(2) out
            os.nice(_NICENESS)
        self._opening = asyncio.create_task(self._open(order.config))

    async def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        await self._give_up()
        self._opening = asyncio.create_task(self._open(config))

    async def _give_up(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening

    async def _open(self, config: Config) -> None:
        """Serve by a configuration as soon as that is possible."""
        told = ""
        while True:
            try:
                opened = await self._serve(config)
            except ConfigError as exc:
                if str(exc) != told:
                    telemetry.web_refused(why=str(exc))
                told = str(exc)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                for bind in opened:
                    telemetry.web_opened(bind=bind)
                return

    async def _serve(self, config: Config) -> list[str]:
        """Have a new application take over. Returns the addresses that are new.

        Raises:
            ConfigError: an address cannot be opened; what served before goes on.
        """
        fresh = _open_sockets([bind for bind in config.web.bind if bind not in self._sockets])
        stack = AsyncExitStack()
        try:
            app = self._home.build(config, stack)
            app.on_response_prepare.append(_sign)
            runner = web.AppRunner(
                app, access_log=None, shutdown_timeout=_DRAIN_SECONDS, handler_cancellation=True
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            sockets = {bind: fresh.get(bind) or self._sockets[bind] for bind in config.web.bind}
            for sock in sockets.values():
                await web.SockSite(runner, sock.dup()).start()
        except BaseException:
            await stack.aclose()
            for sock in fresh.values():
                sock.close()
            raise
        before, self._stack = self._stack, stack
        for bind in self._sockets.keys() - sockets.keys():
            self._sockets[bind].close()
        self._sockets = sockets
        await before.aclose()
        return [_name(sock) for sock in fresh.values()]

    def problem(self) -> str:
        """Always "": the page keeps no mail out."""
        return ""

    def notice(self) -> str:
        """Always "": the page tells people itself."""
        return ""

    def away(self) -> Mapping[str, str]:
        """Always none."""
        return {}

    def has_moved(self) -> bool:
        """Returns whether another spool lies where the open one was."""
        return False

    async def stop(self, _seconds: float) -> None:
        """End what is served; no mail waits for it."""
        await self._give_up()
        await self._stack.aclose()
        for sock in self._sockets.values():
            sock.close()
        self._home.close()


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = PROGRAM  # by which `relay check` knows its own
    telemetry.web_answered(status=response.status)


def _open_sockets(binds: Sequence[str]) -> dict[str, socket.socket]:
    """A listening socket for each address.

    Raises:
        ConfigError: one of them cannot be opened.
    """
    opened: dict[str, socket.socket] = {}
    for bind in binds:
        try:
            opened[bind] = open_socket(bind)
        except OSError as exc:
            for sock in opened.values():
                sock.close()
            raise ConfigError(
                f'web.bind = "{bind}": cannot be opened ({exc.strerror or exc}); give the page an address of this '
                'machine and a port of its own, or "" for none'
            ) from exc
    return opened


def _name(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


def main(line: int, stacks: int, _sockets: Sequence[int], _template: None = None) -> int:
    """The life of the page's process. Returns its exit code."""
    return run_child(Page, line=line, stacks=stacks)


if __name__ == "__main__":
    sys.exit(main(*descriptors()))
