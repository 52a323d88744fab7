"""The home of the page over the real queue: what serves by one configuration, and what outlives it.

Owns the people and sessions of a process, which stay when the configuration is read again. Never opens a
socket: the daemon does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from relay.config import Config
from relay.config.model import Limits
from relay.config.web import Web
from relay.logins.users import Users
from relay.web.access import Access
from relay.web.application import build_page
from relay.web.doors import BasicDoor, ProxyDoor
from relay.web.people import People
from relay.web.sessions import Sessions
from relay.web.sign_in import TokenDoor
from relay.web.spool_view import SpoolView


class Home:
    """The parts of a page that outlive its configuration."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions = Sessions(clock=clock)
        self._key = secrets.token_bytes(32)
        self._people: People | None = None
        #: The users file and the limits that the people were made of.
        self._made_of: tuple[Path, Limits] | None = None

    def build(self, config: Config, stack: AsyncExitStack) -> web.Application:
        """The application of a configuration; what it opens is closed with the stack."""
        view = SpoolView(config)
        stack.push_async_callback(view.close)
        door = open_door(config.web, self._find_people(config), self._sessions, key=self._key)
        return build_page(view, access=door)

    def _find_people(self, config: Config) -> People | None:
        """Those of the users file, with their counts where it and the limits are the same as before."""
        path = config.web.users_file
        made_of = (path, config.limits) if path is not None else None
        if made_of != self._made_of:
            self.close()
            self._people = People(Users(made_of[0]), made_of[1], clock=self._clock) if made_of else None
            self._made_of = made_of
        return self._people

    def close(self) -> None:
        """End the threads that look at passwords."""
        if self._people is not None:
            self._people.close()


def open_door(config: Web, people: People | None, sessions: Sessions, *, key: bytes) -> Access:
    """The door that the configuration asks for; `people` are those of its users file."""
    if config.auth == "proxy":
        return ProxyDoor(config, key)
    assert people is not None
    if config.auth == "basic":
        return BasicDoor(config, key, people)
    return TokenDoor(config, key, people, sessions)
