"""The keys of the listeners: where mail comes in, whose word is believed there, and the TLS that is spoken.

Owns `[[listeners]]` and `[tls]`. Never opens a socket or reads a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from relay.config.policy import Policy
from relay.config.section import Section
from relay.config.words import (
    WholePath,
    check_bind,
    check_hostname,
    check_network,
    list_binds,
    split_bind,
)

Network = Annotated[str, AfterValidator(check_network)]
Bind = Annotated[str, AfterValidator(check_bind)]
#: Addresses and ports; a single one may stand without the brackets of a list.
Binds = Annotated[tuple[Bind, ...], BeforeValidator(list_binds)]
#: The same, or none at all, for which the file says "".
OptionalBinds = Annotated[Binds, BeforeValidator(lambda value: () if value == "" else value)]


_ALL = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


class Listener(Section):
    """A place where mail comes in: one set of rules, at one or more addresses."""

    bind: Annotated[Binds, Field(min_length=1)] = ("0.0.0.0:25", "[::]:25")
    role: Literal["mx", "trusted"] = "mx"
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: Literal["none", "starttls", "required", "implicit"] = "starttls"
    proxy_protocol: tuple[Network, ...] = ()
    xclient: tuple[Network, ...] = ()
    xforward: tuple[Network, ...] = ()
    allow: tuple[Network, ...] = ()
    auth: Literal["none", "optional", "required"] = "none"
    policy: Policy = Field(default_factory=dict)
    bare_lf: Literal["repair", "reject"] = "repair"
    scan: bool = True
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An address of a listener, at which a socket stands."""

    #: The position of the listener in the configuration.
    index: int
    listener: Listener
    bind: str

    @property
    def key(self) -> str:
        """The key of the bind, as a sentence names it."""
        return f"listeners[{self.index}].bind"

    @property
    def is_ipv6(self) -> bool:
        """Returns whether the address is one of IPv6."""
        return ":" in split_bind(self.bind)[0]

    def stands_beside(self, other: Place) -> bool:
        """Returns whether the other is an address of the other family at the same listener."""
        return self.index == other.index and self.is_ipv6 != other.is_ipv6


def list_places(listeners: tuple[Listener, ...]) -> tuple[Place, ...]:
    """The places of all listeners, in the order of the configuration, by which sockets are numbered."""
    return tuple(_each_place(listeners))


def _each_place(listeners: tuple[Listener, ...]) -> Iterator[Place]:
    for index, listener in enumerate(listeners):
        for bind in listener.bind:
            yield Place(index=index, listener=listener, bind=bind)


def doubled_binds(listeners: tuple[Listener, ...]) -> Iterator[str]:
    """The sentences for places that cannot stand beside an earlier one: the same address and port, or all
    addresses of a family at the port of one of them.
    """
    seen: dict[tuple[bool, int], list[Place]] = {}
    for place in list_places(listeners):
        host, port = split_bind(place.bind)
        if port == 0:  # a free one each time
            continue
        here = seen.setdefault((place.is_ipv6, port), [])
        for other in here:
            hosts = {host, split_bind(other.bind)[0]}
            if len(hosts) == 1 or not hosts.isdisjoint(_ALL):
                there = f"listeners[{other.index}]" if other.index != place.index else f'"{other.bind}"'
                yield f'{place.key} = "{place.bind}": {there} is there already; take another port'
                break
        here.append(place)


class MoreTls(Section):
    """A further certificate of the listeners."""

    certificate: WholePath
    key: WholePath
    #: The names in SNI for which it is shown; empty: it stands beside the first, with a key of another kind.
    names: tuple[Annotated[str, AfterValidator(check_hostname)], ...] = ()


class Tls(Section):
    """The certificates of the listeners, and what is agreed on with peers."""

    certificate: WholePath | None = None
    key: WholePath | None = None
    more: tuple[MoreTls, ...] = ()
    client_ca: WholePath | None = None
    minimum: Literal["1.2", "1.3"] = "1.2"
    ciphers: str = ""
