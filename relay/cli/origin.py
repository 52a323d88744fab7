"""The origin of a mail in a dry run: the options that say who sent it, and the checks that they ask for.

Owns `--peer`, `--helo`, `--mail-from`, `--dns` and `--at` of `relay explain` (docs/operations.md, "What would
a mail become?"). Asks real DNS only with `--peer` and without `--dns`; with neither of the two, nothing is
checked. No thread is left when a check returns, because the command forks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from relay.auth.answers import Resolver
from relay.auth.identity import summarise_identity
from relay.auth.origin import Found, Sent, build_terms, find_origin
from relay.auth.signed import read_signed_mail
from relay.auth.zone import ZoneResolver, parse_zone
from relay.config import Config
from relay.explain import Origin
from relay.message.glimpse import glimpse_message
from relay.networks import Address, parse_address
from relay.policy.octets import end_lines
from relay.resolver import build_resolver

#: Octets of a zone file at most: far above any suite of tests.
_ZONE_BYTES = 64_000_000
_Command = Callable[..., Any]


class _PeerType(click.ParamType[Address]):
    name = "IP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return parse_address(str(value))
        except ValueError:
            self.fail(f'"{value}" is no IP address; write one like 203.0.113.6 or 2001:db8::6', param, ctx)


class _InstantType(click.ParamType[datetime]):
    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return _read_instant(str(value))
        except (ValueError, OverflowError, OSError):
            self.fail(
                f'"{value}" is no instant; write 2026-11-29T12:00:00Z or seconds since 1970', param, ctx
            )


def _read_instant(text: str) -> datetime:
    """An instant in the form of RFC 3339, or in seconds since 1970; without a zone it is UTC."""
    try:
        seconds = float(text)
    except ValueError:
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    if not math.isfinite(seconds):
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)


def add_origin_options(command: _Command) -> _Command:
    """The command with the options that say who sent the mail."""
    options = (
        click.option("--peer", type=_PeerType(), help="As if this address had sent it; real DNS is asked."),
        click.option("--helo", metavar="NAME", help="The name that the peer gave in HELO."),
        click.option(
            "--mail-from",
            metavar="ADDRESS",
            help="The reverse-path; '<>' is the null one. Default: what the mail suggests.",
        ),
        click.option("--dns", "zone_path", metavar="FILE", help="Ask this file (JSON) and no DNS."),
        click.option("--at", type=_InstantType(), help="The instant of reception; default: now."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """All that the options say."""

    peer: Address | None
    helo: str | None
    #: As given; "<>" is the null reverse-path, None was not given.
    mail_from: str | None
    zone: ZoneResolver | None
    at: datetime | None

    def find_origin(self, raw: bytes, config: Config) -> Origin:
        """The origin of a mail by these options, checked where they ask for it."""
        received_at = self.at or datetime.now(UTC)
        origin = Origin(
            peer="" if self.peer is None else str(self.peer),
            helo=self.helo,
            received_at=received_at,
            is_sender_given=self.mail_from is not None,
            reverse_path=_read_path(self.mail_from),
        )
        if self.peer is None and self.zone is None:
            return origin
        octets = end_lines(raw)
        sent = Sent(
            peer=self.peer,
            helo=self.helo or "",
            reverse_path=origin.reverse_path if origin.is_sender_given else _guess_sender(octets),
            mail=read_signed_mail([octets]),
            received_at=received_at,
        )
        found = asyncio.run(_find(sent, config, self.zone))
        return replace(origin, attributes=found.attributes, identity=summarise_identity(found.results))


def build_asked(
    *,
    peer: Address | None,
    helo: str | None,
    mail_from: str | None,
    zone_path: str | None,
    at: datetime | None,
) -> Asked:
    """The options, with the zone file read.

    Raises:
        click.BadParameter: the file cannot be read, or is no zone.
    """
    return Asked(
        peer=peer,
        helo=helo,
        mail_from=mail_from,
        zone=None if zone_path is None else _read_zone(zone_path),
        at=at,
    )


def _read_zone(path: str) -> ZoneResolver:
    try:
        with Path(path).open("rb") as file:
            octets = file.read(_ZONE_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise click.BadParameter(f'"{path}" cannot be read: {reason}', param_hint="--dns") from None
    if len(octets) > _ZONE_BYTES:
        raise click.BadParameter(
            f'"{path}" has more than {_ZONE_BYTES:,} octets; a zone for a dry run has fewer',
            param_hint="--dns",
        )
    try:
        return parse_zone(octets)
    except ValueError as exc:
        raise click.BadParameter(f'"{path}": {exc}', param_hint="--dns") from None


def _read_path(path: str | None) -> str | None:
    """The reverse-path without its brackets. Returns None for the null one, or where none was given."""
    bare = (path or "").strip()
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1].strip()
    return bare or None


def _guess_sender(raw: bytes) -> str | None:
    """The reverse-path that a mail suggests: Return-Path, else its author."""
    message = glimpse_message(raw)
    trace = message.header("Return-Path")
    if trace is not None:
        return _read_path(trace)
    return message.author[0].address if message.author else None


async def _find(sent: Sent, config: Config, zone: Resolver | None) -> Found:
    terms = build_terms(config)
    if zone is not None:
        return await find_origin(sent, zone, terms)
    resolver = build_resolver(config.dns)
    try:
        return await find_origin(sent, resolver.within(terms.seconds), terms)
    finally:
        await resolver.close()
