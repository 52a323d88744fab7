"""The dry run behind `relay explain`: the contact that a mail would become, without sending it anywhere.

Owns the explanation of one file (docs/operations.md, "What would a mail become?"). Never
touches the network, never raises on a mail: an error with a file stands in its explanation.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from relay.auth.identity import IdentitySummary
from relay.aws.request_limits import check_request
from relay.config.model import Config, Route
from relay.contact.fit import fit
from relay.contact.original import fit_original
from relay.contact.plan import Context, Plan
from relay.contact.redact import has_cards
from relay.contact.refusal import refusals
from relay.contact.request import build_request
from relay.envelope import Destination, Envelope, ForwardPath, Peer, SpoolId
from relay.lists.lookup import Claims, read_files
from relay.message.author import find_author_fields
from relay.message.glimpse import glimpse_message
from relay.message.headers import FieldFinder, header_block
from relay.message.hops import find_hops
from relay.message.model import Message
from relay.message.parse import parse_message
from relay.policy.decide import Facts, Ruling, build_terms, decide
from relay.policy.lists import build_list_results, find_favours
from relay.policy.octets import measure_file
from relay.policy.origin import (
    TAGS,
    Rules,
    choose_handling,
    decide_handling,
    decide_wire,
    find_rules,
    list_late,
    list_late_tags,
    list_met,
    tell_rule,
)
from relay.routes import RouteTable
from relay.spool.duplicates import Likeness, build_token, normalise_reverse_path
from relay.understand.ours import build_is_ours
from relay.vocabulary import Cause, Disposition, Reply

#: Stands for the spool id; as long as a real one.
SPOOL_ID = SpoolId("0EXP1A1N00000000")
#: A presigned URL with a session token has about this many characters; Connect allows 2,000.
URL_LENGTH = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of a mail: who hands it over in a dry run, and the results of the checks of that."""

    #: The address of the peer; "" where none is given.
    peer: str = ""
    helo: str | None = None
    #: None for the null one; it counts only where it is given, else it is what the mail suggests.
    reverse_path: str | None = None
    is_sender_given: bool = False
    #: Aware; None for now.
    received_at: datetime | None = None
    #: The attributes of a contact that the results of the checks make.
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: The results; None where nothing was asked for.
    identity: IdentitySummary | None = None


_UNKNOWN = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of one file for one destination."""

    file: str
    destination: str | None = None
    route: Route | None = None
    message: Message | None = None
    plan: Plan | None = None
    request: Mapping[str, Any] | None = None
    disposition: Disposition = Disposition.ACCEPT
    #: The reply to the mail's data, if it is refused.
    reply: Reply | None = None
    #: The reason why the mail would be refused, or what the route does with mail of its class; "" if neither.
    reason: str = ""
    #: The error: the file cannot be read, or the request breaks a limit.
    error: str | None = None
    #: The results of the checks of the mail's origin; None where nothing was asked for.
    identity: IdentitySummary | None = None


class Explainer:
    """The explaining of files under one configuration."""

    def __init__(
        self,
        config: Config,
        *,
        recipients: Sequence[str] = (),
        role: Literal["mx", "trusted"] = "mx",
        lmtp: bool = False,
    ) -> None:
        self._config = config
        #: The terms of the listener that would take the mail.
        listener = next((each for each in config.listeners if each.role == role), None)
        self._listener = listener.bind[0] if listener is not None else ""
        self._terms = build_terms(config, listener, lmtp=lmtp)
        self._routes = RouteTable(config)
        self._recipients = tuple(recipients)
        self._lists = read_files(config)

    def explain(self, file: str, raw: bytes, origin: Origin = _UNKNOWN) -> tuple[Explanation, ...]:
        """Explain a file: one explanation for each destination, at least one."""
        try:
            return self.read(file, raw, origin)
        except Exception as exc:  # noqa: BLE001 - one file of thousands may not end the run
            return (Explanation(file=file, error=f"a fault of the relay: {exc!r}"),)

    def read(self, file: str, raw: bytes, origin: Origin = _UNKNOWN) -> tuple[Explanation, ...]:
        """Explain a file as `explain` does, but raise what the parser raises, as a worker may."""
        message = parse_message(raw, clock=time.process_time)
        origin = self._look_up(raw, message, origin)
        paths, unknown = self._choose_paths(message)
        found = [
            Explanation(
                file=file,
                destination=path,
                message=message,
                disposition=Disposition.REJECT,
                reason=f"no route matches {path}",
                identity=origin.identity,
            )
            for path in unknown
        ]
        envelope = _build_envelope(message, paths, origin)
        ours = self._routes.destinations(paths)
        rulings = self._judge(raw, message, ours, origin)
        found.extend(
            self._explain_one(file, raw, message, envelope, destination, rulings[destination.route], origin)
            for destination in ours
        )
        return tuple(found)

    def _look_up(self, raw: bytes, message: Message, origin: Origin) -> Origin:
        """The origin with the results of the lists in files; others are not asked, for want of a network."""
        if self._lists is None:
            return origin
        sent = raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")
        reverse_path = _build_envelope(message, (), origin).reverse_path
        fields = find_author_fields(FieldFinder(header_block(sent)))
        senders, listings = self._lists.find_now(Claims(authors=fields, reverse_path=reverse_path))
        found = build_list_results(listings, senders, origin.attributes)
        return replace(origin, attributes={**origin.attributes, **found})

    def _judge(
        self, raw: bytes, message: Message | None, ours: Sequence[Destination], origin: Origin
    ) -> Mapping[str, Ruling]:
        """Decide over the mail as a session does.

        Returns the ruling for each route; without `message` no file type is refused.
        """
        config, terms = self._config, self._terms
        octets, head = measure_file(
            raw, cut=terms.hard_limit, line_limit=terms.line_bytes, repair=terms.line_ends != "crlf"
        )
        hops = find_hops(FieldFinder(header_block(head)), hostname=config.hostname)
        refused, words = {}, set()
        for name in dict.fromkeys(destination.route for destination in ours):
            route = self._routes.route(name)
            files = refusals(message, route, config) if message is not None and route is not None else ()
            if files:
                refused[name] = files
            if route is not None and route.sensitive.rejects:
                words.add(name)
        if words and (message is None or not has_cards(message)):
            words = set()
        routes = tuple(destination.route for destination in ours)
        facts = Facts(octets, hops, routes, refused_files=refused, refused_words=frozenset(words))
        verdict = decide(facts, terms)
        rulings = {name: verdict.rule(name) for name in routes}
        if verdict.reply is not None:
            return rulings
        met = {
            name: list_met(origin.attributes, self._find_rules(self._routes.route(name)))
            for name in routes
            if name not in verdict.refused
        }
        judged = decide_wire(met, refusing=verdict.held, replies_each=terms.replies_each)
        found = {name: judged.rule(name) for name in met}
        if judged.reply is None:  # held for another reason already
            found = {name: ruling for name, ruling in found.items() if name not in verdict.held}
        return rulings | {name: ruling for name, ruling in found.items() if ruling is not None}

    def _find_rules(self, route: Route | None) -> Rules:
        return find_rules(self._config, route, listener=self._listener)

    def explain_original(
        self, file: str, raw: bytes, origin: Origin = _UNKNOWN, *, cause: Cause, why: str
    ) -> tuple[Explanation, ...]:
        """Explain a mail that ended the worker which parsed it: its original, made from a look at its header
        alone.
        """
        message = glimpse_message(raw)
        origin = self._look_up(raw, message, origin)
        paths, _ = self._choose_paths(message)
        envelope = _build_envelope(message, paths, origin)
        found = []
        ours = self._routes.destinations(paths)
        rulings = self._judge(raw, None, ours, origin)
        for destination in ours:
            ruling = rulings[destination.route]
            route = self._routes.route(destination.route)
            assert route is not None
            context = self._build_context(envelope, destination, raw, origin)
            plan = fit_original(raw, context, route, self._config, why=cause)
            found.append(
                Explanation(
                    file=file,
                    destination=destination.address,
                    route=route,
                    message=message,
                    plan=plan,
                    request=_build_request(plan, destination, envelope, raw),
                    disposition=ruling.disposition,
                    reply=ruling.reply,
                    reason=ruling.reason or f"it is not understood ({why})",
                    identity=origin.identity,
                )
            )
        return tuple(found)

    def _build_context(
        self, envelope: Envelope, destination: Destination, raw: bytes, origin: Origin
    ) -> Context:
        return Context(
            spool_id=SPOOL_ID,
            envelope=envelope,
            destination=destination,
            results=origin.attributes,
            raw_size=len(raw),
            is_ours=build_is_ours(self._config, self._routes),
            waited_seconds=0 if origin.received_at else None,
        )

    def _choose_paths(self, message: Message) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The forward-paths that routes know, and those asked for that no route knows."""
        most = (
            self._config.limits.recipients
        )  # of one mail: a session takes no more, and each is a contact to be made
        if self._recipients:
            known = tuple(path for path in self._recipients if self._routes.match(path))[:most]
            return known, tuple(path for path in self._recipients if not self._routes.match(path))[:most]
        named = dict.fromkeys(mailbox.address for mailbox in (*message.to, *message.cc))
        known = tuple(islice((address for address in named if self._routes.match(address)), most))
        return known or (_example_of(self._config.routes[0]),), ()

    def _explain_one(
        self,
        file: str,
        raw: bytes,
        message: Message,
        envelope: Envelope,
        destination: Destination,
        ruling: Ruling,
        origin: Origin,
    ) -> Explanation:
        route = self._routes.route(destination.route)
        assert route is not None
        rules = self._find_rules(route)
        handling = decide_handling(origin.attributes, rules)
        given = find_favours(origin.attributes, route)
        given |= {TAGS: " ".join(handling.tags)} if handling.tags else {}
        origin = replace(origin, attributes={**origin.attributes, **given})
        context = replace(
            self._build_context(envelope, destination, raw, origin), late_tags=list_late_tags(rules)
        )
        plan = fit(message, context, route, self._config)
        late = choose_handling(list_late(plan.classification, plan.risks, rules, sensitive=plan.sensitive))
        plan = replace(plan, contact_flow_id=handling.flow or late.flow or plan.contact_flow_id)
        stop = handling if handling.action != "accept" else late
        attached = [file for file in plan.files if file.attached]
        request = _build_request(plan, destination, envelope, raw)
        problems = check_request(
            request,
            max_attachments=self._config.connect.adopt(destination.instance_id).max_attachments,
            sizes=[file.size for file in attached],
        )
        return Explanation(
            file=file,
            destination=destination.address,
            route=route,
            message=message,
            plan=plan,
            request=request,
            disposition=ruling.disposition,
            reply=ruling.reply,
            reason=ruling.reason
            or (f"{stop.action}: {tell_rule(stop.rule)}" if stop.action != "accept" else ""),
            error="; ".join(problems) or None,
            identity=origin.identity,
        )


def _build_envelope(message: Message, paths: Sequence[str], origin: Origin) -> Envelope:
    return Envelope(
        reverse_path=origin.reverse_path if origin.is_sender_given else _guess_reverse_path(message),
        forward_paths=tuple(ForwardPath(address=path) for path in paths),
        peer=Peer(address=origin.peer, port=0, helo=origin.helo),
        received_at=origin.received_at or datetime.now(UTC),
    )


def _build_request(plan: Plan, destination: Destination, envelope: Envelope, raw: bytes) -> dict[str, Any]:
    """The arguments of the call, with URLs that lead nowhere."""
    likeness = Likeness(
        fingerprint=hashlib.sha256(raw).hexdigest(),
        instance_id=destination.instance_id,
        address=destination.address,
        route=destination.route,
        tag=destination.tag,
        sender=normalise_reverse_path(envelope.reverse_path),
    )
    urls = [_placeholder_url(file.key) for file in plan.files if file.attached]
    return build_request(plan, urls, client_token=build_token(likeness, salt=""))


def _guess_reverse_path(message: Message) -> str | None:
    """The reverse-path as the mail itself suggests it; "" where it does not."""
    trace = message.header("Return-Path")
    if trace is not None:
        return trace.strip().strip("<>").strip() or None
    return message.author[0].address if message.author else ""


def _example_of(route: Route) -> str:
    """An address that the first pattern of a route matches."""
    local, _, domain = route.match[0].rpartition("@")
    if route.destination and not local:
        return f"{route.destination.rpartition('@')[0]}@{domain}"
    return f"{local.rstrip('*') or 'desk'}@{domain}"


def _placeholder_url(key: str) -> str:
    """A useless URL, as long as a presigned one made with temporary credentials."""
    url = f"https://bucket.s3.eu-central-1.amazonaws.com/{key}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Security-Token="
    return url + "0" * (URL_LENGTH - len(url))
