"""The right to use the page: who asks, what that person may see and change.

Owns the interface between the page and a home's way of letting people in (`Access`), and the way of a page on
loopback, which is open to whoever is at this machine (`OpenAccess`). Never shows anything.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from relay.web.hosts import is_own_host


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The person behind a request, and the rights of that person."""

    #: As `relay audit` is to show it; "" for nobody in particular.
    name: str
    #: True if the words of mails may be shown: body, files, original.
    content: bool
    #: True if entries may be changed.
    actions: bool
    #: The word that each form of this person carries, so that no other page can send it.
    form_token: str
    #: The path of the form that ends this person's session; "" where there is none to end.
    sign_out: str = ""


class Access(Protocol):
    """The door of a page."""

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """The addresses that are open to everybody, such as a form to sign in."""

    async def admit(self, request: web.Request) -> Caller:
        """The person who asks. Called for each request but those to `routes` and to the static files.

        Raises:
            web.HTTPException: the answer to a person who is not let in, such as 401 with its field
                WWW-Authenticate, 403, or a redirect to the form of `routes`.
        """

    def is_own_form(self, caller: Caller, form_token: str) -> bool:
        """Returns whether a form with this word was made by the page for this person."""


class OpenAccess:
    """The door of a page on loopback: everybody at this machine, and no page of a foreign name that DNS leads
    here ("DNS rebinding").
    """

    def __init__(self, bind_host: str, *, content: bool = True, actions: bool = True) -> None:
        self._bind_host = bind_host
        self._caller = Caller(name="", content=content, actions=actions, form_token=secrets.token_urlsafe(24))

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """No address is open beside the page's own."""
        return ()

    async def admit(self, request: web.Request) -> Caller:
        """Everybody who names this machine.

        Raises:
            web.HTTPForbidden: the Host field names another server.
        """
        if not is_own_host(request, self._bind_host):
            raise web.HTTPForbidden(
                text="Host names another server; use 127.0.0.1, localhost or the address that the page binds."
            )
        return self._caller

    def is_own_form(self, caller: Caller, form_token: str) -> bool:
        """Returns whether the word is that of this run."""
        return is_same_word(caller.form_token, form_token)


def is_same_word(one: str, other: str) -> bool:
    """Returns whether two words are the same, in a time that tells nothing; of any characters."""
    first, second = (each.encode("utf-8", "surrogatepass") for each in (one, other))
    return hmac.compare_digest(first, second)
