"""The Connect simulator: `PUT /contact/email` as the service answers it, with its limits, pace and
idempotence, and the calls that read an instance's settings and that are about its contacts.

Owns the protocol (rest-json) and the order of steps: faults, signature, pace, rules, token, answer, and only
then the attachments. The rules are in `limits`, the record in `contacts`, the fetching in `fetcher`, the
settings in `instance`, the recipients that make something happen in `tricks`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from aiohttp import web

from relay.sandbox.chaos import Dice
from relay.sandbox.contact_calls import ContactCalls
from relay.sandbox.contacts import Book
from relay.sandbox.fetcher import Fetcher
from relay.sandbox.instance import Read, list_reads
from relay.sandbox.limits import Refusal, Settings, check
from relay.sandbox.signature import SignatureError, Signed, read_credential, verify
from relay.sandbox.sts import KeyRing
from relay.sandbox.tricks import SLOW_SECONDS, Trick, Tricks

# A body of 5 MB is up to 30 MB of JSON when each of its characters is escaped.
MAX_REQUEST_BYTES = 64 * 1024 * 1024

_STATUS = {
    "InvalidRequestException": 400,
    "SerializationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "ResourceNotFoundException": 404,
    "IdempotencyException": 409,
    "ContactNotFoundException": 410,
    "ThrottlingException": 429,
    "InternalServiceException": 500,
}
_START = "StartEmailContact"
#: Errors about the payload.
_OF_PAYLOADS = frozenset({"InvalidRequestException", "SerializationException"})
_SIGNATURE_WORDS = {
    "AccessDenied": "MissingAuthenticationTokenException",
    "InvalidAccessKeyId": "UnrecognizedClientException",
    "InvalidToken": "UnrecognizedClientException",
    "ExpiredToken": "ExpiredTokenException",
}


class Pace:
    """A token bucket: `burst` at once, then `per_second`."""

    def __init__(self, *, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._left = float(burst)
        self._at = clock()

    def take(self) -> bool:
        """Take a token. Returns whether there was one."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class ConnectService:
    """Connect in every Region, with the instances of the settings."""

    def __init__(
        self,
        *,
        settings: Settings,
        ring: KeyRing,
        dice: Dice,
        book: Book,
        fetcher: Fetcher,
        size_of: Callable[[str], int | None],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        #: The instances as their administrators have set them; a change counts from the next call on.
        self.settings = settings
        self._ring = ring
        self._dice = dice
        self._book = book
        self._fetcher = fetcher
        self._size_of = size_of
        self._now = now
        self._clock = clock
        self._tricks = Tricks()
        self._paces: dict[tuple[str, str], Pace] = {}
        #: The Regions in which every call is answered 500.
        self.away: set[str] = set()
        #: Errors to answer with next, before anything else is looked at, for tests of their effect. A payload
        #: that made a contact passes them by: Connect refuses nothing under a token that it has accepted.
        self.planned: list[Refusal] = []
        #: The actions that the policy of the account does not allow, as IAM names them.
        self.denied: set[str] = set()

    def application(self) -> web.Application:
        """The service, ready to be served."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_put("/contact/email", self._start_email_contact)
        about = ContactCalls(self._book, now=self._now)
        for method, path, action, work in (*list_reads(lambda: self.settings), *about.list_calls()):
            app.router.add_route(method, path, partial(self._read, action, work))
        return app

    async def _start_email_contact(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._tricks.find(body) is Trick.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        answer = await self._answer(request, body, _START, lambda: self._start(body, self._caller(request)))
        if answer.status == 200 and self._tricks.loses(body) and request.transport is not None:
            request.transport.abort()
        return answer

    async def _read(self, action: str, work: Read, request: web.Request) -> web.StreamResponse:
        """Answer a call that starts no contact."""
        body = await request.read()

        def answer() -> web.Response:
            found = work(request, body, self._caller(request))
            return _refusal(found) if isinstance(found, Refusal) else _json(found)

        return await self._answer(request, body, action, answer)

    async def _answer(
        self, request: web.Request, body: bytes, action: str, work: Callable[[], web.Response]
    ) -> web.StreamResponse:
        """Do the work of a call, unless a fault or a signature forbids it; its reply may be lost."""
        faults = self._dice.chaos.connect
        if faults.latency_seconds:
            await asyncio.sleep(faults.latency_seconds)
        answer = self._refuse(request, body, action) or work()
        if answer.status == 200 and self._dice.roll(faults.lose_reply) and request.transport is not None:
            request.transport.abort()
        return answer

    def _refuse(self, request: web.Request, body: bytes, action: str) -> web.Response | None:
        """Refuse for a reason outside the arguments. Returns None where there is none."""
        is_start = action == _START
        if (
            is_start
            and self.planned
            and not (self.planned[0].code in _OF_PAYLOADS and self._has_contact(body))
        ):
            return _refusal(self.planned.pop(0))
        faults = self._dice.chaos.connect
        if self._dice.roll(faults.throttle):
            return _error("ThrottlingException", "Rate exceeded")
        if self._dice.roll(faults.error) or _region_of(request) in self.away:
            return _error("InternalServiceException", "An internal error occurred")
        if refused := self._refuse_signature(request, body):
            return refused
        if action in self.denied or (not is_start and self._dice.roll(faults.deny)):
            return _error("AccessDeniedException", f"not authorized to perform: connect:{action}")
        if is_start and not self._find_pace(self._caller(request)).take():
            return _error("ThrottlingException", "Rate exceeded")
        return None

    def _refuse_signature(self, request: web.Request, body: bytes) -> web.Response | None:
        try:
            url = f"http://{request.host}{request.raw_path}"
            signed = Signed(method=request.method, url=url, headers=request.headers, body=body)
            access_key, region = read_credential(request.headers)
            keys = self._ring.find(access_key)
            verify(signed, keys, service="connect", now=self._now(), region=region)
        except SignatureError as exc:
            return _error(_SIGNATURE_WORDS.get(exc.code, "InvalidSignatureException"), str(exc))
        return None

    def _find_pace(self, caller: tuple[str, str]) -> Pace:
        """The bucket of an account in a Region."""
        if caller not in self._paces:
            rate, burst = self.settings.pace(*caller)
            self._paces[caller] = Pace(per_second=rate, burst=burst, clock=self._clock)
        return self._paces[caller]

    def _caller(self, request: web.Request) -> tuple[str, str]:
        """The account that asks, and the Region that is asked, "" for those of the sandbox; the signature was
        checked before.
        """
        access_key, region = read_credential(request.headers)
        account, own = self._ring.find(access_key).account, self._ring.own
        return "" if account == own.account else account, "" if region == own.region else region

    def _has_contact(self, body: bytes) -> bool:
        """Returns whether this request has made a contact before."""
        try:
            return self._known(json.loads(body)) is not None
        except (ValueError, AttributeError, TypeError):
            return False

    def _known(self, params: Mapping[str, Any]) -> tuple[str, bytes] | None:
        return self._book.known(params.get("ClientToken", ""), instance_id=str(params.get("InstanceId", "")))

    def _start(self, body: bytes, caller: tuple[str, str]) -> web.Response:
        if trick := self._tricks.refuse(body):
            return _refusal(trick)
        try:
            params = json.loads(body)
        except ValueError:
            return _error("SerializationException", "the body is no JSON")
        refusal = check(params, self.settings, size_of=self._size_of, caller=caller)
        if refusal is not None:
            return _refusal(refusal)
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).digest()
        known = self._known(params)
        if known is not None:
            contact_id, digest_then = known
            if digest != digest_then:
                return _error("IdempotencyException", "An entity with the same name already exists")
            return _json({"ContactId": contact_id})
        contact = self._book.add(str(uuid.uuid4()), body, params, digest=digest, now=self._now())
        self._fetcher.fetch_all(contact)
        return _json({"ContactId": contact.contact_id})


def _region_of(request: web.Request) -> str:
    """The Region that a call is signed for; "" where it is not signed."""
    with suppress(SignatureError):
        return read_credential(request.headers)[1]
    return ""


def _refusal(refusal: Refusal) -> web.Response:
    return _error(refusal.code, refusal.message, {"Reason": refusal.reason} if refusal.reason else {})


def _error(code: str, message: str, extra: dict[str, Any] | None = None) -> web.Response:
    answer = _json({"Message": message, **(extra or {})}, status=_STATUS[code])
    answer.headers["x-amzn-ErrorType"] = f"{code}:"
    return answer


def _json(document: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.json_response(document, status=status, headers={"x-amzn-RequestId": str(uuid.uuid4())})
