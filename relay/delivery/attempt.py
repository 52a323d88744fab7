"""One attempt to deliver one entry: raw mail, message, plan, S3, request, Connect.

Owns the order of those steps and the way down the ladder. Decides nothing about other failures (`retry`) and
changes no state but the stored request: what comes of an attempt is a value. A request that was stored is sent
again byte for byte while its URLs live, so that a reply that never came is answered by the same token and the
same payload.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from relay import telemetry
from relay.aws.connect import ConnectClient
from relay.aws.request_limits import check_request
from relay.aws.s3 import AttachmentStore
from relay.config import Config, Route
from relay.contact.original import fit_original
from relay.contact.plan import Context, Plan
from relay.contact.request import build_earlier_token, build_request
from relay.delivery.outcome import Delivered, Dropped, Failed, Held, Outcome
from relay.delivery.pace import Pace
from relay.delivery.retry import next_rung, rung_number
from relay.envelope import Destination
from relay.errors import FailureClass, NotUnderstoodError, RemoteError
from relay.faults import fault_point
from relay.policy.decide import decide_class
from relay.routes import RouteTable
from relay.spool.doubt import FATE_UNKNOWN, is_refusal, is_settled, is_too_old, refuses_file, tell_doubt
from relay.spool.duplicates import build_next_token
from relay.spool.interface import Outbox
from relay.spool.model import Entry
from relay.understand.raw import opened_raw
from relay.understand.reading import Task, Thread, Understanding
from relay.vocabulary import Cause, Rung

#: A stored request is sent again only while its URLs have this long to live: Connect fetches after it answers.
_URL_MARGIN = timedelta(minutes=10)
#: S3 answers "Request is not yet valid" to URLs dated more than 15 minutes ahead.
_CLOCK_TOLERANCE = timedelta(minutes=10)
#: Replies within 90 days join the thread (Amazon Connect administrator guide, e-mail).
_THREAD_WINDOW = timedelta(days=90)
#: Refusals of a request by our own look, or by the client's: it never left.
_OWN_REFUSALS = frozenset({"model_check", "ParamValidationError"})

#: Ids of a References header that are looked up for a related contact: the newest say most.
_THREAD_IDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A request that is in the spool and may go out."""

    request: Mapping[str, Any]
    expires_at: datetime
    adaptations: tuple[str, ...]
    stored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One payload to be tried."""

    #: At the rung to be tried.
    entry: Entry
    #: File names that Connect refused at the rung above.
    refused: frozenset[str] = frozenset()
    #: False: the last rung without its file.
    attach: bool = True


class Delivery:
    """What every attempt needs; one for the life of a configuration."""

    def __init__(
        self,
        *,
        config: Config,
        outbox: Outbox,
        store: AttachmentStore,
        connect: ConnectClient,
        understanding: Understanding,
        pace: Pace,
        now: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._routes = RouteTable(config)
        self._outbox = outbox
        self._store = store
        self._connect = connect
        self._understanding = understanding
        self._pace = pace
        self._now = now

    @property
    def aside(self) -> int:
        """Attempts that wait for a mail which is slow to read: they keep no other from being begun."""
        return self._understanding.aside

    async def deliver(self, entry: Entry) -> Outcome:
        """Try once, down the ladder where a payload is refused. Anything raised is a fault of ours."""
        route = self._route(entry)
        if route is None:
            return Failed(error=_no_route(entry), entry=entry)
        # A request may have megabytes of body: read once, and off the loop.
        sent = await asyncio.to_thread(json.loads, entry.request) if entry.request is not None else None
        entry = replace(entry, destination=self._destination(entry, route, sent))
        trial, renewed, stored = _Trial(entry=entry), False, False
        while True:
            request: Mapping[str, Any] = {}
            try:
                ready = await self._ready(trial, route, sent)
                if not isinstance(ready, _Ready):
                    return ready
                stored |= ready.stored
                await self._pace.turn()
                if not self._is_alive(ready.expires_at):
                    # The clock was set while we waited, or the credentials end: once anew, then later.
                    if renewed:
                        return Failed(error=_dead_urls(), entry=trial.entry, stored=stored, settled=True)
                    renewed, sent = True, None
                    trial = replace(trial, entry=_without_request(trial.entry))
                    continue
                request = ready.request
                contact_id = await self._send(request)
            except NotUnderstoodError as exc:
                telemetry.fault_caught(where="delivery.understand", spool_id=entry.spool_id, cause=exc.cause)
                trial, sent = await self._begin_original(trial.entry, Cause(exc.cause), exc.detail), None
            except RemoteError as exc:
                trial = replace(trial, entry=await self._note_answer(trial.entry, exc, request))
                below = await self._step_down(trial, exc, request)
                if below is None:
                    settled = not request or is_settled(exc)
                    return Failed(error=exc, entry=trial.entry, stored=stored, settled=settled)
                trial, sent = below, None
            else:
                return Delivered(
                    contact_id=contact_id,
                    entry=trial.entry,
                    adaptations=ready.adaptations,
                    stored=stored,
                )

    async def _step_down(
        self, trial: _Trial, error: RemoteError, request: Mapping[str, Any]
    ) -> _Trial | None:
        """The next thing to try where a payload was refused; None where nothing is left, or it was not."""
        if error.failure is not FailureClass.PAYLOAD:
            return None
        entry, below = _without_request(trial.entry), next_rung(trial.entry.rung)
        if below is None and not refuses_file(error, request):
            return None
        following = below or Rung.ORIGINAL  # once more, without its file
        telemetry.rung_refused(entry=entry, code=error.code, detail=error.detail, following=following)
        if below is Rung.ORIGINAL:
            cause = Cause.CHECK if error.code in _OWN_REFUSALS else Cause.REFUSED
            return await self._begin_original(entry, cause, error.detail)
        attach = below is not None
        return _Trial(entry=replace(entry, rung=following), refused=frozenset(error.named), attach=attach)

    async def _begin_original(self, entry: Entry, cause: Cause, detail: str) -> _Trial:
        """The last rung, which an entry never leaves by itself: what defeated us once is not tried with each attempt."""
        await self._outbox.begin_original(entry, reason=cause, detail=detail, now=self._now())
        return _Trial(entry=replace(_without_request(entry), rung=Rung.ORIGINAL))

    async def _note_answer(self, entry: Entry, error: RemoteError, request: Mapping[str, Any]) -> Entry:
        """The entry as it goes on after this answer: under another token when Connect itself has refused the payload."""
        if not request:
            return entry  # nothing went out
        entry = replace(entry, token=request["ClientToken"])
        if not is_refusal(error):
            return entry
        rung = next_rung(entry.rung) or entry.rung
        token = build_next_token(request["ClientToken"], rung=rung_number(rung))
        reason = f"{error.service}.{error.code}"
        await self._outbox.refuse(
            entry, rung=rung, token=token, reason=reason, detail=error.detail, now=self._now()
        )
        return replace(entry, token=token, sent=False, in_doubt_since=None)

    def _route(self, entry: Entry) -> Route | None:
        """The route of the entry by name, else whichever now matches its first forward-path."""
        named = self._routes.route(entry.destination.route)
        if named is not None:
            return named
        routed = self._routes.match(entry.destination.forward_paths[0])
        return routed.route if routed else None

    def _destination(self, entry: Entry, route: Route, sent: Mapping[str, Any] | None) -> Destination:
        """Where the request went that may be a contact by now; without one, where the routes of today say.

        So a wrong address or instance is mended for the mail that waits, too.
        """
        if sent is not None:
            instance_id, address = sent["InstanceId"], sent["DestinationEmailAddress"]
            return replace(entry.destination, instance_id=instance_id, address=address)
        routed = self._routes.match(entry.destination.forward_paths[0])
        if routed is None or routed.route is not route:
            return entry.destination
        return replace(entry.destination, instance_id=routed.instance_id, address=routed.address)

    async def _send(self, request: Mapping[str, Any]) -> str:
        fault_point("delivery.before_connect")
        try:
            contact_id = await self._connect.start_email_contact(request)
        except RemoteError as exc:
            if exc.failure is FailureClass.THROTTLED:
                self._pace.throttled()
            raise
        fault_point("delivery.after_connect")
        self._pace.passed()
        return contact_id

    async def _ready(
        self, trial: _Trial, route: Route, sent: Mapping[str, Any] | None
    ) -> _Ready | Held | Dropped:
        """The stored request while it is good, else a new one: files in S3, itself in the spool."""
        entry = trial.entry
        since, expires_at = entry.in_doubt_since, entry.request_expires_at
        if since is not None and is_too_old(since, now=self._now()):
            return Held(reason=FATE_UNKNOWN, detail=tell_doubt(since))
        if sent is not None and expires_at is not None and self._is_alive(expires_at, margin=_URL_MARGIN):
            await self._outbox.begin_sending(entry, token=sent["ClientToken"], now=self._now())
            return _Ready(request=sent, expires_at=expires_at, adaptations=())
        async with opened_raw(self._outbox, entry) as (raw, handle):
            if entry.rung is Rung.ORIGINAL:  # no policy is asked: nobody knows what it would be asked about
                plan = await self._original(entry, route, raw, attach=trial.attach)
                return await self._store_request(entry, plan, raw)
            task = self._task(trial, route, raw, handle)
            async with self._understanding.plan(task) as plan:
                if not entry.released and (policy := _policy(route, plan)) is not None:
                    return policy
                return await self._store_request(entry, plan, raw)

    def _task(self, trial: _Trial, route: Route, raw: memoryview, handle: int | None) -> Task:
        """The mail as a worker is given it."""
        entry = trial.entry
        return Task(
            raw=raw,
            handle=handle,
            context=self._context(entry),
            route=route,
            config=self._config,
            rung=entry.rung,
            refused=trial.refused,
            attempts=entry.attempts,
            find_related=partial(self._related, entry=entry, route=route) if route.thread != "off" else None,
        )

    async def _original(self, entry: Entry, route: Route, raw: memoryview, *, attach: bool) -> Plan:
        """The plan of the last rung, which asks nothing of the parser."""
        word = await self._outbox.why_original(entry)
        why = Cause(word) if word in set(Cause) else Cause.UNKNOWN
        octets = raw[entry.trace_size :]
        return await asyncio.to_thread(
            lambda: fit_original(octets, self._context(entry), route, self._config, why=why, attach=attach)
        )

    def _context(self, entry: Entry) -> Context:
        return Context(
            spool_id=entry.spool_id,
            envelope=entry.envelope,
            destination=entry.destination,
            results=entry.results,
            raw_size=entry.size - entry.trace_size,
            is_ours=self._is_ours,
        )

    async def _store_request(self, entry: Entry, plan: Plan, raw: memoryview) -> _Ready:
        original = (plan.original_key, raw[entry.trace_size :]) if plan.original_key else None
        stored = await self._store.put_all(plan.files, original=original)
        fault_point("delivery.after_s3")
        token = entry.token or build_earlier_token(
            instance_id=plan.instance_id,
            destination=plan.destination,
            fingerprint=entry.fingerprint,
            salt="" if entry.message_id else entry.spool_id,
            rung=plan.rung,
        )
        request = build_request(plan, stored.urls, client_token=token)
        problems = await asyncio.to_thread(
            check_request, request, max_attachments=self._config.connect.max_attachments
        )
        if problems and plan.rung is Rung.ORIGINAL:
            # Only Connect's refusal of this rung is the end, so it is asked.
            detail = "; ".join(problems)
            telemetry.rung_refused(entry=entry, code="model_check", detail=detail, following=plan.rung)
        elif problems:
            raise RemoteError(
                service="connect",
                failure=FailureClass.PAYLOAD,
                code="model_check",
                detail="; ".join(problems),
            )
        await self._outbox.save_request(
            entry,
            request=await asyncio.to_thread(_octets, request),
            rung=plan.rung,
            token=token,
            expires_at=stored.expires_at,
            now=self._now(),
        )
        adaptations = tuple(adaptation.code for adaptation in plan.adaptations)
        return _Ready(
            request=request,
            expires_at=stored.expires_at,
            adaptations=adaptations,
            stored=bool(plan.files) or original is not None,
        )

    def _is_alive(self, expires_at: datetime, *, margin: timedelta = timedelta()) -> bool:
        """Whether URLs that end then can be fetched for so long yet, and now: not when a clock that was ahead signed them."""
        left = expires_at - self._now()
        return margin < left <= timedelta(seconds=self._config.s3.url_ttl_seconds) + _CLOCK_TOLERANCE

    def _is_ours(self, address: str) -> bool:
        return self._config.contact.strip_own_recipients and self._routes.is_ours(address)

    async def _related(self, thread: Thread, *, entry: Entry, route: Route) -> str | None:
        """The contact of the same sender that this mail answers."""
        ids = (*thread.in_reply_to, *reversed(thread.references))[:_THREAD_IDS]
        if not ids:
            return None
        since, instance_id = (
            self._now() - _THREAD_WINDOW,
            route.instance_id or self._config.connect.instance_id,
        )
        return await self._outbox.find_contact(entry, message_ids=ids, since=since, instance_id=instance_id)


def _without_request(entry: Entry) -> Entry:
    """The entry as if no request of it were stored."""
    return replace(entry, request=None, request_expires_at=None)


def _no_route(entry: Entry) -> RemoteError:
    return RemoteError(
        service="connect",
        failure=FailureClass.CONFIGURATION,
        code="no_route",
        detail=f"no route matches {entry.destination.forward_paths[0]} any more",
    )


def _dead_urls() -> RemoteError:
    return RemoteError(
        service="s3",
        failure=FailureClass.TEMPORARY,
        code="dead_urls",
        detail="presigned URLs are not valid now; look at the clock, and at how long the credentials live",
    )


def _policy(route: Route, plan: Plan) -> Held | Dropped | None:
    """What the route wants instead of a contact for this class of mail."""
    action = decide_class(route, plan.classification)
    reason = f"class.{plan.classification}"
    detail = f"the route {route.name} says {action} for mail of the class {plan.classification}"
    match action:
        case "hold":
            return Held(reason=reason, detail=detail)
        case "drop":
            return Dropped(reason=reason, detail=detail)
    return None


def _octets(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
