"""The Connect simulator: `PUT /contact/email` as the service answers it, with its limits, pace and
idempotence, and the list of its addresses for `relay check`.

Owns the protocol (rest-json) and the order of steps: faults, signature, pace, rules, token, answer, and only
then the attachments. The rules are in `limits`, the record in `contacts`, the fetching in `fetcher`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from relay.sandbox.chaos import Dice
from relay.sandbox.contacts import Book
from relay.sandbox.fetcher import Fetcher
from relay.sandbox.limits import Refusal, Settings, check, check_instance
from relay.sandbox.signature import Keys, SignatureError, Signed, verify

# A body of 5 MB is up to 30 MB of JSON when each of its characters is escaped.
MAX_REQUEST_BYTES = 64 * 1024 * 1024
#: Most entries of a page of SearchEmailAddresses (MaxResult100 in the service model).
_PAGE = 100

_STATUS = {
    "InvalidRequestException": 400,
    "SerializationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "ResourceNotFoundException": 404,
    "IdempotencyException": 409,
    "ThrottlingException": 429,
    "InternalServiceException": 500,
}
#: Errors about the payload.
_OF_PAYLOADS = frozenset({"InvalidRequestException", "SerializationException"})
_SIGNATURE_WORDS = {
    "AccessDenied": "MissingAuthenticationTokenException",
    "InvalidAccessKeyId": "UnrecognizedClientException",
    "InvalidToken": "UnrecognizedClientException",
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
    """One account in one Region, with the instances of the settings."""

    def __init__(
        self,
        *,
        settings: Settings,
        keys: Keys,
        dice: Dice,
        book: Book,
        fetcher: Fetcher,
        size_of: Callable[[str], int | None],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._dice = dice
        self._book = book
        self._fetcher = fetcher
        self._size_of = size_of
        self._now = now
        self._pace = Pace(per_second=settings.requests_per_second, burst=settings.burst, clock=clock)
        #: Errors to answer with next, before anything else is looked at, for tests of their effect. A payload
        #: that made a contact passes them by: Connect refuses nothing under a token that it has accepted.
        self.planned: list[Refusal] = []

    def application(self) -> web.Application:
        """The service, ready to be served."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_put("/contact/email", self._start_email_contact)
        app.router.add_post("/search-email-addresses", self._search_email_addresses)
        return app

    async def _start_email_contact(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        faults = self._dice.chaos.connect
        if faults.latency_seconds:
            await asyncio.sleep(faults.latency_seconds)
        answer = self._refuse(request, body) or self._start(body)
        if answer.status == 200 and self._dice.roll(faults.lose_reply) and request.transport is not None:
            request.transport.abort()
        return answer

    async def _search_email_addresses(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page of the instance's addresses (SearchEmailAddresses, of the service model)."""
        body = await request.read()
        if refused := self._refuse_signature(request, body):
            return refused
        try:
            asked = json.loads(body)
            instance_id, begin = str(asked["InstanceId"]), int(asked.get("NextToken") or 0)
            most = int(asked.get("MaxResults", _PAGE))
        except (ValueError, KeyError, AttributeError, TypeError) as exc:
            return _error("InvalidRequestException", f"the arguments cannot be read: {exc}")
        if not 0 < most <= _PAGE or begin < 0:
            return _error("InvalidRequestException", f"MaxResults is 1 to {_PAGE}")
        if refusal := check_instance(instance_id, self._settings):
            return _refusal(refusal)
        known = self._settings.addresses(instance_id)
        found: dict[str, Any] = {
            "EmailAddresses": [{"EmailAddress": each} for each in known[begin : begin + most]],
            "ApproximateTotalCount": len(known),
        }
        return _json(found | ({"NextToken": str(begin + most)} if begin + most < len(known) else {}))

    def _refuse(self, request: web.Request, body: bytes) -> web.Response | None:
        """Refuse for a reason outside the arguments. Returns None where there is none."""
        if self.planned and not (self.planned[0].code in _OF_PAYLOADS and self._has_contact(body)):
            return _refusal(self.planned.pop(0))
        faults = self._dice.chaos.connect
        if self._dice.roll(faults.throttle):
            return _error("ThrottlingException", "Rate exceeded")
        if self._dice.roll(faults.error):
            return _error("InternalServiceException", "An internal error occurred")
        if refused := self._refuse_signature(request, body):
            return refused
        if not self._pace.take():
            return _error("ThrottlingException", "Rate exceeded")
        return None

    def _refuse_signature(self, request: web.Request, body: bytes) -> web.Response | None:
        try:
            url = f"http://{request.host}{request.raw_path}"
            signed = Signed(method=request.method, url=url, headers=request.headers, body=body)
            verify(signed, self._keys, service="connect", now=self._now())
        except SignatureError as exc:
            return _error(_SIGNATURE_WORDS.get(exc.code, "InvalidSignatureException"), str(exc))
        return None

    def _has_contact(self, body: bytes) -> bool:
        """Returns whether this request has made a contact before."""
        try:
            return self._book.known(json.loads(body).get("ClientToken", "")) is not None
        except (ValueError, AttributeError, TypeError):
            return False

    def _start(self, body: bytes) -> web.Response:
        try:
            params = json.loads(body)
        except ValueError:
            return _error("SerializationException", "the body is no JSON")
        refusal = check(params, self._settings, size_of=self._size_of)
        if refusal is not None:
            return _refusal(refusal)
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).digest()
        known = self._book.known(params.get("ClientToken", ""))
        if known is not None:
            contact_id, digest_then = known
            if digest != digest_then:
                return _error("IdempotencyException", "An entity with the same name already exists")
            return _json({"ContactId": contact_id})
        contact = self._book.add(str(uuid.uuid4()), body, params, digest=digest, now=self._now())
        self._fetcher.fetch_all(contact)
        return _json({"ContactId": contact.contact_id})


def _refusal(refusal: Refusal) -> web.Response:
    return _error(refusal.code, refusal.message, {"Reason": refusal.reason} if refusal.reason else {})


def _error(code: str, message: str, extra: dict[str, Any] | None = None) -> web.Response:
    answer = _json({"Message": message, **(extra or {})}, status=_STATUS[code])
    answer.headers["x-amzn-ErrorType"] = f"{code}:"
    return answer


def _json(document: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.json_response(document, status=status, headers={"x-amzn-RequestId": str(uuid.uuid4())})
