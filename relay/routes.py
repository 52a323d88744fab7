"""Routes: which forward-path goes to which address of which instance.

Owns the order of matching (first route wins; within all routes an exact address is looked up first only
through that order, never before it). Never does I/O. Local parts are compared without case: RFC 5321 §2.4
leaves that to the receiver, and no desk has two addresses that differ in case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from relay.config.model import Config, Route
from relay.config.words import check_address
from relay.domains import normalise_address, normalise_domain
from relay.envelope import Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The result of a match: the route, and where it leads."""

    route: Route
    instance_id: str
    #: The Connect address that the mail goes to.
    address: str
    #: The subaddress after the first "+" of the local part (RFC 5233); "" when there is none.
    tag: str


def _is_connects(address: str) -> bool:
    """Returns whether Connect can have this e-mail address: a catch-all would send `"a b"@example.com` there
    in vain.
    """
    try:
        check_address(address)
    except ValueError:
        return False
    return True


class RouteTable:
    """The table of all routes of a configuration, asked for one forward-path at a time."""

    def __init__(self, config: Config) -> None:
        self._default_instance = config.connect.instance_id
        self._routes = config.routes
        self._rules = tuple(
            (pattern.rpartition("@")[0], normalise_domain(pattern.rpartition("@")[2]), route)
            for route in config.routes
            for pattern in route.match
        )
        self._by_name = {route.name: route for route in reversed(config.routes)}  # the first of a name counts
        self._domains = frozenset(domain for _, domain, _ in self._rules)
        self._destinations = frozenset(
            normalise_address(route.destination) for route in config.routes if route.destination
        )
        # Cached: a mail server sees the same few addresses all day.
        self.match = lru_cache(maxsize=4_096)(self._match)
        self._destinations_of = lru_cache(maxsize=256)(self._find_destinations)

    def _match(self, forward_path: str) -> Routed | None:
        local, _, domain = forward_path.rpartition("@")
        local, domain = local.lower(), normalise_domain(domain)
        if domain not in self._domains:
            return None
        base, _, tag = local.partition("+")
        for wanted, wanted_domain, route in self._rules:
            if wanted_domain != domain:
                continue
            if (
                wanted == ""
                or wanted in (local, base)
                or (wanted.endswith("*") and local.startswith(wanted[:-1]))
            ):
                address = route.destination or self._plain(base, local, wanted, domain)
                if not _is_connects(address):
                    return None
                return Routed(
                    route=route,
                    instance_id=route.instance_id or self._default_instance,
                    address=address,
                    tag=tag if wanted != local else "",
                )
        return None

    @staticmethod
    def _plain(base: str, local: str, wanted: str, domain: str) -> str:
        """The recipient's own address without its tag: Connect knows `support@`, not `support+vip@`."""
        return f"{local if wanted == local else base or local}@{domain}"

    def knows_domain(self, domain: str) -> bool:
        """Returns whether any route names this domain: an unknown address there is answered 5.1.1, any other
        domain's 5.7.1.
        """
        return normalise_domain(domain) in self._domains

    def is_ours(self, address: str) -> bool:
        """Returns whether an address is matched by a route, or is one that we deliver to."""
        return normalise_address(address) in self._destinations or self.match(address) is not None

    def route(self, name: str) -> Route | None:
        """The route of this name. Returns None when the configuration has no such route any more."""
        return self._by_name.get(name)

    def destinations(self, forward_paths: Iterable[str]) -> tuple[Destination, ...]:
        """The destinations of a mail: one for each distinct (instance, address, route, tag), in the order of
        RCPT.

        Forward-paths that another route takes, or that have another tag, are entries of their own even at the
        same address: the policy of one must not decide what becomes of the other.
        """
        return self._destinations_of(tuple(forward_paths))

    def _find_destinations(self, forward_paths: tuple[str, ...]) -> tuple[Destination, ...]:
        found: dict[tuple[str, str, str, str], tuple[Routed, list[str]]] = {}
        for path in forward_paths:
            routed = self.match(path)
            if routed is not None:
                # One key for all spellings of an address, or one mail would become two contacts.
                key = (routed.instance_id, normalise_address(routed.address), routed.route.name, routed.tag)
                _, paths = found.setdefault(key, (routed, []))
                paths.append(path)
        return tuple(
            Destination(
                instance_id=routed.instance_id,
                address=routed.address,
                forward_paths=tuple(paths),
                route=routed.route.name,
                tag=routed.tag,
            )
            for routed, paths in found.values()
        )
