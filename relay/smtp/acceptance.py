"""Acceptance: a whole mail and its transaction in; a submission for the spool out, or the reply that refuses
the mail.

Owns the decisions between the last octet and the commit (loops, repairs, the trace header), and the reply
that each outcome of the spool means. `transfer` says when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from relay import replies, telemetry
from relay.auth.signed import SignedMailReader
from relay.config.model import Route
from relay.envelope import Destination, Envelope, Peer, SpoolId
from relay.errors import SpoolError, SpoolFullError, SpoolSickError
from relay.message.author import find_author, find_author_fields
from relay.message.headers import FieldFinder, header_block
from relay.message.hops import Hops, find_hops
from relay.message.identifiers import find_message_id, find_references
from relay.policy.decide import Facts, Verdict, decide, decide_inside, disposition_of
from relay.policy.lists import find_sender_domain
from relay.policy.origin import OriginVerdict, decide_wire, find_rules, list_met, refuses, tell_rule
from relay.smtp.content import Content
from relay.smtp.filetypes import strict_routes
from relay.smtp.findings import find_findings, find_first
from relay.smtp.received import build_missing, build_received
from relay.smtp.transaction import Transaction
from relay.spool.feed import Refusal
from relay.spool.interface import Intake
from relay.spool.model import PolicyHold, Receipt, Submission
from relay.timing import utc_now
from relay.vocabulary import Disposition, Reply

#: A look at a mail that we take, just before the commit: the submission, perhaps with more than it had, or
#: the reply that refuses it after all.
Check = Callable[[Submission], Awaitable[Submission | Reply]]


@dataclass(slots=True, kw_only=True)
class Acceptance:
    """The decisions on one mail on its way in, from the beginning of its data."""

    transaction: Transaction
    peer: Peer
    received_at: datetime
    message_id: str | None = None
    references: tuple[str, ...] = ()
    author: str | None = None
    #: The bodies of all From fields, where lists are asked about authors.
    author_fields: tuple[bytes, ...] = ()
    hops: Hops | None = None
    trace_size: int = 0
    #: The reader of the signatures that the mail carries; None where its origin is not checked.
    signed: SignedMailReader | None = None
    #: The results of the checks of its origin and of its scanners, as the spool keeps them; None where
    #: nobody was asked.
    results: Mapping[str, str] | None = None
    repairs: tuple[str, ...] = ()
    #: Set when some routes of this mail hold it for a person, while others take it.
    held: bool = False
    #: When the commit began, where spans are exported.
    put_at: int | None = None
    #: With LMTP the forward-paths that are refused while others are taken, each with its reply.
    refused: dict[str, Reply] = field(default_factory=dict)
    _header: FieldFinder | None = None
    _prefix: bytes | None = None
    _envelope: Envelope | None = None
    _destinations: tuple[Destination, ...] | None = None

    def prefix(self, head: bytes) -> bytes:
        """Our own trace header, and on trusted listeners the fields that the mail's header lacks. A second
        call changes nothing.
        """
        if self._prefix is not None:
            return self._prefix
        settings, spool_id = self.transaction.settings, self.transaction.spool_id
        trace = build_received(self.envelope(), hostname=settings.hostname, spool_id=spool_id)
        found = self._header or self.count_hops(head)
        self._header = None  # the header of each mail is looked at once, and not kept
        self.message_id = find_message_id(found)
        self.references = find_references(found)
        self.author = find_author(found)
        if settings.lists is not None:
            self.author_fields = find_author_fields(found)
        if settings.trusted:
            fields, self.repairs = build_missing(
                found,
                message_id=self.message_id,
                hostname=settings.hostname,
                spool_id=spool_id,
                now=self.received_at,
            )
            trace += fields
            self.transaction.repairs.update(self.repairs)
            self._envelope = None
        self.trace_size = len(trace)
        self._prefix = trace
        return trace

    def count_hops(self, head: bytes) -> FieldFinder:
        """Count the mail's Received fields. Returns its header, in which `prefix` looks further."""
        settings = self.transaction.settings
        found = FieldFinder(header_block(head))
        self._header = found
        self.hops = find_hops(found, hostname=settings.hostname, most=settings.limits.hops + 1)
        return found

    def repaired(self, word: str) -> None:
        """Note a repair that a trusted listener made."""
        self.transaction.repairs.add(word)
        self._envelope = None

    def refuse(self, destination: Destination, reply: Reply) -> None:
        """Refuse the forward-paths of one destination, while others are taken."""
        self.refused.update(dict.fromkeys(destination.forward_paths, reply))

    def envelope(self) -> Envelope:
        """The envelope as it stands."""
        if self._envelope is None:
            self._envelope = self.transaction.envelope(self.peer, received_at=self.received_at)
        return self._envelope

    def destinations(self) -> tuple[Destination, ...]:
        """The destinations of the mail."""
        if self._destinations is None:
            paths = [path.address for path in self.envelope().forward_paths]
            self._destinations = self.transaction.settings.routes.destinations(paths)
        return self._destinations

    def is_examined(self) -> bool:
        """Returns whether `take_in` examines the mail before its commit and waits for more than the spool."""
        settings = self.transaction.settings
        asks = self.signed is not None or settings.scanners is not None or settings.lists is not None
        return asks or (settings.looks_inside and bool(self.strict_routes()))

    def strict_routes(self) -> list[Route]:
        """The routes among those of the mail that refuse files before the 250."""
        if not self.transaction.settings.looks_inside:
            return []
        return strict_routes(self.destinations(), self.transaction.settings.routes)


def begin_acceptance(transaction: Transaction, peer: Peer) -> Acceptance:
    """The acceptance of a mail whose data begins now."""
    signed = SignedMailReader() if transaction.settings.identity is not None else None
    return Acceptance(transaction=transaction, peer=peer, received_at=utc_now(), signed=signed)


def complete(
    acceptance: Acceptance, content: Content, *, trim: int, arrived_at: datetime | None
) -> Submission | Reply:
    """The whole mail as a submission for the spool, or the reply that refuses the mail.

    `trim` octets of end-of-data are taken off a mail in memory. A mail that was moved to its file has its
    last block already. `arrived_at` is the instant of its end, by the spool's clock.
    """
    transaction = acceptance.transaction
    if not content.moved:
        content.finish(trim=trim)
    if content.failed and content.fault is not None:
        return content.fault
    settings = transaction.settings
    if acceptance.hops is None:
        acceptance.count_hops(content.head)
    assert acceptance.hops is not None
    verdict = decide(Facts(content.octets, acceptance.hops), settings.terms)
    if verdict.reply is not None:
        return verdict.reply
    whole = content.file or content.join(acceptance.prefix(content.head))
    if content.repaired:
        acceptance.repaired("bare-lf")
    return Submission(
        spool_id=transaction.spool_id,
        envelope=acceptance.envelope(),
        destinations=acceptance.destinations(),
        raw=whole,
        size=content.size + acceptance.trace_size,
        trace_size=acceptance.trace_size,
        fingerprint=content.fingerprint,
        message_id=acceptance.message_id,
        references=acceptance.references,
        arrived_at=arrived_at,
        author=acceptance.author,
    )


def prepare(acceptance: Acceptance, content: Content, *, trim: int) -> None:
    """Take up a whole mail that is in memory and look at its header, so that `complete` finds both done.
    Blocks.
    """
    content.finish(trim=trim)
    if not content.failed:
        acceptance.prefix(content.head)


def store_block(acceptance: Acceptance, content: Content, parts: list[bytes], *, trim: int = -1) -> None:
    """Move a block of a large mail to its file. With `trim` it is the last block, so many octets of which
    are end-of-data. Blocks.
    """
    block = content.take_up(parts) if trim < 0 else content.take_up_last(parts, trim)
    first = content.file is None and content.fault is None
    content.write(block, prefix=acceptance.prefix(content.head) if first else b"")


async def receive(
    acceptance: Acceptance,
    content: Content,
    *,
    trim: int,
    intake: Intake,
    is_examined: bool,
    check: Check | None = None,
) -> Receipt | Reply:
    """The receipt of the spool for a whole mail, or the reply that refuses the mail. It may be examined
    before (`take_in`).

    Raises:
        SpoolError: the spool has not taken the mail.
    """
    offered = complete(acceptance, content, trim=trim, arrived_at=intake.now())
    if isinstance(offered, Reply):
        return offered
    if is_examined:
        return await take_in(acceptance, offered, intake=intake, check=check)
    acceptance.put_at = telemetry.span_instant()
    return await intake.begin_put(offered)


async def take_in(
    acceptance: Acceptance, offered: Submission, *, intake: Intake, check: Check | None = None
) -> Receipt | Reply:
    """Examine a mail that is whole, and commit it. Returns the receipt, or the reply that refuses the mail.

    This is the place of everything that is found out about a whole mail while its peer waits for the
    reply, proofs of its author among it; `check` is that of the operator's handlers. Each step is named in
    `Acceptance.is_examined` (or, as `check`, in `Transfer.end`), so that it runs in a task. It keeps a
    deadline of its own, and reads the octets by `offered.raw` or as an observer of `Content`, never by a
    copy. It gives a reply, or the submission with what it has found (`results`, `holds`).

    Raises:
        SpoolError: the spool has not taken the mail.
    """
    settings = acceptance.transaction.settings
    if strict := acceptance.strict_routes():
        refused = await settings.look.find_refused(offered.raw, strict, settings.config)
        routes = tuple(destination.route for destination in offered.destinations)
        verdict = decide_inside(routes, refused.files, refused.words, settings.terms)
        if verdict.reply is not None:
            for destination in offered.destinations if settings.lmtp else ():
                acceptance.refuse(destination, verdict.refused[destination.route].reply)
            return verdict.reply
        offered = _spare(acceptance, offered, verdict)
    findings = await find_findings(
        settings, offered, signed=acceptance.signed, author_fields=acceptance.author_fields
    )
    if findings:
        acceptance.results = findings
        refusal = _judge_origin(acceptance, offered, findings)
        if refusal.reply is not None:
            if settings.lmtp:
                _refuse_each(acceptance, offered, refusal)
            return refusal.reply
        offered = _spare_origin(acceptance, offered._replace(results=findings), refusal)
        offered = offered._replace(first=find_first(settings, offered))
    if check is not None:
        checked = await check(offered)
        if isinstance(checked, Reply):
            return checked
        offered = checked
    acceptance.put_at = telemetry.span_instant()
    return await intake.begin_put(offered)


def _spare(acceptance: Acceptance, offered: Submission, verdict: Verdict) -> Submission:
    """The submission for the routes that take the mail. Other routes hold it for a person, or with LMTP
    refuse it.
    """
    if verdict.held:
        acceptance.held = True
        holds = tuple(
            PolicyHold(route=name, reason=objection.hold, detail=objection.told)
            for name, objection in verdict.held.items()
        )
        return offered._replace(holds=holds)
    if not verdict.refused:
        return offered
    for destination in offered.destinations:
        if (objection := verdict.refused.get(destination.route)) is not None:
            acceptance.refuse(destination, objection.reply)
    taken = tuple(one for one in offered.destinations if one.route not in verdict.refused)
    return offered._replace(destinations=taken)


def _judge_origin(acceptance: Acceptance, offered: Submission, findings: Mapping[str, str]) -> OriginVerdict:
    """The verdict on the mail by the results of the checks of its origin and of its scanners. Each rule is
    told that a mail meets, with what becomes of the mail: a refusal for one of several routes holds it.
    """
    settings = acceptance.transaction.settings
    met = {
        name: list_met(
            findings, find_rules(settings.config, settings.routes.route(name), listener=settings.bind)
        )
        for name in dict.fromkeys(destination.route for destination in offered.destinations)
    }
    refusing = {hold.route for hold in offered.holds}
    verdict = decide_wire(met, refusing=refusing, replies_each=settings.lmtp)
    domain = find_sender_domain(acceptance.author, offered.envelope.reverse_path)
    for name, step in ((name, step) for name, steps in met.items() for step in steps):
        is_held = name in verdict.held and refuses(step.action) and not step.observe
        telemetry.policy_met(
            spool_id=offered.spool_id,
            route=name,
            rule=step.rule,
            action="hold" if is_held else step.action,
            observe=step.observe,
            domain=domain,
        )
        if step.action == "reject" and not is_held and not step.observe:
            _note_refusal(offered, name, step.rule)
    return verdict


def _note_refusal(offered: Submission, route: str, rule: str) -> None:
    """Tell the feed of events of a mail that a rule refuses for a route."""
    at = offered.arrived_at or offered.envelope.received_at
    instance_id = next(each.instance_id for each in offered.destinations if each.route == route)
    telemetry.note_refusal(Refusal(at, offered.spool_id, route, instance_id, f"policy.{rule}"))


def _spare_origin(acceptance: Acceptance, offered: Submission, verdict: OriginVerdict) -> Submission:
    """The submission for the routes that take the mail, as `_spare` gives it for files."""
    held = tuple(
        PolicyHold(route=route, reason=f"policy.{rule}", detail=f"{tell_rule(rule)}; other recipients get it")
        for route, rule in verdict.held.items()
        if route not in {hold.route for hold in offered.holds}
    )
    acceptance.held = acceptance.held or bool(held)
    _refuse_each(acceptance, offered, verdict)
    taken = tuple(one for one in offered.destinations if one.route not in verdict.refused)
    return offered._replace(holds=(*offered.holds, *held), destinations=taken)


def _refuse_each(acceptance: Acceptance, offered: Submission, verdict: OriginVerdict) -> None:
    """Note the reply of each recipient that is refused, which only LMTP can say."""
    for destination in offered.destinations:
        if (reply := verdict.refused.get(destination.route)) is not None:
            acceptance.refuse(destination, reply)


def reply_to(error: SpoolError) -> Reply:
    """The reply to a peer whose mail the spool has not taken."""
    if isinstance(error, SpoolFullError):
        return replies.NO_ROOM
    # Any other error concerns this mail alone, and not the disk.
    return replies.NOT_STORED if isinstance(error, SpoolSickError) else replies.LOCAL_ERROR


def find_disposition(mail: Acceptance | None, reply: Reply, *, duplicate: bool) -> Disposition:
    """The disposition of a mail whose peer got this reply."""
    held = mail is not None and mail.held and reply.positive and not duplicate
    return Disposition.QUARANTINE if held else disposition_of(reply)


def log_end(
    transaction: Transaction,
    peer: Peer,
    reply: Reply,
    *,
    now: float,
    mail: Acceptance | None = None,
    size: int = 0,
    spool_id: SpoolId | None = None,
    duplicate: bool = False,
) -> None:
    """Log the one line of a transaction; `mail` and its size are given where there was data."""
    telemetry.transaction_ended(
        disposition=find_disposition(mail, reply, duplicate=duplicate),
        reply=reply,
        spool_id=spool_id or transaction.spool_id,
        message_id=mail.message_id if mail is not None else None,
        reverse_path=transaction.reverse_path,
        destinations=[each.address for each in mail.destinations()] if mail is not None else [],
        peer=peer.address,
        helo=peer.helo,
        protocol=peer.protocol,
        tls=peer.tls,
        size=size,
        seconds=now - transaction.started_at,
        duplicate=duplicate,
        repairs=sorted(transaction.repairs) if transaction.repairs else (),
        results=mail.results if mail is not None else None,
        author=mail.author if mail is not None else None,
    )
