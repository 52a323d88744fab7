"""Listeners: the sockets at which mail comes in, and the server that stands behind them.

Owns opening, reloading and draining. A process has one `Server`; the supervisor binds the sockets, so that
several processes can share them and a restart loses no connection that the kernel has queued.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from relay import telemetry
from relay.config.listener import Listener, Tls, list_places
from relay.config.model import Config
from relay.lists.lookup import Lists, build_lists
from relay.logins.users import Users
from relay.routes import RouteTable
from relay.smtp.counters import SharedCounters
from relay.smtp.filetypes import FileLook
from relay.smtp.handler_calls import Hooks, build_hooks
from relay.smtp.identity import IdentityChecks, build_checks
from relay.smtp.limits import Limiter
from relay.smtp.overload import raise_file_limit
from relay.smtp.protocol import Conversation
from relay.smtp.proxy import ProxyGate
from relay.smtp.scanning import Scanners, build_scanners
from relay.smtp.server import Server
from relay.smtp.settings import ListenerSettings, build_settings
from relay.smtp.sockets import BACKLOG
from relay.smtp.tls import Certificates
from relay.spool.interface import Intake
from relay.spool.model import PolicyCount
from relay.tail.server import TailServer
from relay.telemetry.refusals import Refusals

#: Seconds between two writes of the policy's counts.
_COUNT_SECONDS = 60.0
#: Seconds between two looks whether the last session is gone.
_DRAIN_STEP_SECONDS = 0.05


def _find_certificates(
    made: dict[tuple[bool, bool, bool], Certificates], tls: Tls, listener: Listener
) -> Certificates:
    """The certificates for a listener, shared with those that ask the same of peers."""
    ask_client = listener.role == "trusted" and tls.client_ca is not None
    optional = ask_client and listener.auth != "required"
    opportunistic = listener.tls == "starttls"
    found = made.get((ask_client, optional, opportunistic))
    if found is None:
        found = Certificates(tls, ask_client=ask_client, optional=optional, opportunistic=opportunistic)
        made[ask_client, optional, opportunistic] = found
    return found


class Listeners:
    """The receiving half of one process."""

    def __init__(
        self,
        *,
        config: Config,
        intake: Intake,
        tally: Path | None = None,
        refusals: Path | None = None,
        tail: Path | None = None,
        index: int = 0,
        receivers: int = 1,
    ) -> None:
        """Make a server. With `tally`, limits by address hold over all `receivers`, of which this is
        number `index`. In the folder `refusals` it keeps what peers were refused, and in the folder `tail` it
        listens for those who read transcripts.
        """
        self._refusals = Refusals(refusals / f"receiver-{index}") if refusals is not None else None
        self._tail_path = tail / f"receiver-{index}" if tail is not None else None
        self._tail: TailServer | None = None
        self._tally = SharedCounters(tally, index=index, processes=receivers)
        self._config = config
        self._intake = intake
        self._server: Server | None = None
        self._listening: list[asyncio.Server] = []
        self._settings: dict[int, ListenerSettings] = {}
        self._draining: asyncio.Task[None] | None = None
        self._look = FileLook()
        self._counting: asyncio.Task[None] | None = None
        self._hooks: Hooks | None = None
        self._checks: IdentityChecks | None = None
        self._scanners: Scanners | None = None
        self._lists: Lists | None = None

    async def start(self, sockets: Mapping[int, Sequence[socket.socket]]) -> None:
        """Take mail at these sockets, which are given by the number of their place in the configuration."""
        loop = asyncio.get_running_loop()
        raise_file_limit()
        self._server = Server(
            intake=self._intake,
            limits=self._config.limits,
            limiter=Limiter(self._tally),
            refusals=self._refusals,
        )
        self._compile(self._config)
        self._counting = loop.create_task(self._count())
        await self._open_tail(self._server)
        for number, opened in sockets.items():
            for one in opened:
                server = await loop.create_server(self._factory(number), sock=one, backlog=BACKLOG)
                self._listening.append(server)

    async def _open_tail(self, server: Server) -> None:
        """Listen for those who read transcripts. Where that cannot be, mail comes in all the same."""
        if self._tail_path is None:
            return
        self._tail = TailServer(self._tail_path, on_join=server.begin_telling, on_leave=server.end_telling)
        try:
            await self._tail.start()
        except OSError as exc:
            telemetry.fault_caught(where="smtp.tail", error=repr(exc))

    def _factory(self, number: int) -> Callable[[], asyncio.BaseProtocol]:
        server = self._server
        assert server is not None

        def make() -> Conversation:
            return Conversation(self._settings[number], server)

        def guarded() -> asyncio.BaseProtocol:
            settings = self._settings[number]
            return ProxyGate(settings, server, make) if settings.proxies else make().connection

        return guarded

    def reload(self, config: Config) -> None:
        """Use this configuration for new sessions; open ones keep theirs. The sockets are the supervisor's,
        and stay.

        Raises:
            OSError, ValueError: nothing was changed.
        """
        self._compile(config)
        self._config = config

    def _compile(self, config: Config) -> None:
        """Compile the settings of all listeners. They are put in place together, or not at all."""
        assert self._server is not None
        routes = RouteTable(config)
        tls = config.tls
        made: dict[tuple[bool, bool, bool], Certificates] = {}
        users = Users(config.server.users_file) if config.server.users_file else None
        hooks = build_hooks(config, self._hooks)
        checks = build_checks(config, self._checks)
        scanners = build_scanners(config, self._scanners)
        lists = build_lists(config, self._lists)
        settings = {
            number: build_settings(
                config=config,
                listener=place.listener,
                bind=place.bind,
                routes=routes,
                tls=_find_certificates(made, tls, place.listener) if tls.certificate else None,
                users=users,
                look=self._look,
                hooks=hooks,
                identity=checks,
                scanners=scanners,
                lists=lists,
            )
            for number, place in enumerate(list_places(config.listeners))
        }
        # A listener that is no longer in the configuration goes on under the old one until the restart.
        self._settings |= settings
        self._hooks = hooks
        self._checks = checks
        self._scanners = scanners
        self._lists = lists
        self._server.settings = list(self._settings.values())
        self._server.limits = config.limits

    async def _count(self) -> None:
        """Hand the counts of days to the spool, and look at lists in files, once a minute."""
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            self._hand_over_counts()
            if self._lists is not None:
                await self._lists.refresh()

    def _hand_over_counts(self) -> None:
        met = [PolicyCount(*key, mails) for key, mails in telemetry.take_counts()]
        self._intake.note_counts([*met, *telemetry.take_day_counts()])
        self._intake.note_refusals(telemetry.take_refusals())

    def problem(self) -> str:
        """The reason why no mail can come in now, whatever its size. Returns "" when mail can."""
        return self._server.problem() if self._server is not None else ""

    @property
    def away(self) -> Mapping[str, str]:
        """The services that give no answers about mail (`dns`, `clamd`, `rspamd`), and why."""
        asked = (self._checks, self._scanners)
        return {name: why for each in asked if each is not None for name, why in each.away.items()}

    async def drain(self, seconds: float) -> None:
        """Stop: no new sessions, 421 to the idle, `seconds` for mails under way. Commits always finish.

        A second call waits for the same end.
        """
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain(seconds))
        await asyncio.shield(self._draining)

    async def _drain(self, seconds: float) -> None:
        for listening in self._listening:
            listening.close()
        if self._counting is not None:
            self._counting.cancel()
        server = self._server
        if server is None:
            return
        server.draining = True
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while server.sessions or server.works:
            urgent = loop.time() >= ends_at
            for session in tuple(server.sessions):
                session.stop(urgent=urgent)
            await asyncio.sleep(_DRAIN_STEP_SECONDS)
        server.close()
        if self._tail is not None:
            self._tail.close()
        self._hand_over_counts()
        await self._look.close()
        if self._checks is not None:
            await self._checks.close()
        if self._scanners is not None:
            self._scanners.retire()
        if self._lists is not None:
            await self._lists.close()
        self._tally.close()
