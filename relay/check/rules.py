"""Doubtful parts of a valid configuration: routes that never match or match too much, networks that are too
wide.

Owns those judgements. Looks at the configuration alone, and asks DNS for our own name.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.config.included import Loaded
from relay.config.policy import FLOW
from relay.networks import parse_network

#: The widest network that one site's load balancers need, by IP version; a judgement of ours.
_WIDEST = {4: 8, 6: 16}


def examine_included(loaded: Loaded) -> Iterator[Finding]:
    """Examine what of the included files is in force."""
    yield from (fail("include", sentence) for sentence in loaded.kept)
    if loaded.config.include and not loaded.kept:
        files = len(loaded.texts)
        level = ok if files else warn
        yield level("include", f"{files} files ({', '.join(loaded.config.include)})")


def examine_routes(config: Config) -> Iterator[Finding]:
    """Examine the routes for patterns that an earlier route covers."""
    seen: list[tuple[str, str]] = []
    shadowed = False
    for route in config.routes:
        for pattern in route.match:
            if by := next((name for earlier, name in seen if covers(earlier, pattern)), None):
                shadowed = True
                yield warn("routes", f'"{pattern}" of {route.name} is never asked: {by} stands before it')
        seen += [(pattern, route.name) for pattern in route.match]
    if not shadowed:
        yield ok("routes", f"{len(config.routes)}, the first that matches wins")


def examine_destinations(config: Config) -> Iterator[Finding]:
    """Examine the routes for patterns that take more addresses than exist in Connect, and deliver to the
    recipient itself.
    """
    for route in config.routes:
        wide = [pattern for pattern in route.match if pattern.startswith("@") or "*" in pattern]
        if wide and not route.destination:
            named = ", ".join(f'"{pattern}"' for pattern in wide)
            yield warn(
                "routes",
                f"{named} of {route.name} has no destination: each address must exist in Connect, and mail for "
                f"any other becomes a dead letter after {config.deliver.max_age_hours:g} hours; give one, or name them",
            )


def examine_standby(config: Config) -> Iterator[Finding]:
    """Examine the routes with a standby for flows that only their own instance has."""
    for route in config.routes:
        if route.standby is None:
            continue
        named = [name_flow(rule.action) for rule in route.policy.values()]
        flows = dict.fromkeys(each for each in (route.contact_flow_id, *named) if each)
        if unknown := [each for each in flows if each not in route.standby_flows]:
            yield warn(
                "standby",
                f"{route.name}: its flow {', '.join(unknown)} is of its own instance; say which stands for it at "
                "the other under standby_flows, unless that is a replica",
            )
        else:
            yield ok("standby", f"{route.name}: {route.standby} stands by")


def name_flow(action: str) -> str:
    """The flow that an action of the policy leads to; "" for another action."""
    return action.removeprefix(FLOW) if action.startswith(FLOW) else ""


def covers(earlier: str, later: str) -> bool:
    """Returns whether the earlier pattern takes every address that the later one takes."""
    local, _, domain = earlier.rpartition("@")
    later_local, _, later_domain = later.rpartition("@")
    if domain != later_domain:
        return False
    if local == "":
        return True
    if local.endswith("*"):
        return later_local.startswith(local[:-1])
    return later_local.partition("+")[0] == local and not later_local.endswith("*")


def examine_trust(config: Config) -> Iterator[Finding]:
    """Examine the listeners for networks that are believed or let in without need."""
    for listener in config.listeners:
        subject = f"listener {', '.join(listener.bind)}"
        for key in ("proxy_protocol", "xclient", "xforward"):
            for network in getattr(listener, key):
                wide = parse_network(network)
                if wide.prefixlen < _WIDEST[wide.version]:
                    yield warn(subject, f"{key} believes {network}: any of them can claim to be anyone")
        if listener.role == "trusted" and listener.auth != "required":
            for network in listener.allow:
                if not parse_network(network).is_private:
                    yield warn(subject, f"trusts {network}, which is no private network, without auth")


def examine_rates(config: Config) -> Iterator[Finding]:
    """Examine the limits by address that large providers may reach, since their customers share few
    addresses.
    """
    if any(listener.role == "mx" for listener in config.listeners):
        yield ok(
            "limits",
            f"one address may name {config.limits.recipients_per_minute} recipients a minute on mx, then it gets 451; "
            "where a large provider or a mail server of yours sends more, raise limits.recipients_per_minute",
        )


def examine_hostname(hostname: str) -> Finding:
    """Examine whether peers can look up our name."""
    if "." not in hostname:
        return warn("hostname", f'"{hostname}" is no full name; peers expect one like mx1.example.com')
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)}
    except OSError as exc:
        return warn(
            "hostname", f"{hostname} does not resolve ({exc.strerror}); the MX record needs a name that does"
        )
    return ok("hostname", f"{hostname} is {', '.join(sorted(found))}")
