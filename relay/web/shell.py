"""The frame of every page: the status strip, the filters, the person who asks.

Owns what all handlers share. Each question to the spool has a limit of time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from relay.contact.risk.codes import RiskCode
from relay.vocabulary import Classification
from relay.web.access import Access, Caller
from relay.web.extras import Extras
from relay.web.search import GROUPS, WORDS, read_query, write_query
from relay.web.view import PageView, Query, RowPage, Status

#: The person who asks, as the middleware found out.
CALLER: Final = web.RequestKey("caller", Caller)
#: Time for which a page waits for the spool.
ANSWER_SECONDS: Final = 10.0
#: Sentences that wait for the page which is to show them.
_MOST_NOTES = 100


def caller_of(request: web.Request) -> Caller:
    """The person who asks."""
    return request[CALLER]


def query_of(request: web.Request) -> Query:
    """The question that the address asks.

    Raises:
        web.HTTPBadRequest: a field of it means nothing.
    """
    try:
        return read_query(request.query)
    except ValueError as exc:
        raise web.HTTPBadRequest(text=str(exc)) from exc


class Notes:
    """The sentences on what a change has done, each for the one page that follows it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()

    def keep(self, sentence: str) -> str:
        """Keep a sentence for the next page. Returns the word by which that page asks for it."""
        key = secrets.token_urlsafe(9)
        self._kept[key] = sentence
        if len(self._kept) > _MOST_NOTES:
            self._kept.popitem(last=False)
        return key

    def take(self, key: str) -> str:
        """The sentence, once; "" where it was taken before."""
        return self._kept.pop(key, "")


class Shell:
    """The parts that all pages stand in."""

    def __init__(self, *, view: PageView, access: Access, extras: Extras | None) -> None:
        self.view = view
        self.access = access
        self.extras = extras
        self.notes = Notes()

    async def values(self, request: web.Request, query: Query | None = None) -> dict[str, Any]:
        """The values of a page with the strip, and with the list where there is a question."""
        async with asyncio.timeout(ANSWER_SECONDS):
            status, routes, listed = await asyncio.gather(
                self.view.status(), self.view.routes(), self._list(query)
            )
        return {
            **await self.strip_values(status),
            **self.list_values(request, query or Query(), listed),
            **self.person_values(request),
            "routes": routes,
            "classes": tuple(Classification),
            "risks": tuple(RiskCode),
            "words": WORDS,
            "groups": tuple(GROUPS),
        }

    async def _list(self, query: Query | None) -> RowPage:
        return RowPage(rows=()) if query is None else await self.view.list(query)

    def person_values(self, request: web.Request) -> dict[str, Any]:
        """The person, and the sentence that waits for this page."""
        return {
            "caller": caller_of(request),
            "extras": self.extras,
            "said": self.notes.take(request.query.get("said", "")),
        }

    async def strip_values(self, status: Status) -> Mapping[str, Any]:
        """The values of the strip, in a sandbox with the faults that are in force."""
        faults = () if self.extras is None else await self.extras.faults()
        in_force = tuple(each for each in faults if each.value not in ("", "0"))
        return {"status": status, "is_sandbox": self.extras is not None, "in_force": in_force}

    def list_values(self, request: web.Request, query: Query, listed: RowPage) -> Mapping[str, Any]:
        """The values of the list."""
        return {
            "can_act": caller_of(request).actions,
            "query": query,
            "listed": listed,
            "asked": write_query(query),
            "next": write_query(query, before=listed.more) if listed.more else "",
            "shown": None,
        }
