"""The fit: a mail and its context in, one contact out that Connect will not refuse.

Owns the order in which the rules are applied; the rules stand in the modules beside it. Never does I/O beyond
reading the octets it was given, never raises on any message. Each change is recorded as an adaptation, and
every leaf of the mail is in the request, among the files, or in the original whose key the plan names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.addresses import Recipients, choose_author, fit_recipients
from relay.contact.attributes import build_attributes
from relay.contact.body import HTML, Body, make_body
from relay.contact.bounce import read_bounce, tell_bounce
from relay.contact.candidates import collect_bodies, collect_candidates
from relay.contact.captures import capture
from relay.contact.characters import count_utf8
from relay.contact.facts import read_facts
from relay.contact.files import Choice, Files, choose_files
from relay.contact.joined import lead_in
from relay.contact.limits import BODY_BYTES
from relay.contact.note import NOTE_LIMIT, append_note, build_note
from relay.contact.plan import Adaptation, Context, Plan
from relay.contact.promotion import promote
from relay.contact.risk.codes import name_codes
from relay.contact.risk.find import find_risks
from relay.contact.sensitive import look_for_words
from relay.contact.strip import strip_marks
from relay.contact.subject import fit_subject
from relay.contact.templates import collect_values, fill_attributes, fill_templates
from relay.contact.thread import fit_thread
from relay.contact.verdicts import find_verdicts
from relay.message.classify import classify
from relay.message.model import Message
from relay.vocabulary import Classification, Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """The body with its note, and the files beside it."""

    text: str
    body: Body
    files: Files
    changes: tuple[Adaptation, ...]


def fit(
    message: Message,
    context: Context,
    route: Route,
    config: Config,
    *,
    rung: Rung = Rung.FULL,
    refused: frozenset[str] = frozenset(),
) -> Plan:
    """The plan of a contact at the rung FULL, TRIMMED or TEXT; `refused` are the file names, or keys, that
    Connect named.

    At TRIMMED without any known name in `refused`, no file is attached. The same arguments give the same
    plan.
    """
    config = config.of_instance(context.destination.instance_id)
    message, context, redacted = look_for_words(message, context, route)
    keep_original = route.keep_original or config.s3.keep_original
    is_kept = keep_original != "never" and not redacted
    kept_key = f"{_folder(context, config)}original.eml" if is_kept else None
    message, stripped = strip_marks(message, context, route, config)
    subject, subject_changes = fit_subject(message.subject, plain=rung is Rung.TEXT)
    from_address, from_name, author_changes = choose_author(message, context, route, config, rung=rung)
    recipients = fit_recipients(message, context, config)
    classification = classify(message, null_reverse_path=context.envelope.reverse_path is None)
    bounce = read_bounce(message) if classification is Classification.BOUNCE else None
    headers, thread_changes = fit_thread(message, bounce)
    facts: tuple[str, ...] = ()
    left_out: tuple[Adaptation, ...] = ()
    if rung is Rung.TEXT:
        facts, left_out = _leave_out(recipients, context, has_headers=bool(headers))
        recipients, headers = Recipients(changes=recipients.changes), {}
    content = _fit_content(
        message,
        context,
        route,
        config,
        rung=rung,
        refused=refused,
        facts=facts,
        original_key=kept_key,
        lead=tell_bounce(bounce) if bounce is not None else "",
    )
    told = read_facts(message)
    captured = capture(message, route, config) if context.captured is None else context.captured
    values = collect_values(
        message,
        context,
        route,
        author=(from_address, from_name),
        subject=subject,
        classification=classification,
        facts=told,
        files=len(content.files.attached),
        captured=captured or {},
    )
    filled = fill_templates(values, route, config, rung=rung)
    changes = (
        *redacted,
        *stripped,
        *subject_changes,
        *author_changes,
        *recipients.changes,
        *thread_changes,
        *left_out,
    )
    changes += (*content.changes, *filled.changes)
    risks = find_risks(message, config, reverse_path=context.envelope.reverse_path)
    describe = partial(
        build_attributes,
        message,
        context,
        route,
        config,
        classification=classification,
        from_address=from_address,
        rung=rung,
        bounce=bounce,
        facts=told,
        given=None if rung.is_plain else (*fill_attributes(values, route, config), *(captured or {}).items()),
        risks=risks,
    )
    original_key = kept_key if changes or keep_original == "always" else None
    attributes, attribute_changes = describe(original_key=original_key, adaptations=changes)
    if attribute_changes:
        # The attributes name the adaptations, and cutting them is one: the second pass knows all.
        original_key = kept_key
        attributes, attribute_changes = describe(
            original_key=original_key, adaptations=(*changes, *attribute_changes)
        )
    return Plan(
        rung=rung,
        instance_id=context.destination.instance_id,
        destination=context.destination.address,
        from_address=from_address,
        from_name=from_name,
        subject=subject,
        body=content.text,
        content_type=content.body.content_type,
        headers={**headers, **find_verdicts(context, config)},
        to=recipients.to,
        cc=recipients.cc,
        files=content.files.all,
        original_key=original_key,
        attributes=attributes,
        name=filled.name,
        description=filled.description,
        references=filled.references,
        segments=filled.segments,
        captured=captured,
        contact_flow_id=route.contact_flow_id,
        related_contact_id=None if rung is Rung.TEXT else context.related_contact_id,
        classification=classification,
        risks=name_codes(risks),
        sensitive=context.sensitive,
        adaptations=(*changes, *attribute_changes),
    )


def _folder(context: Context, config: Config) -> str:
    return f"{config.s3.prefix}{context.spool_id}/"


def _leave_out(
    recipients: Recipients, context: Context, *, has_headers: bool
) -> tuple[tuple[str, ...], tuple[Adaptation, ...]]:
    """The recipients and the thread as lines of the note (the rung `text` sends no fields of them), and the
    adaptations.
    """
    facts = tuple(
        f"{field}: {', '.join(address for address, _ in pairs)}"
        for field, pairs in (("To", recipients.to), ("Cc", recipients.cc))
        if pairs
    )
    codes = []
    if facts:
        codes.append(Code.RECIPIENTS_LEFT_OUT)
    if has_headers or context.related_contact_id:
        codes.append(Code.THREAD_LEFT_OUT)
    return facts, tuple(Adaptation(code=code, detail=code.sentence) for code in codes)


def _fit_content(
    message: Message,
    context: Context,
    route: Route,
    config: Config,
    *,
    rung: Rung,
    refused: frozenset[str],
    facts: tuple[str, ...],
    original_key: str | None,
    lead: str,
) -> _Content:
    """The body, note and files, which share the body's limit and the contact's; `lead` stands before the
    body's text.

    The first pass leaves no room for a note, so that a body which just fits is not cut; only when there is a
    note and it does not fit, the second leaves room.
    """
    candidates = collect_candidates(message)
    promotion = promote(message)
    message = promotion.message
    top = tuple(one.number for one in candidates if one.parent is None)
    for reserve in (0, NOTE_LIMIT):
        body = make_body(message, route, config, rung=rung, limit=BODY_BYTES - reserve - 2 * count_utf8(lead))
        if lead:
            body = _begin(body, lead)
        kept = collect_bodies(message, body.kept, count=len(candidates), most_bytes=config.max_message_bytes)
        size = count_utf8(body.text)
        room = config.connect.max_total_bytes - size - reserve
        choice = Choice(
            config=config,
            folder=_folder(context, config),
            rung=rung,
            refused=refused,
            inlined=frozenset(
                top[index] for index in body.inlined | (frozenset() if body.kept else promotion.spent)
            ),
            shown=frozenset(top[index] for index in body.shown),
            room=room,
        )
        files = choose_files((*candidates, *kept), choice)
        lines = build_note(
            files.left, facts=(*facts, *_tell_cut(body), *_tell_inside(files)), original_key=original_key
        )
        text, note_changes = append_note(body, lines)
        size = size if text is body.text else count_utf8(text)
        total = size + sum(file.size for file in files.attached)
        if size <= BODY_BYTES and total <= max(config.connect.max_total_bytes, size):
            break
    return _Content(
        text=text,
        body=body,
        files=files,
        changes=(*promotion.changes, *body.changes, *files.changes, *note_changes),
    )


def _begin(body: Body, lead: str) -> Body:
    """The body with a line before its text."""
    change = Adaptation(code=Code.BODY_BOUNCE, detail=Code.BODY_BOUNCE.sentence, after=lead)
    text = lead_in(body.text, lead, html=body.content_type == HTML)
    return replace(body, text=text, changes=(*body.changes, change))


def _tell_inside(files: Files) -> tuple[str, ...]:
    """The line of the note about files that are kept in the messages or containers that hold them."""
    if not files.inside:
        return ()
    count = f"{files.inside:,} of the files" if files.inside > 1 else "One of the files"
    return (f"{count} inside attached messages or containers: kept only there.",)


def _tell_cut(body: Body) -> tuple[str, ...]:
    """The line of the note that says that the agent does not see the mail's body whole."""
    if not body.kept:
        return ()
    return ("This mail's body is larger than a contact can show; the whole of it is kept in a file.",)
