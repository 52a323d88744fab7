"""One attempt to deliver one entry: raw mail, message, plan, S3, request, Connect.

Owns the order of those steps and the way down the ladder. Decides nothing about other failures (`retry` does)
and changes no state but the stored request: the outcome of an attempt is returned as a value. A stored
request is sent again byte for byte while its presigned URLs live. So if the answer to the first send was
lost, the second carries the same token and the same payload, and Connect recognises it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from relay import telemetry
from relay.config import Config, Route
from relay.config.discovered import Discovered, Snapshots
from relay.contact.plan import Plan
from relay.contact.request import build_earlier_token, build_request
from relay.delivery.description import Attempted
from relay.delivery.destinations import Destinations, adopt_flow
from relay.delivery.failures import busy, dead_urls, no_route
from relay.delivery.handling import add_late, find_entry_rules, find_handling, lead, mark, stop_for, tell_late
from relay.delivery.inspection import Inspection
from relay.delivery.outcome import Delivered, Dropped, Failed, Held, Outcome, Postponed
from relay.delivery.planning import Planner, Trial
from relay.delivery.refused_templates import RefusedTemplates, suspect_template
from relay.delivery.retry import next_rung, rung_number
from relay.delivery.ways import Way, Ways
from relay.errors import FailureClass, NotUnderstoodError, NotYetError, RemoteError
from relay.faults import fault_point
from relay.policy.origin import list_late_tags
from relay.routes import RouteTable
from relay.spool.doubt import FATE_UNKNOWN, is_refusal, is_settled, is_too_old, refuses_file, tell_doubt
from relay.spool.duplicates import build_next_token
from relay.spool.interface import Outbox
from relay.spool.model import Entry
from relay.understand.raw import opened_raw
from relay.understand.reading import Understanding
from relay.vocabulary import Cause, Rung

#: A stored request is sent again only while its URLs live at least this much longer: Connect fetches the
#: attachments after it has answered.
_URL_MARGIN = timedelta(minutes=10)
#: Tolerance for a clock that was ahead: S3 answers "Request is not yet valid" to URLs dated over 15 minutes
#: ahead.
_CLOCK_TOLERANCE = timedelta(minutes=10)
#: Seconds after which an old doubt is looked at again, while the clock is doubted itself.
_CLOCK_SECONDS = 60.0
#: Codes of requests refused on this machine, by our check or by the client's: such a request never left.
_OWN_REFUSALS = frozenset({"model_check", "ParamValidationError"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A request that is in the spool and may go out."""

    request: Mapping[str, Any]
    expires_at: datetime
    adaptations: tuple[str, ...]
    classification: str
    stored: bool = False
    #: True if the contact is redacted; of a request that was stored before, True if its route redacts.
    redacted: bool = False


class Delivery:
    """The dependencies of all attempts; one instance for the life of a configuration."""

    def __init__(
        self,
        *,
        config: Config,
        outbox: Outbox,
        ways: Ways,
        understanding: Understanding,
        now: Callable[[], datetime],
        wall: Callable[[], datetime] | None = None,
        templates: RefusedTemplates | None = None,
        discovered: Callable[[], Mapping[str, Discovered]] = dict,
    ) -> None:
        self._config = config
        self._snapshots = Snapshots(config, discovered)
        self._destinations = Destinations(config, outbox)
        self._outbox = outbox
        self._ways = ways
        self._understanding = understanding
        self._inspection = Inspection()
        #: The spool's clock, and the wall clock, by which S3 judges its URLs.
        self._now = now
        self._wall = wall or now
        self._templates = templates or RefusedTemplates()
        self._planner = Planner(config=config, routes=RouteTable(config), outbox=outbox, now=now)

    @property
    def aside(self) -> int:
        """The number of attempts whose mail is slow to read. They take no place of `deliver.concurrency`."""
        return self._understanding.aside

    @property
    def away(self) -> Mapping[str, str]:
        """The services of some instances only that are away, and why."""
        return self._ways.away

    async def deliver(self, entry: Entry) -> Outcome:
        """Try once to deliver an entry; where Connect refuses the payload, go down the ladder.

        Returns the outcome. Anything raised is a fault of ours.
        """
        route = self._destinations.find_route(entry)
        if route is None:
            return Failed(error=no_route(entry), entry=entry)
        # A request can hold megabytes of body: it is parsed once, in a thread.
        sent = await asyncio.to_thread(json.loads, entry.request) if entry.request is not None else None
        led = await self._destinations.lead(entry, route, sent)
        entry, sent = led.entry, led.sent
        way = await self._ways.find(entry.destination.instance_id)
        if (waits := way.wait()) is not None:
            return waits
        attempted = Attempted()
        with way.attempt(entry.reference) as judge:
            outcome = judge(await self._go_down(entry, route, sent, way, attempted))
        if isinstance(outcome, Postponed):
            return outcome
        shown = attempted.describe(entry, prefix=self._config.contact.attribute_prefix)
        if isinstance(outcome, Delivered | Failed):
            outcome = replace(outcome, elsewhere=led.elsewhere)
        return replace(outcome, shown=shown)

    async def _go_down(
        self,
        entry: Entry,
        route: Route,
        sent: Mapping[str, Any] | None,
        way: Way,
        attempted: Attempted,
    ) -> Outcome:
        """Send the stored request, or one from each rung of the ladder in turn. Returns the outcome, and
        leaves the last payload in `attempted`.
        """
        trial, renewed, stored, begun, suspect = Trial(entry=entry), False, False, False, ""
        while True:
            request: Mapping[str, Any] = {}
            try:
                ready = await self._ready(trial, route, sent, way, attempted)
                if not isinstance(ready, _Ready):
                    return ready
                stored |= ready.stored
                await way.pace.turn()
                if not self._is_alive(ready.expires_at):
                    # The clock was set during the wait, or the credentials end soon. Sign anew once; the
                    # second time, put off.
                    if renewed:
                        return Failed(error=dead_urls(), entry=trial.entry, stored=stored, settled=True)
                    renewed, sent = True, None
                    trial = replace(trial, entry=_without_request(trial.entry))
                    continue
                request, begun = ready.request, True
                attempted.request = request
                contact_id = await self._send(request, way)
            except NotYetError as exc:
                return _put_off(exc, trial, begun=begun, stored=stored)
            except NotUnderstoodError as exc:
                telemetry.fault_caught(where="delivery.understand", spool_id=entry.spool_id, cause=exc.cause)
                trial, sent = await self._begin_original(trial.entry, Cause(exc.cause), exc.detail), None
            except RemoteError as exc:
                suspect = suspect or suspect_template(exc, request)
                trial = replace(trial, entry=await self._note_answer(trial.entry, exc, request))
                below = await self._step_down(trial, exc, request)
                if below is None:
                    settled = not request or is_settled(exc)
                    return Failed(
                        error=exc,
                        entry=trial.entry,
                        stored=stored,
                        settled=settled,
                        redacted=bool(request) and route.sensitive.redacts,
                    )
                trial, sent = below, None
            else:
                self._templates.note(route.name, why=suspect, request=request)
                return Delivered(
                    contact_id=contact_id,
                    entry=trial.entry,
                    adaptations=ready.adaptations,
                    redacted=ready.redacted,
                    classification=ready.classification,
                    stored=stored,
                )

    async def _step_down(self, trial: Trial, error: RemoteError, request: Mapping[str, Any]) -> Trial | None:
        """Choose the next payload after a refusal.

        Returns None where the rungs are used up, or the error is no refusal of a payload.
        """
        if error.failure is not FailureClass.PAYLOAD:
            return None
        entry, below = _without_request(trial.entry), next_rung(trial.entry.rung)
        if below is None and not refuses_file(error, request):
            return None
        following = below or Rung.ORIGINAL  # the last rung once more, without its file
        telemetry.rung_refused(entry=entry, code=error.code, detail=error.detail, following=following)
        if below is Rung.ORIGINAL:
            cause = Cause.CHECK if error.code in _OWN_REFUSALS else Cause.REFUSED
            return await self._begin_original(entry, cause, error.detail)
        attach = below is not None
        return Trial(entry=replace(entry, rung=following), refused=frozenset(error.named), attach=attach)

    async def _begin_original(self, entry: Entry, cause: Cause, detail: str) -> Trial:
        """Record that the entry is at the last rung, which it never leaves by itself.

        What defeated the relay once is therefore not tried again with each attempt.
        """
        await self._outbox.begin_original(entry, reason=cause, detail=detail, now=self._now())
        return Trial(entry=replace(_without_request(entry), rung=Rung.ORIGINAL))

    async def _note_answer(self, entry: Entry, error: RemoteError, request: Mapping[str, Any]) -> Entry:
        """Record Connect's answer to a request.

        Returns the entry as it goes on: with a new token if Connect refused the payload.
        """
        if not request:
            return entry  # no request went out
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

    async def _send(self, request: Mapping[str, Any], way: Way) -> str:
        fault_point("delivery.before_connect")
        try:
            with telemetry.step_timed("connect", files=len(request.get("Attachments", ()))):
                contact_id = await way.connect.start_email_contact(request)
        except RemoteError as exc:
            if exc.failure is FailureClass.THROTTLED:
                way.pace.throttled()
            raise
        fault_point("delivery.after_connect")
        way.pace.passed()
        return contact_id

    async def _ready(
        self, trial: Trial, route: Route, sent: Mapping[str, Any] | None, way: Way, attempted: Attempted
    ) -> _Ready | Held | Dropped | Postponed:
        """Prepare the request: the stored one while its URLs live, else a new one, with its files in S3 and
        itself in the spool.

        Returns another value instead where the entry's doubt is too old, or the route's policy asks for it.
        """
        entry = trial.entry
        since, expires_at = entry.in_doubt_since, entry.request_expires_at
        if since is not None and is_too_old(since, now=self._now()):
            if self._outbox.is_clock_doubted():
                detail = "its request is in doubt, and so is the clock that tells for how long"
                return Postponed(detail=detail, reason="relay.clock", seconds=_CLOCK_SECONDS)
            return Held(reason=FATE_UNKNOWN, detail=tell_doubt(since))
        if sent is not None and expires_at is not None and self._is_alive(expires_at, margin=_URL_MARGIN):
            await self._outbox.begin_sending(entry, token=sent["ClientToken"], now=self._now())
            known, prefix = sent.get("Attributes", {}), self._config.contact.attribute_prefix
            return _Ready(
                request=sent,
                expires_at=expires_at,
                adaptations=tuple(known.get(f"{prefix}adaptations", "").split()),
                classification=known.get(f"{prefix}classification", ""),
                redacted=route.sensitive.redacts,
            )
        config = self._snapshots.take()  # one for the fit and for the check: they agree
        rules = find_entry_rules(entry, route, config)
        handling = find_handling(entry, rules)
        if (stop := stop_for(handling)) is not None:
            return stop
        entry = mark(entry, route, handling)
        trial = replace(trial, entry=entry)
        async with opened_raw(self._outbox, entry) as (raw, handle):
            if entry.rung is Rung.ORIGINAL:  # nothing is stopped by the class, which is a guess for this mail
                plan = await self._planner.plan_original(trial, route, raw, sent, config=config)
                late = add_late(handling, plan, rules)
                attempted.begin(plan := lead(plan, late))
                return await self._store_request(entry, route, plan, raw, way, config)
            task = self._planner.build_task(
                trial, route, (raw, handle), sent, config=config, tags=list_late_tags(rules)
            )
            async with self._understanding.plan(task) as plan:
                late = add_late(handling, plan, rules)
                if entry.attempts == 1:
                    tell_late(entry, route, plan, rules)
                attempted.begin(plan := lead(plan, late))
                if (stop := stop_for(late)) is not None:
                    return stop
                return await self._store_request(entry, route, plan, raw, way, config)

    async def _store_request(
        self, entry: Entry, route: Route, plan: Plan, raw: memoryview, way: Way, config: Config
    ) -> _Ready:
        plan = adopt_flow(plan, route)
        original = (plan.original_key, raw[entry.trace_size :]) if plan.original_key else None
        # without a file the store only signs, and asks S3 nothing
        sizes = [each.size for each in plan.files] + ([len(original[1])] if original else [])
        with telemetry.step_timed("s3", files=len(sizes), size=sum(sizes)) if sizes else nullcontext():
            stored = await way.store.put_all(plan.files, original=original, tags=route.s3_tags)
        fault_point("delivery.after_s3")
        token = entry.token or build_earlier_token(
            instance_id=plan.instance_id,
            destination=plan.destination,
            fingerprint=entry.fingerprint,
            salt="" if entry.message_id else entry.spool_id,
            rung=plan.rung,
        )
        request = build_request(plan, stored.urls, client_token=token)
        problems, octets = await self._inspection.inspect(
            request,
            body_size=len(plan.body),
            max_attachments=config.connect.adopt(plan.instance_id).max_attachments,
        )
        if problems and plan.rung is Rung.ORIGINAL:
            # Connect is asked all the same: only its own refusal of this rung makes a dead letter.
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
            request=octets,
            rung=plan.rung,
            token=token,
            expires_at=stored.expires_at,
            now=self._now(),
            captured=plan.captured,
            instance_id=plan.instance_id,
        )
        adaptations = tuple(adaptation.code for adaptation in plan.adaptations)
        return _Ready(
            request=request,
            expires_at=stored.expires_at,
            adaptations=adaptations,
            redacted=route.sensitive.redacts and (plan.rung is Rung.ORIGINAL or bool(plan.sensitive)),
            classification=plan.classification,
            stored=bool(plan.files) or original is not None,
        )

    def _is_alive(self, expires_at: datetime, *, margin: timedelta = timedelta()) -> bool:
        """Returns whether presigned URLs that expire at `expires_at` are valid now and for `margin` longer.

        Also False if they were signed in the future: the clock was ahead then, and has been set back since.
        """
        left = expires_at - self._wall()
        return margin < left <= timedelta(seconds=self._config.s3.url_ttl_seconds) + _CLOCK_TOLERANCE


def _put_off(exc: NotYetError, trial: Trial, *, begun: bool, stored: bool) -> Failed | Postponed:
    """The outcome for a mail that waits for others. If a payload was refused before, the attempt counts."""
    if begun:
        return Failed(error=busy(exc), entry=trial.entry, stored=stored, settled=True)
    return Postponed(detail=str(exc), seconds=exc.seconds)


def _without_request(entry: Entry) -> Entry:
    """A copy of the entry without its stored request."""
    return replace(entry, request=None, request_expires_at=None)
