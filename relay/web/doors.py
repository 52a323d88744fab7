"""The doors of the page over the real queue: HTTP's Basic, a reverse proxy's word, and what all doors share.

Owns who is let in (`[web]` auth), as `Access` asks; `sign_in` has the door with a form. A name with its token
is looked up in the users file by `People`; each request that changes something must come from a page of ours.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Sequence

from aiohttp import web

from relay import telemetry
from relay.config.web import Web
from relay.logins.users import Credentials
from relay.networks import parse_network
from relay.web.access import Caller, is_same_word
from relay.web.peers import find_client, find_peer, is_foreign, is_within
from relay.web.people import People
from relay.web.sessions import SignedIn

#: Characters of a name that a proxy tells.
_NAME_CHARACTERS = 200
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
PUT_OFF = "Too many wrong tokens have come from your network. Wait ten minutes, then try again."
UNREADABLE = "The users file cannot be read now; the log of the relay says why."
_FOREIGN = "This request was sent by a page of another site."


class Door:
    """The rules that all doors share."""

    def __init__(self, config: Web, key: bytes) -> None:
        """`key` makes the words of forms of people without a session."""
        self._config = config
        self._proxies = tuple(parse_network(network) for network in config.proxies)
        self._key = key

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """The addresses that are open to everybody: a sign of life, as the daemon's own `/livez` gives it."""
        return [web.get("/livez", _tell_life)]

    def is_own_form(self, caller: Caller, form_token: str) -> bool:
        """Returns whether a form with this word was made by the page for this person."""
        return is_same_word(caller.form_token, form_token)

    def _refuse_foreign(self, request: web.Request) -> None:
        if request.method not in _READS and is_foreign(request, self._proxies):
            raise web.HTTPForbidden(text=_FOREIGN)

    def _call(self, name: str, session: SignedIn | None = None) -> Caller:
        """The person with the rights of the configuration; without a session, a word for forms that stays."""
        stays = hmac.digest(self._key, name.encode("utf-8", "replace"), "sha256").hex()
        return Caller(
            name=name,
            content=self._config.content,
            actions=self._config.actions,
            form_token=session.form_token if session else stays,
            sign_out="/sign-out" if session else "",
        )


class ProxyDoor(Door):
    """The door behind a reverse proxy that has signed the person in."""

    async def admit(self, request: web.Request) -> Caller:
        """The person whom the proxy names.

        Raises:
            web.HTTPForbidden: no proxy of ours has sent the request, or it names nobody.
        """
        self._refuse_foreign(request)
        header = self._config.user_header
        names = request.headers.getall(header, [])
        if not is_within(find_peer(request), self._proxies):
            raise web.HTTPForbidden(text="This page is behind a reverse proxy (web.proxies); ask there.")
        name = names[0].strip() if len(names) == 1 else ""
        if not name or len(name) > _NAME_CHARACTERS or not name.isprintable():
            raise web.HTTPForbidden(
                text=f"The reverse proxy does not say who asks: {header} must have one name."
            )
        return self._call(name)


class PasswordDoor(Door):
    """A door that asks for a name and its token in each request that has no session."""

    def __init__(self, config: Web, key: bytes, people: People) -> None:
        super().__init__(config, key)
        self._people = people

    async def _verify(self, request: web.Request, credentials: Credentials) -> bool | None:
        """Returns whether name and token belong together, and None for a try that is put off.

        Raises:
            web.HTTPServiceUnavailable: the users file cannot be read.
        """
        address = find_client(request, self._proxies)
        try:
            good = await self._people.verify(credentials, address)
        except OSError:
            telemetry.fault_caught(where="web.users")
            raise web.HTTPServiceUnavailable(text=UNREADABLE) from None
        telemetry.web_login(peer=address, login=credentials.login, good=good)
        return good


class BasicDoor(PasswordDoor):
    """The door that speaks HTTP's Basic (RFC 7617)."""

    async def admit(self, request: web.Request) -> Caller:
        """The person whose name and token the request has.

        Raises:
            web.HTTPUnauthorized: it has none, or wrong ones.
            web.HTTPTooManyRequests: the try is put off.
        """
        self._refuse_foreign(request)
        credentials = read_credentials(request, "basic")
        good = await self._verify(request, credentials) if credentials else False
        if credentials is None or not good:
            raise refuse(good, 'Basic realm="relay", charset="UTF-8"')
        return self._call(credentials.login)


def read_credentials(request: web.Request, scheme: str) -> Credentials | None:
    """The name and token of the Authorization field: in base64 for Basic, as they are for Bearer. Returns
    None for a field of another scheme, and for one that cannot be read.
    """
    named, _, rest = request.headers.get("Authorization", "").partition(" ")
    if named.lower() != scheme:
        return None
    octets = rest.strip().encode("utf-8", "surrogateescape")
    if scheme == "basic":
        try:
            octets = b64decode(octets, validate=True)
        except (binascii.Error, ValueError):
            return None
    name, colon, token = octets.partition(b":")
    return Credentials(login=name.decode("utf-8", "replace"), password=token) if colon else None


def refuse(good: bool | None, challenge: str) -> web.HTTPException:
    """The answer to a wrong token (False), or to one that was not looked at (None)."""
    if good is None:
        return web.HTTPTooManyRequests(text=PUT_OFF, headers={"Retry-After": "600"})
    return web.HTTPUnauthorized(text="Sign in first.", headers={"WWW-Authenticate": challenge})


async def _tell_life(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")
