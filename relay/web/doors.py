"""The doors of the page over the real queue: a form to sign in, HTTP's Basic, or a reverse proxy's word.

Owns who is let in (`[web]` auth), as `Access` asks. A name with its token is looked up in the users file by
`People`; each request that changes something must come from a page of ours. The cookie of a session is
HttpOnly and SameSite=Strict, and Secure behind TLS.
"""

from __future__ import annotations

import binascii
import hmac
import secrets
from base64 import b64decode
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from aiohttp import web

from relay import telemetry
from relay.config.web import Web
from relay.logins.users import Credentials
from relay.networks import parse_network
from relay.web.access import Access, Caller
from relay.web.peers import find_client, find_peer, is_foreign, is_within
from relay.web.people import People
from relay.web.responses import page
from relay.web.sessions import Sessions, SignedIn

#: Characters of a name that a proxy tells.
_NAME_CHARACTERS = 200
#: Octets of a form to sign in.
_FORM_BYTES = 8_192
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FAILED = "This name and token do not belong together."
_PUT_OFF = "Too many wrong tokens have come from your network. Wait ten minutes, then try again."
_UNREADABLE = "The users file cannot be read now; the log of the relay says why."
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
        return hmac.compare_digest(caller.form_token.encode(), form_token.encode("utf-8", "replace"))

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
            raise web.HTTPServiceUnavailable(text=_UNREADABLE) from None
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
        credentials = _read_credentials(request, "basic")
        good = await self._verify(request, credentials) if credentials else False
        if credentials is None or not good:
            raise _refusal(good, 'Basic realm="relay", charset="UTF-8"')
        return self._call(credentials.login)


class TokenDoor(PasswordDoor):
    """The door with a form to sign in, and for programs with `Authorization: Bearer NAME:TOKEN`."""

    def __init__(self, config: Web, key: bytes, people: People, sessions: Sessions) -> None:
        super().__init__(config, key, people)
        self._sessions = sessions
        is_secure = config.tls == "proxy"
        #: RFC 6265bis §4.1.3.2: such a name is taken from this very host only, and under TLS.
        self._cookie = "__Host-relay" if is_secure else "relay"
        self._is_secure = is_secure

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """The form to sign in, and its ends."""
        return [
            *super().routes(),
            web.get("/sign-in", self._show_form),
            web.post("/sign-in", self._sign_in),
            web.post("/sign-out", self._sign_out),
        ]

    async def admit(self, request: web.Request) -> Caller:
        """The person who has signed in.

        Raises:
            web.HTTPSeeOther: nobody has: to the form, for a browser that asks for a document.
            web.HTTPUnauthorized: nobody has, for everything else.
            web.HTTPTooManyRequests: the try is put off.
        """
        self._refuse_foreign(request)
        if credentials := _read_credentials(request, "bearer"):
            good = await self._verify(request, credentials)
            if not good:
                raise _refusal(good, 'Bearer realm="relay"')
            return self._call(credentials.login)
        if session := await self._find_session(request):
            return self._call(session.name, session)
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPSeeOther(f"/sign-in?next={quote(request.path_qs, safe='')}")
        raise _refusal(False, 'Bearer realm="relay"')

    async def _find_session(self, request: web.Request) -> SignedIn | None:
        word = request.cookies.get(self._cookie, "")
        session = self._sessions.find(word) if word else None
        if session is None:
            return None
        try:
            if session.hashed == await self._people.find_hash(session.name):
                return session
        except OSError:
            telemetry.fault_caught(where="web.users")
            raise web.HTTPServiceUnavailable(text=_UNREADABLE) from None
        self._sessions.end(word)  # the login is gone, or has another token
        return None

    async def _show_form(self, request: web.Request) -> web.Response:
        place = _local_place(request.query.get("next", ""))
        if await self._find_session(request):
            raise web.HTTPSeeOther(place)
        return self._answer_form(place, "", 200)

    async def _sign_in(self, request: web.Request) -> web.Response:
        self._refuse_foreign(request)
        if (request.content_length or 0) > _FORM_BYTES:
            raise web.HTTPRequestEntityTooLarge(_FORM_BYTES, request.content_length or 0)
        form = await request.post()
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        place = _local_place(fields.get("next", ""))
        sent = request.cookies.get(f"{self._cookie}-form", "")
        if not sent or not hmac.compare_digest(sent.encode(), fields.get("form_token", "").encode()):
            return self._answer_form(
                place, "This form was old, or your browser takes no cookies. Try again.", 403
            )
        name = fields.get("name", "").strip()
        credentials = Credentials(login=name, password=fields.get("token", "").encode())
        good = await self._verify(request, credentials)
        hashed = await self._people.find_hash(name) if good else ""
        if not hashed:
            return self._answer_form(
                place, _PUT_OFF if good is None else _FAILED, 429 if good is None else 403
            )
        seconds = self._config.session_hours * 3_600
        answer = web.Response(status=303, headers={"Location": place, "Cache-Control": "no-store"})
        self._set(answer, self._cookie, self._sessions.begin(name, hashed, seconds=seconds), int(seconds))
        self._set(answer, f"{self._cookie}-form", "", 0)
        return answer

    async def _sign_out(self, request: web.Request) -> web.Response:
        self._refuse_foreign(request)
        session = await self._find_session(request)
        form = await request.post()
        if session and hmac.compare_digest(session.form_token, str(form.get("form_token", ""))):
            self._sessions.end(request.cookies.get(self._cookie, ""))
        answer = web.Response(status=303, headers={"Location": "/sign-in"})
        self._set(answer, self._cookie, "", 0)
        return answer

    def _answer_form(self, place: str, sentence: str, status: int) -> web.Response:
        form_token = secrets.token_urlsafe(24)
        values = {"place": place, "form_token": form_token, "sentence": sentence}
        answer = page("sign_in.html", values, status=status)
        self._set(answer, f"{self._cookie}-form", form_token, 3_600)
        return answer

    def _set(self, answer: web.Response, name: str, value: str, seconds: int) -> None:
        answer.set_cookie(
            name, value, max_age=seconds, path="/", httponly=True, secure=self._is_secure, samesite="Strict"
        )


def _read_credentials(request: web.Request, scheme: str) -> Credentials | None:
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


def _refusal(good: bool | None, challenge: str) -> web.HTTPException:
    if good is None:
        return web.HTTPTooManyRequests(text=_PUT_OFF, headers={"Retry-After": "600"})
    return web.HTTPUnauthorized(text="Sign in first.", headers={"WWW-Authenticate": challenge})


async def _tell_life(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _local_place(word: str) -> str:
    """The place on this page that a word names; "/" for any other, which may lead elsewhere."""
    try:
        parts = urlsplit(word)
    except ValueError:
        return "/"
    is_local = word.startswith("/") and not word.startswith(("//", "/\\")) and not parts.netloc
    return word if is_local and word.isascii() and word.isprintable() and "\\" not in word else "/"


def open_door(config: Web, people: People | None, sessions: Sessions, *, key: bytes) -> Access:
    """The door that the configuration asks for; `people` are those of its users file."""
    if config.auth == "proxy":
        return ProxyDoor(config, key)
    assert people is not None
    if config.auth == "basic":
        return BasicDoor(config, key, people)
    return TokenDoor(config, key, people, sessions)
