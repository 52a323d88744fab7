"""The door of the page with a form to sign in, and for programs with `Authorization: Bearer NAME:TOKEN`.

Owns the form and the cookie of a session, which is HttpOnly and SameSite=Strict, and Secure behind TLS.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from aiohttp import web

from relay import telemetry
from relay.config.web import Web
from relay.logins.users import Credentials
from relay.web.access import Caller, is_same_word
from relay.web.doors import PUT_OFF, UNREADABLE, PasswordDoor, read_credentials, refuse
from relay.web.forms import post_fields
from relay.web.people import People
from relay.web.responses import page
from relay.web.sessions import Sessions, SignedIn

#: Octets of a form to sign in.
_FORM_BYTES = 8_192
#: The word of a form, as `secrets.token_urlsafe` makes it of 24 octets.
_FORM_WORD = re.compile("[A-Za-z0-9_-]{32}")
_FAILED = "This name and token do not belong together."


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
        if credentials := read_credentials(request, "bearer"):
            good = await self._verify(request, credentials)
            if not good:
                raise refuse(good, 'Bearer realm="relay"')
            return self._call(credentials.login)
        if session := await self._find_session(request):
            return self._call(session.name, session)
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPSeeOther(f"/sign-in?next={quote(request.path_qs, safe='')}")
        raise refuse(False, 'Bearer realm="relay"')

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
            raise web.HTTPServiceUnavailable(text=UNREADABLE) from None
        self._sessions.end(word)  # the login is gone, or has another token
        return None

    async def _show_form(self, request: web.Request) -> web.Response:
        place = _local_place(request.query.get("next", ""))
        if await self._find_session(request):
            raise web.HTTPSeeOther(place)
        return self._answer_form(request, place)

    async def _sign_in(self, request: web.Request) -> web.Response:
        self._refuse_foreign(request)
        if (request.content_length or 0) > _FORM_BYTES:
            raise web.HTTPRequestEntityTooLarge(_FORM_BYTES, request.content_length or 0)
        form = await post_fields(request)
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        place = _local_place(fields.get("next", ""))
        sent = request.cookies.get(f"{self._cookie}-form", "")
        if not sent or not is_same_word(sent, fields.get("form_token", "")):
            return self._answer_form(
                request, place, "This form was old, or your browser takes no cookies. Try again.", 403
            )
        name = fields.get("name", "").strip()
        credentials = Credentials(login=name, password=fields.get("token", "").encode())
        good = await self._verify(request, credentials)
        hashed = await self._people.find_hash(name) if good else ""
        if not hashed:
            return self._answer_form(
                request, place, PUT_OFF if good is None else _FAILED, 429 if good is None else 403
            )
        seconds = self._config.session_hours * 3_600
        answer = web.Response(status=303, headers={"Location": place, "Cache-Control": "no-store"})
        self._set(answer, self._cookie, self._sessions.begin(name, hashed, seconds=seconds), int(seconds))
        self._set(answer, f"{self._cookie}-form", "", 0)
        return answer

    async def _sign_out(self, request: web.Request) -> web.Response:
        self._refuse_foreign(request)
        session = await self._find_session(request)
        form = await post_fields(request)
        if session and is_same_word(session.form_token, str(form.get("form_token", ""))):
            self._sessions.end(request.cookies.get(self._cookie, ""))
        answer = web.Response(status=303, headers={"Location": "/sign-in"})
        self._set(answer, self._cookie, "", 0)
        return answer

    def _answer_form(
        self, request: web.Request, place: str, sentence: str = "", status: int = 200
    ) -> web.Response:
        """The form. Forms in several tabs have the same word, since a browser keeps one cookie."""
        known = request.cookies.get(f"{self._cookie}-form", "")
        form_token = known if _FORM_WORD.fullmatch(known) else secrets.token_urlsafe(24)
        values = {"place": place, "form_token": form_token, "sentence": sentence}
        answer = page("sign_in.html", values, status=status)
        self._set(answer, f"{self._cookie}-form", form_token, 3_600)
        return answer

    def _set(self, answer: web.Response, name: str, value: str, seconds: int) -> None:
        answer.set_cookie(
            name, value, max_age=seconds, path="/", httponly=True, secure=self._is_secure, samesite="Strict"
        )


def _local_place(word: str) -> str:
    """The place on this page that a word names; "/" for any other, which may lead elsewhere."""
    try:
        parts = urlsplit(word)
    except ValueError:
        return "/"
    is_local = word.startswith("/") and not word.startswith(("//", "/\\")) and not parts.netloc
    return word if is_local and word.isascii() and word.isprintable() and "\\" not in word else "/"
