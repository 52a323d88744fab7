"""The settings of a listener, as its sessions see them: one configuration, compiled.

Owns the parts of a configuration that are looked at for every command, in the form that is quickest to look
at, and the announcements. A reload makes new settings; sessions that are open keep theirs.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from relay import replies
from relay.config.listener import Listener
from relay.config.model import Config, Limits
from relay.domains import normalise_address
from relay.lists.lookup import Lists
from relay.logins.users import Users
from relay.networks import Network, parse_address, parse_network
from relay.policy.decide import Terms, build_terms
from relay.routes import RouteTable
from relay.smtp.filetypes import FileLook
from relay.smtp.handler_calls import Hooks
from relay.smtp.identity import IdentityChecks
from relay.smtp.scanning import Scanners
from relay.smtp.tls import Certificates

_LOOPBACK = (parse_network("127.0.0.0/8"), parse_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListenerSettings:
    """One listener under one configuration. Compared by identity."""

    config: Config
    listener: Listener
    #: The address of the listener, among those that it has, at which the peer called.
    bind: str
    routes: RouteTable
    limits: Limits
    hostname: str
    trusted: bool
    #: True if what Postfix takes by default is taken, against the letter of the RFC: all but `strict`.
    lenient: bool
    #: True if the manners of legacy systems are taken, too: on trusted listeners that are not strict.
    legacy: bool
    lmtp: bool
    max_bytes: int
    #: The limits that decide over a whole mail.
    terms: Terms
    #: None where the listener offers no TLS.
    tls: Certificates | None
    #: None where nobody can log in.
    users: Users | None
    #: Empty for everyone.
    allow: tuple[Network, ...]
    xclient: tuple[Network, ...]
    xforward: tuple[Network, ...]
    proxies: tuple[Network, ...]
    #: Our domains in the order of the routes, for `<postmaster>` (RFC 5321 §4.5.1).
    domains: tuple[str, ...]
    #: Addresses that a route spells out.
    exact: frozenset[str]
    greeting: bytes = field(repr=False)
    #: The reply to HELO.
    hello: bytes = field(repr=False)
    #: True if STARTTLS is offered in clear.
    starttls: bool
    #: True if no mail is taken without TLS.
    tls_first: bool
    #: True if some route refuses files before the 250.
    looks_inside: bool
    #: The seconds from the end of a mail's data to its reply, with those of everybody who is asked before.
    commit_seconds: float
    #: The look into files, one for all listeners of the process.
    look: FileLook
    #: The operator's handlers; None where the configuration names none.
    hooks: Hooks | None = None
    #: The checks of a mail's origin; None where this listener makes none.
    identity: IdentityChecks | None = None
    #: The scanners; None where this listener asks none.
    scanners: Scanners | None = None
    #: The lists of senders; None where the configuration has none.
    lists: Lists | None = None
    #: The caches of functions of these settings (`remembered`).
    remembered: dict[Callable[..., Any], Callable[..., Any]] = field(default_factory=dict, repr=False)

    @property
    def context(self) -> ssl.SSLContext | None:
        """The context for a handshake now. Returns None where there can be none."""
        return self.tls.context if self.tls is not None else None


def build_settings(
    *,
    config: Config,
    listener: Listener,
    routes: RouteTable,
    bind: str = "",
    tls: Certificates | None,
    users: Users | None,
    look: FileLook | None = None,
    hooks: Hooks | None = None,
    identity: IdentityChecks | None = None,
    scanners: Scanners | None = None,
    lists: Lists | None = None,
) -> ListenerSettings:
    """The settings of a listener at one of its addresses, by default the first. Without a `look` the listener
    has one of its own.
    """
    patterns = [pattern for route in config.routes for pattern in route.match]
    trusted = listener.role == "trusted"
    allow = _networks(listener.allow)
    greeting = replies.fill(
        replies.GREETING,
        hostname=config.hostname,
        protocol="LMTP" if listener.protocol == "lmtp" else "ESMTP",
    )
    identity = identity if _is_checked(listener, identity) else None
    scanners = scanners if listener.scan else None
    return ListenerSettings(
        config=config,
        listener=listener,
        bind=bind or listener.bind[0],
        routes=routes,
        limits=config.limits,
        hostname=config.hostname,
        trusted=trusted,
        lenient=not listener.strict,
        legacy=trusted and not listener.strict,
        lmtp=listener.protocol == "lmtp",
        max_bytes=config.max_message_bytes,
        terms=build_terms(config, listener),
        tls=tls if listener.tls != "none" else None,
        users=users if listener.auth != "none" else None,
        allow=allow or (_LOOPBACK if trusted else ()),
        xclient=_networks(listener.xclient),
        xforward=_networks(listener.xforward),
        proxies=_networks(listener.proxy_protocol),
        domains=tuple(dict.fromkeys(pattern.rpartition("@")[2] for pattern in patterns)),
        exact=frozenset(
            normalise_address(pattern)
            for pattern in patterns
            if not pattern.startswith("@") and "*@" not in pattern
        ),
        greeting=replies.build_reply(greeting),
        hello=replies.build_reply(replies.fill(replies.HELLO, hostname=config.hostname)),
        starttls=tls is not None and listener.tls in ("starttls", "required"),
        tls_first=listener.tls == "required",
        look=look or FileLook(),
        hooks=hooks,
        identity=identity,
        scanners=scanners,
        lists=lists,
        looks_inside=any(
            route.disallowed_types == "reject" or route.sensitive.rejects for route in config.routes
        ),
        commit_seconds=config.limits.commit_seconds
        + _seconds((hooks,))
        + _seconds((identity, scanners, lists)),
    )


class _Asked(Protocol):
    """Somebody who is asked about a mail before its reply."""

    @property
    def seconds(self) -> float:
        """The longest that this may take."""


def _seconds(asked: Iterable[_Asked | None]) -> float:
    """The longest that those may take who are asked at the same time; None is nobody."""
    return max((each.seconds for each in asked if each is not None), default=0)


def _is_checked(listener: Listener, identity: IdentityChecks | None) -> bool:
    """Returns whether a listener may have mail whose origin is checked: a trusted one has it only where
    systems of ours stand in front, or name the clients for which they speak.
    """
    if identity is None or listener.role == "mx":
        return identity is not None
    named = listener.proxy_protocol or listener.xclient or listener.xforward
    return identity.behind_ours or bool(named)


def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(word) for word in words)


@lru_cache(maxsize=4_096)
def contains(networks: tuple[Network, ...], address: str) -> bool:
    """Returns whether an address lies in one of the networks."""
    try:
        ip = parse_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)
