"""The findings about a whole mail before its commit: of the checks of its origin, of scanners, and of lists.

Owns that all of them are asked at once, and that a scanner may wait for the origin. Never judges:
`relay.policy` does. A fault of ours in one of them is told in the log, and is no reason to refuse a mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from relay import telemetry
from relay.auth.signed import SignedMailReader
from relay.lists.lookup import Claims, Lists
from relay.policy.lists import USUAL_PRIORITY, Listing, Senders, build_list_results, find_priority
from relay.smtp.settings import ListenerSettings
from relay.spool.model import Submission


async def find_findings(
    settings: ListenerSettings,
    offered: Submission,
    *,
    signed: SignedMailReader | None,
    author_fields: tuple[bytes, ...],
) -> Mapping[str, str]:
    """The results that are stored with a mail, by the names of a contact's attributes; none where nothing is
    asked.
    """
    ways: list[Awaitable[Mapping[str, str]]] = []
    judged, origin = offered, None
    if signed is not None and settings.identity is not None:
        mail = signed.finish()
        checks = settings.identity.find_results(offered.envelope, mail)
        if settings.scanners is None:
            ways.append(checks)
        else:
            origin = asyncio.create_task(checks)
            ways.append(origin)
        judged = offered._replace(envelope=settings.identity.judge_as(offered.envelope, mail))
    if settings.scanners is not None:
        ways.append(settings.scanners.find_results(judged, origin))
    looking = None
    if settings.lists is not None:
        claims = Claims(authors=author_fields, reverse_path=offered.envelope.reverse_path)
        looking = asyncio.create_task(_look_up(settings.lists, claims))
    if not ways and looking is None:
        return {}
    found: dict[str, str] = {}
    for results in [await ways[0]] if len(ways) == 1 else await asyncio.gather(*ways):
        found |= results
    if looking is not None:
        senders, listings = await looking
        found |= build_list_results(listings, senders, found)
    return found


async def _look_up(lists: Lists, claims: Claims) -> tuple[Senders, tuple[Listing, ...]]:
    """The senders of a mail, and the lists that they are on."""
    try:
        return await lists.find(claims)
    except Exception:  # noqa: BLE001 - told, and no reason to refuse a mail
        telemetry.fault_caught(where="smtp.lists")
        return Senders(), ()


def find_first(settings: ListenerSettings, offered: Submission) -> tuple[str, ...]:
    """The routes whose lists have the mail delivered before others."""
    named = dict.fromkeys(destination.route for destination in offered.destinations)
    return tuple(
        name
        for name in named
        if (route := settings.routes.route(name)) is not None
        and (priority := find_priority(offered.results, route)) is not None
        and priority < USUAL_PRIORITY
    )
