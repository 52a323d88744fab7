"""The last rung of the ladder: a contact for a mail that could not be understood, or that Connect refused
otherwise.

Owns the words of such a contact and its one file. Total: whatever the octets are, the plan is one that
Connect takes (`relay.aws.request_limits.check_request`). Never does I/O beyond reading the octets it was
given, never asks the parser.
"""

from __future__ import annotations

import hashlib
from datetime import UTC
from functools import partial

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.addresses import choose_author
from relay.contact.attributes import build_attributes
from relay.contact.characters import clean_line, count_utf8, cut_utf8, is_blank, strip_invisible
from relay.contact.note import count_bytes
from relay.contact.plan import Adaptation, Context, Plan, PlannedFile
from relay.contact.risk.find import find_risks
from relay.contact.sensitive import look_for_words
from relay.contact.subject import fit_subject
from relay.contact.thread import fit_thread
from relay.contact.verdicts import find_verdicts
from relay.message.classify import classify
from relay.message.glimpse import glimpse_message
from relay.message.model import Message
from relay.message.octets import Buffer, cut_octets
from relay.vocabulary import Cause, Classification, Rung

FILE_NAME = "original.txt"
#: UTF-8 bytes of the mail's words that the body shows, and of one line about the mail.
_TEXT_BYTES = 65_536
_LINE_BYTES = 1_000


def fit_original(
    raw: Buffer, context: Context, route: Route, config: Config, *, why: Cause, attach: bool = True
) -> Plan:
    """The plan of a contact for any octets; without its file where `attach` is False.

    The same arguments give the same plan.
    """
    config = config.of_instance(context.destination.instance_id)
    try:
        message, context, _ = look_for_words(glimpse_message(raw), context, route)
        return _fit(raw, message, context, route, config, why=why, attach=attach)
    except Exception:  # noqa: BLE001 - the last rung takes any mail: this one without a word of its header
        return _fit(raw, Message(), context, route, config, why=why, attach=attach)


def _fit(
    raw: Buffer, message: Message, context: Context, route: Route, config: Config, *, why: Cause, attach: bool
) -> Plan:
    folder = f"{config.s3.prefix}{context.spool_id}/"
    # What nobody could read cannot be redacted either: it stays where it is.
    original_key = None if route.sensitive.redacts else f"{folder}original.eml"
    change = Adaptation(
        code=Code.MESSAGE_NOT_UNDERSTOOD, detail=f"{Code.MESSAGE_NOT_UNDERSTOOD.sentence} ({why})"
    )
    subject, subject_changes = fit_subject(message.subject, plain=True)
    from_address, from_name, author_changes = choose_author(
        message, context, route, config, rung=Rung.ORIGINAL
    )
    headers, thread_changes = fit_thread(message)
    classification = _classify(message, context)
    problem = _cannot_attach(len(raw), config) if attach else "it was refused with this contact"
    if original_key is None:
        problem = "it may have card numbers, which this route does not pass on"
    body = _build_body(message, context, why, _tell_original(len(raw), original_key, problem))
    if not problem and len(raw) + count_utf8(body) > config.connect.max_total_bytes:
        problem = "it is too large to be attached"
        body = _build_body(message, context, why, _tell_original(len(raw), original_key, problem))
    changes = (change, *subject_changes, *author_changes, *thread_changes)
    attributes, attribute_changes = build_attributes(
        message,
        context,
        route,
        config,
        classification=classification,
        original_key=original_key,
        from_address=from_address,
        adaptations=changes,
        rung=Rung.ORIGINAL,
        risks=find_risks(message, config, reverse_path=context.envelope.reverse_path),
    )
    return Plan(
        rung=Rung.ORIGINAL,
        instance_id=context.destination.instance_id,
        destination=context.destination.address,
        from_address=from_address,
        from_name=from_name,
        subject=subject,
        body=body,
        content_type="text/plain",
        headers={**headers, **find_verdicts(context, config)},
        to=(),
        cc=(),
        files=() if problem else (_plan_file(raw, f"{folder}o"),),
        original_key=original_key,
        attributes=attributes,
        contact_flow_id=route.contact_flow_id,
        classification=classification,
        sensitive=context.sensitive,
        adaptations=(*changes, *attribute_changes),
    )


def _classify(message: Message, context: Context) -> Classification:
    """The class of the mail by its header; `human` where the classifier fails on it."""
    try:
        return classify(message, null_reverse_path=context.envelope.reverse_path is None)
    except Exception:  # noqa: BLE001 - see `fit_original`
        return Classification.HUMAN


def _cannot_attach(size: int, config: Config) -> str:
    """The reason why the whole mail cannot be a file beside the contact; "" when it can."""
    limits = config.connect
    if size == 0:
        return "it has no octets"
    if size > limits.max_attachment_bytes:
        return "it is too large to be attached"
    if limits.max_attachments == 0 or "txt" not in limits.allowed_extensions:
        return "files like it are not passed on"
    return ""


def _tell_original(size: int, key: str | None, problem: str) -> str:
    """The line that says where the whole mail is."""
    if key is None:
        return f"The whole mail as it was received ({count_bytes(size)}) is not kept: {problem}."
    if problem:
        return f"The whole mail as it was received ({count_bytes(size)}) is kept as {key}; {problem}."
    return f"The whole mail as it was received is attached as {FILE_NAME}, and kept as {key}."


def _build_body(message: Message, context: Context, why: Cause, original: str) -> str:
    """The body: the cause, who sent the mail and when, where all of it is, and the words that can be read of
    it.
    """
    envelope = context.envelope
    author = message.author[0] if message.author else None
    facts = (
        (
            "From",
            f"{author.name} <{author.address}>" if author and author.name else author and author.address,
        ),
        ("Sent by", envelope.reverse_path or "the null reverse-path <>"),
        ("Received", f"{envelope.received_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ("Received for", ", ".join(context.destination.forward_paths)),
        ("Date", message.header("date")),
        ("To", ", ".join(one.address for one in message.to)),
        ("Cc", ", ".join(one.address for one in message.cc)),
        ("Subject", message.subject),
    )
    lines = [f"{name}: {_line(value)}" for name, value in facts if value]
    text = strip_invisible(message.text).strip("\n")
    shown = "(no text of it can be read)" if is_blank(text) else cut_utf8(text, _TEXT_BYTES)
    intro = (
        f"This mail could not be shown as usual: {why.sentence} Its text follows as far as it can be read."
    )
    return "\n".join((intro, original, "", *lines, "", "-" * 40, "", shown, ""))


def _line(text: str) -> str:
    return cut_utf8(clean_line(strip_invisible(text)), _LINE_BYTES)


def _plan_file(raw: Buffer, key: str) -> PlannedFile:
    digest = hashlib.sha256()
    for piece in cut_octets(raw):
        digest.update(piece)
    return PlannedFile(
        name=FILE_NAME,
        content_type="text/plain",
        size=len(raw),
        sha256=digest.hexdigest(),
        key=key,
        attached=True,
        chunks=partial(cut_octets, raw),
    )
