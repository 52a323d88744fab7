"""The bounce of an agent's reply: who did not get it and why, and the ids of the reply that came back.

Owns the reading of reports and of the plain words of old gateways, and the sentence that an agent reads.
Never decides a policy: anybody can write such a report. Never does I/O beyond reading the parts. Follows RFC
3464 (fields), RFC 3463 and the registry of RFC 5248 (codes), RFC 6522 (the message that came back); the forms
of Exim, Exchange, qmail and Notes stand in where there is no report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from relay.contact.characters import clean_line, cut_utf16
from relay.contact.html_text import make_text
from relay.message.addresses import parse_addresses
from relay.message.bodies import part_text
from relay.message.headers import parse_header
from relay.message.identifiers import parse_identifiers, parse_message_id
from relay.message.model import Message, Part
from relay.message.octets import whole
from relay.message.words import header_text

#: Octets of a report (one on a thousand recipients has less), of its words, and of a header that came back.
_REPORT_BYTES = 256 << 10
_TEXT = 64 << 10
_HEADER_BYTES = 64 << 10
_MOST_RECIPIENTS = 50
#: Characters of a diagnostic: RFC 5321 §4.5.3.1.5 allows a reply line 512 octets.
_DIAGNOSTIC = 512

_REPORTS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_HEADERS = frozenset({"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"})
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(
    r"^[^\n]{0,200}?(?<![\d.])([45]\d\d(?:[ -]|: )(?:[45]\.\d{1,3}\.\d{1,3}\b)?[^\n]{1,512})", re.MULTILINE
)
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}"
#: "<ann@example.com>:" of qmail and Postfix.
_ANGLED_LINE = re.compile(rf"^[ \t]{{0,8}}<({_ADDRESS})>(?::|[ \t]{{0,4}}$|[ \t]*\()", re.MULTILINE)
#: The words before the address in the plain bounces of Exim, Exchange, GroupWise, Notes and Gmail.
_BEFORE = re.compile(
    r"delivery (?:has failed )?to (?:these|the following) recipients?|did not reach the following recipient|"
    r"could not be delivered to|following address(?:es)?(?:\(es\))? failed|undeliverable to|not delivered to|"
    r"wasn't delivered to|(?:has|have) not (?:yet )?been delivered (?:is|are)\b|failed recipient|recipients? or groups|unable to deliver",
    re.IGNORECASE,
)
_ANY_ADDRESS = re.compile(rf"(?<![\w.@+-])({_ADDRESS})")
#: The ids of the reply where a plain bounce quotes its header.
_QUOTED_ID = re.compile(
    r"^[> \t]{0,8}(message-id|in-reply-to|references):[ \t]*([^\n]{1,2000}(?:\n[> \t]{1,8}<[^\n]{1,2000}){0,40})",
    re.IGNORECASE | re.MULTILINE,
)
_OF_A_SERVER = re.compile(r"(?:mailer-daemon|postmaster|abuse|support|helpdesk)@", re.IGNORECASE)
#: The reason in the plain bounces of Notes and of Exim's warnings.
_BECAUSE = re.compile(
    r"^[ \t]*(?:because|delay reason|reason):\s{0,20}([^\n]{1,512})", re.IGNORECASE | re.MULTILINE
)
_FAILS = re.compile(
    r"unknown|not recogni[sz]ed|not found|not listed|no such|does ?n[o\u2019']t exist|invalid|disabled|full|quota|exceeded|"
    r"refused|rejected|blocked|denied|unable|timed out|not (?:be )?(?:accept|deliver)|undeliverable|unbekannt|inconnu",
    re.IGNORECASE,
)
_FOLD = re.compile(r"\n[ \t]+")
_DELAYED = re.compile(r"delay|warning|still being retried|not yet been delivered|verzöger", re.IGNORECASE)
#: RFC 3463 §3 and the registry of RFC 5248: a detail in words, else the subject it belongs to.
_WORDS = {
    "1.1": "user unknown", "1.2": "domain unknown", "1.3": "the address is malformed", "1.6": "the mailbox has moved",
    "1.10": "user unknown", "2.1": "the mailbox is disabled", "2.2": "the mailbox is full",
    "2.3": "the mail is too large for the mailbox", "3.4": "the mail is too large", "4.1": "the server does not answer",
    "4.4": "the domain's server cannot be found", "4.6": "the mail went round in a loop", "4.7": "tried for too long",
    "7.1": "refused by the recipient's server", "1": "a problem with the address", "2": "a problem with the mailbox",
    "3": "a problem of the recipient's mail system", "4": "a problem of the network or of routing",
    "5": "a problem of the protocol", "6": "a problem with the content", "7": "refused for reasons of policy",
}  # fmt: skip
_TELL = {
    "delayed": "has not been delivered yet",
    "delivered": "was delivered",
    "relayed": "was passed on to a server that confirms nothing",
    "expanded": "was passed on to several recipients",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """A bounce as far as it can be read; "" for what it does not say."""

    #: Those that the report is about, the first being the one that status, action and diagnostic speak of.
    recipients: tuple[str, ...] = ()
    #: The enhanced status code (RFC 3463): "5.1.1".
    status: str = ""
    #: failed, delayed, delivered, relayed or expanded (RFC 3464 §2.3.3).
    action: str = "failed"
    diagnostic: str = ""
    #: The reply's own ids, for the thread that the bounce belongs to.
    message_id: str | None = None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


def read_bounce(message: Message) -> Bounce:
    """The bounce that a mail of that class is."""
    text = _plain_text(message)
    groups = [group for part in islice(_parts(message, _REPORTS), 5) for group in _read_report(part)]
    about = [group for group in groups if "final-recipient" in group or "original-recipient" in group]
    about.sort(key=lambda group: group.get("action", "failed").strip().lower() != "failed")
    ids = _read_ids(message, text)
    # The quoted words of the reply below tell of other people.
    quoted = _QUOTED_ID.search(text)
    text = text if quoted is None else text[: quoted.start()]
    if about:
        return _from_report(about, ids, text)
    failed = parse_addresses(message.header("x-failed-recipients") or "")[:_MOST_RECIPIENTS]
    recipients = tuple(box.address for box in failed if "@" in box.address) or _find_recipients(text)
    if not recipients and (near := _find_stranger(message, text)):
        recipients = (near,)
    reply = _REPLY.search(text)
    diagnostic = clean_line(reply[1]) if reply is not None else ""
    status = _STATUS.search(diagnostic) or _STATUS.search(text)
    if status is not None and not diagnostic:
        diagnostic = clean_line(text[text.rfind("\n", 0, status.start()) + 1 : text.find("\n", status.end())])
    diagnostic = diagnostic or _find_reason(text, recipients)
    action = "delayed" if status is None and _DELAYED.search(message.subject) else "failed"
    if status is not None and status[1].startswith("4") and _DELAYED.search(message.subject):
        action = "delayed"
    return Bounce(
        recipients=recipients,
        status=status[1] if status is not None else "",
        action=action,
        diagnostic=cut_utf16(diagnostic, _DIAGNOSTIC),
        message_id=ids[0],
        in_reply_to=ids[1],
        references=ids[2],
    )


def tell_bounce(bounce: Bounce) -> str:
    """The sentence that an agent reads first: "Your reply to ann@example.com was not delivered: 5.1.1, user
    unknown".
    """
    names = ", ".join(bounce.recipients[:3]) + (", …" if len(bounce.recipients) > 3 else "")
    told = _TELL.get(bounce.action, "was not delivered")
    klass, _, detail = bounce.status.partition(".")
    words = _WORDS.get(detail) or _WORDS.get(detail.partition(".")[0]) or ""
    if not words or klass == "2":
        words = cut_utf16(bounce.diagnostic, 200) if klass != "2" else ""
    reason = ", ".join(filter(None, (bounce.status, words)))
    return f"Your reply{' to ' + names if names else ''} {told}{': ' + reason if reason else ''}"


def _plain_text(message: Message) -> str:
    text = message.text[:_TEXT]
    return text if text.strip() else make_text(message.html[:_TEXT])


def _parts(message: Message, types: frozenset[str]) -> Iterator[Part]:
    return (part for part in message.parts if part.content_type in types)


def _read_report(part: Part) -> Iterator[dict[str, str]]:
    """The groups of fields of a report (RFC 3464 §2.1), names in lower case."""
    text = part_text(part, _REPORT_BYTES, detecting=False)
    for group in islice(re.split(r"\n[ \t]*\n", text), _MOST_RECIPIENTS):
        fields: dict[str, str] = {}
        for line in _FOLD.sub(" ", group).split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip().lower(), value.strip())
        yield fields


def _from_report(
    about: Sequence[dict[str, str]], ids: tuple[str | None, tuple[str, ...], tuple[str, ...]], text: str
) -> Bounce:
    first = about[0]
    action = first.get("action", "").strip().lower().partition(" ")[0]
    same = [group for group in about if group.get("action", "").strip().lower().startswith(action)]
    diagnostic = _value(first.get("diagnostic-code", ""))
    found = _STATUS.search(first.get("status", "")) or _STATUS.search(diagnostic)
    if not diagnostic and (reply := _REPLY.search(text)) is not None:
        diagnostic = clean_line(reply[1])
    return Bounce(
        recipients=tuple(dict.fromkeys(filter(None, map(_recipient, same)))),
        status=found[1] if found is not None else "",
        action=action if action in _TELL else "failed",
        diagnostic=cut_utf16(diagnostic, _DIAGNOSTIC),
        message_id=ids[0],
        in_reply_to=ids[1],
        references=ids[2],
    )


def _recipient(group: dict[str, str]) -> str:
    """The address that the reply was written to, else the one that it ended at."""
    for name in ("original-recipient", "final-recipient"):
        boxes = parse_addresses(_value(group.get(name, ""))[:1_000])
        if boxes and "@" in boxes[0].address:
            return boxes[0].address
    return ""


def _value(field: str) -> str:
    """The value of a typed field (`rfc822; ann@example.com`), on one line."""
    kind, semicolon, value = field.partition(";")
    typed = semicolon and re.fullmatch(r"\s*[A-Za-z0-9-]{1,40}\s*", kind) is not None
    return clean_line(header_text((value if typed else field).encode("utf-8", "replace"))[0])


def _find_recipients(text: str) -> tuple[str, ...]:
    """The addresses that the words of a plain bounce speak of."""
    found = [one[1] for one in islice(_ANGLED_LINE.finditer(text), _MOST_RECIPIENTS)]
    if not found:
        before = _BEFORE.search(text)
        near = _ANY_ADDRESS.search(text, before.end()) if before is not None else None
        found = [near[1]] if near is not None else []
    return tuple(dict.fromkeys(address.rstrip(".") for address in found))


def _find_stranger(message: Message, text: str) -> str:
    """The first address in the words of a bounce that is neither its writer's nor ours, to
    whom it was sent: the recipient, in a language that we do not know. Returns "" if there is none.
    """
    known = {box.address.lower() for box in (*message.author, *message.to)}
    found = (one[1].rstrip(".") for one in islice(_ANY_ADDRESS.finditer(text), _MOST_RECIPIENTS))
    return next((one for one in found if one.lower() not in known and not _OF_A_SERVER.match(one)), "")


def _find_reason(text: str, recipients: Sequence[str]) -> str:
    """The words of an old gateway that say why: those behind "because:", in the line below the recipient's,
    or in the recipient's own line. Returns "" if there are none.
    """
    because = _BECAUSE.search(text)
    if because is not None:
        return clean_line(because[1])
    found = re.finditer(re.escape(recipients[0]), text) if recipients else iter(())
    for place in islice(found, _MOST_RECIPIENTS):
        start = text.rfind("\n", 0, place.start()) + 1
        own, *below = text[start : start + 2_000].split("\n")[:4]
        before = own[: place.start() - start].strip(" \t<\"'(").rstrip(": ")
        reason = next((line for line in ([own] if before else below) if _FAILS.search(line)), "")
        if reason:
            return clean_line(reason)
    return ""


def _read_ids(message: Message, text: str) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """The Message-ID, In-Reply-To and References of what came back: a message, a header, or a quotation."""
    for one in message.embedded:
        inner = one.message
        if inner.message_id or inner.references or inner.in_reply_to:
            return inner.message_id, inner.in_reply_to, inner.references
    for part in islice(_parts(message, _HEADERS), 3):
        octets = next(iter(part.chunks()), b"")[:_HEADER_BYTES]
        fields = {
            name.lower(): value for name, value in parse_header(whole(octets), _HEADER_BYTES).fields[::-1]
        }
        ids = _parse_ids({name: header_text(fields.get(name, b""))[0] for name in _ID_FIELDS})
        if any(ids):
            return ids
    quoted: dict[str, str] = {}
    for found in islice(_QUOTED_ID.finditer(text), 20):
        quoted.setdefault(found[1].lower(), found[2].replace("\n", " "))
    return _parse_ids(quoted)


_ID_FIELDS = ("message-id", "in-reply-to", "references")


def _parse_ids(fields: dict[str, str]) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    own, answered, references = (fields.get(name, "") for name in _ID_FIELDS)
    return parse_message_id(own), parse_identifiers(answered), parse_identifiers(references)
