"""The classification of a mail by its writer: a person, an auto-reply, a bounce, a list, or bulk.

Owns *classification*. Looks at the header and the shape of a mail only; the route's policy decides what a
class means. Follows RFC 3834 (Auto-Submitted), RFC 3464 and 6522 (reports), RFC 2919 and 2369 (lists), RFC
8058, and the habits of Exchange, Gmail and ticket systems.
"""

from __future__ import annotations

import re

from relay.message.model import Message
from relay.vocabulary import Classification

#: Local parts of authors that write only bounces.
_DAEMONS = re.compile(
    r"(?:mailer[-_.]?daemon|mail[-_.]?daemon|mdaemon|postmaster|microsoftexchange[0-9a-f]{32})@?",
    re.IGNORECASE,
)
_BOUNCE_SUBJECT = re.compile(
    r"(?:undeliver(?:ed|able)|returned mail|mail delivery (?:fail|subsystem|system)|delivery (?:status notification|"
    r"failure|has failed)|failure notice|mail system error|unzustellbar|nicht zustellbar|non remis|no se puede entregar|"
    r"mancato recapito|warning: (?:could not send|message))",
    re.IGNORECASE,
)
#: Words before the subject of an automatic answer, in the sender's language: Outlook, Exchange, Gmail.
_REPLY_SUBJECT = re.compile(
    r"(?:automatic reply|auto(?:matic)?[- ]?(?:reply|response|answer)|out of (?:the )?office|automatische antwort|"
    r"abwesenheits(?:notiz|nachricht|assistent)|réponse automatique|absence du bureau|respuesta automática|"
    r"risposta automatica|resposta automática|automatisch antwoord|afwezigheid|autosvar|automatiskt svar|"
    r"autoodpowiedź|automatyczna odpowiedź|automatická odpověď|автоответ|自動応答|自动回复|自動回覆|자동 회신|vacation reply)",
    re.IGNORECASE,
)
_REPLY_FIELDS = (
    "x-autoreply", "x-autorespond", "x-autoresponder", "x-autoreply-from", "x-auto-reply-from", "x-mail-autoreply",
    "x-vacation", "auto-reply",
)  # fmt: skip
_BULK_FIELDS = (
    "list-unsubscribe", "list-unsubscribe-post", "feedback-id", "x-campaign", "x-campaignid", "x-campaign-id",
    "x-mailgun-tag", "x-mailchimp-id", "x-mc-user", "x-csa-complaints", "x-sfmc-stack", "x-bulkmail", "x-mass-mailing",
    "x-marketing-id", "x-mandrill-user", "x-auto-generated",
)  # fmt: skip
_LIST_FIELDS = (
    "list-post",
    "x-mailman-version",
    "x-beenthere",
    "mailing-list",
    "x-mailing-list",
    "x-ml-name",
)
_REPORTS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RECEIPTS = frozenset({"message/disposition-notification", "message/global-disposition-notification"})


def classify(message: Message, *, null_reverse_path: bool) -> Classification:
    """The class of a mail. Where several classes fit, the first of bounce, auto-reply, list and bulk
    counts.
    """
    submitted = _word(message, "auto-submitted")
    precedence = _word(message, "precedence")
    if _is_bounce(message, null_reverse_path=null_reverse_path):
        return Classification.BOUNCE
    if _is_auto_reply(message, submitted, precedence, null_reverse_path=null_reverse_path):
        return Classification.AUTO_REPLY
    listed = any(message.header(name) is not None for name in _LIST_FIELDS) or precedence == "list"
    unsubscribes = message.header("list-unsubscribe") is not None
    if listed or (message.header("list-id") is not None and not unsubscribes):
        return Classification.LIST
    bulk = (
        any(message.header(name) is not None for name in _BULK_FIELDS)
        or message.header("list-id") is not None
    )
    if bulk or precedence in {"bulk", "junk"} or submitted.startswith("auto-generated"):
        return Classification.BULK
    return Classification.HUMAN


def _is_bounce(message: Message, *, null_reverse_path: bool) -> bool:
    kinds = {part.content_type for part in message.parts}
    if kinds & _REPORTS:
        return True
    if kinds & _RECEIPTS:
        return False
    report = message.header("content-type") or ""
    if "report-type=delivery-status" in report.replace('"', "").replace(" ", "").lower():
        return True
    if message.header("x-failed-recipients") is not None:  # Exim and Gmail
        return True
    daemon = any(_DAEMONS.match(box.address) for box in message.author)
    told = _BOUNCE_SUBJECT.search(message.subject) is not None
    # Bounces of old gateways in plain text: an author of bounces or a null reverse-path, and the words.
    return (daemon and (told or null_reverse_path)) or (null_reverse_path and told)


def _is_auto_reply(message: Message, submitted: str, precedence: str, *, null_reverse_path: bool) -> bool:
    if {part.content_type for part in message.parts} & _RECEIPTS:
        return True  # RFC 8098: a receipt is written by a program
    if submitted.startswith(("auto-replied", "auto-notified")):
        return True
    # An acknowledgement of a ticket system is marked as generated; unlike a newsletter, it answers a mail.
    answers = bool(message.in_reply_to or message.references)
    if submitted.startswith("auto-generated") and answers:
        return True
    if precedence in {"auto_reply", "auto-reply", "autoreply"}:
        return True
    if any(message.header(name) is not None for name in _REPLY_FIELDS):
        return True
    if _word(message, "x-ms-exchange-generated-message-source").startswith("mailbox rules"):
        return True
    if _REPLY_SUBJECT.match(message.subject) is not None:
        return True
    # RFC 3834 §3.3, RFC 5321 §4.5.5: an answer that must not be answered comes from the null reverse-path.
    return null_reverse_path and (answers or bool(submitted and submitted != "no"))


def _word(message: Message, name: str) -> str:
    return (message.header(name) or "").strip().lower()
