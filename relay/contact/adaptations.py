"""The closed list of changes that make a mail fit, one sentence each.

Owns the *codes* of adaptations: they stand in `relay explain`, in the log, as a metric's label and in the
contact attribute `relay_adaptations`. docs/adaptations.md is made from this module. Never does I/O.
"""

from __future__ import annotations

from relay.contact.limits import (
    ADDRESSES,
    ATTRIBUTE_BYTES,
    BODY_BYTES,
    DISPLAY_NAME_CHARACTERS,
    FILE_NAME_CHARACTERS,
    HEADER_CHARACTERS,
    REFERENCE_BYTES,
    SUBJECT_CHARACTERS,
    TOTAL_BYTES,
)
from relay.contact.sentences import DocumentedCode


class AdaptationCode(DocumentedCode):
    """The code of a change that makes a mail fit."""

    # fmt: off
    FROM_REPLY_TO = "from.reply_to", "The route prefers Reply-To: its address stands as the customer's, so that the agent's answer goes there."
    FROM_SENDER = "from.sender", "The From header has no address that Connect takes; the Sender header's stands in its place."
    FROM_ENVELOPE = "from.envelope", "Neither From nor Sender has an address that Connect takes; the envelope's reverse-path stands in their place."
    FROM_FALLBACK = "from.fallback", "No address of the author can be used; `contact.fallback_from` stands in its place, and the original in the attributes."
    FROM_SEVERAL = "from.several", "The From header names several authors; Connect takes one, the first that can be used, and all stand in the attributes."
    FROM_OWN_ADDRESS = "from.own_address", "The author's address is the destination itself, and Connect silently ignores such mail; another address of the author stands in its place."
    FROM_NAME = "from.name", f"The author's display name was cleaned or cut to the {DISPLAY_NAME_CHARACTERS} characters that Connect takes."

    RECIPIENT_UNUSABLE = "recipient.unusable", "A To or Cc entry is no address that Connect takes; it is named in the attributes only."
    RECIPIENT_OWN = "recipient.own", "Another of our own addresses was taken out of the additional recipients, because Connect would start one more contact for it."
    RECIPIENT_REPEATED = "recipient.repeated", "An address that To and Cc name more than once is listed once."
    RECIPIENT_NAME = "recipient.name", f"A recipient's display name was cleaned or cut to the {DISPLAY_NAME_CHARACTERS} characters that Connect takes."
    RECIPIENTS_TOO_MANY = "recipients.too_many", f"Connect takes {ADDRESSES - 1} additional recipients; those after them are counted in the attributes only."
    RECIPIENTS_LEFT_OUT = "recipients.left_out", "At the rung `text` the additional recipients stand in the note of the body instead of in their field."

    SUBJECT_CLEANED = "subject.cleaned", "Control characters or broken surrogates in the subject were replaced; at the rungs `text` and `original` also invisible characters."
    SUBJECT_TOO_LONG = "subject.too_long", f"The subject was cut to the {SUBJECT_CHARACTERS} characters that Connect takes."
    SUBJECT_STRIPPED = "subject.stripped", "A mark that our own gateway puts before each subject was taken away (`routes[].strip`)."

    BODY_REDACTED = "body.redacted", "Card numbers in the mail were made unreadable (`routes[].sensitive`); the original is not kept in S3."
    BODY_STRIPPED = "body.stripped", "A notice that our own gateway puts before each body was taken away (`routes[].strip`)."
    BODY_EMPTY = "body.empty", "The mail shows no text at all; `contact.empty_body` stands in its place, because Connect refuses an empty body."
    BODY_INVITATION = "body.invitation", "The mail shows nothing but a calendar object; its title, time, place and description stand as text."
    BODY_FROM_FILE = "body.from_file", "The mail's own body shows nothing; the words of a file, of an attached message or of a report stand in its place."
    BODY_ENCRYPTED = "body.encrypted", "The mail is encrypted (S/MIME or PGP); a sentence that says so stands in place of its text, or before a block that is nothing else."
    BODY_BOUNCE = "body.bounce", "The mail is a bounce; a line before its text says what was not delivered to whom, and why."
    BODY_ALTERNATIVE = "body.alternative", "The mail came in plain text and in HTML; Connect takes one of them, and the other stays in the stored original."
    BODY_JOINED = "body.joined", "Text and HTML follow one another in the mail instead of saying the same; the text stands in the HTML, or the HTML's text in the text."
    BODY_CLEANED = "body.cleaned", "Characters in the body that cannot be sent, such as NUL, were replaced; at the rung `text` also controls and invisible ones."
    BODY_TO_TEXT = "body.to_text", "The HTML body was turned into plain text: the route, or the rung `text`, asks for text."
    BODY_TOO_LARGE = "body.too_large", f"The body is larger than the {BODY_BYTES:,} bytes that Connect takes; it was turned into plain text or cut, and the whole is a file beside it."
    BODY_NOTE = "body.note", "A note at the end of the body names what could not go with the contact, and where it is kept."
    BODY_REVEALED = "body.revealed", "All words of the HTML stand in a template or in a comment for one program, where no other shows them; they were taken out."
    BODY_CLOSED = "body.closed", "The HTML leaves a comment, a tag, a title or a style sheet open, which would hide what follows; it was closed."

    IMAGE_INLINED = "image.inlined", "An image that the HTML shows by reference stands in the HTML itself as a data: URI, because Connect knows no Content-ID."
    IMAGE_NOT_INLINED = "image.not_inlined", "An image that the HTML shows by reference does not fit into the body; it goes the way of an attachment."

    ATTACHMENT_TYPE_NOT_ALLOWED = "attachment.type_not_allowed", "The instance does not take files with this extension; the file is stored and named in the note."
    ATTACHMENT_TOO_LARGE = "attachment.too_large", "The file is larger than one attachment may be; it is stored and named in the note."
    ATTACHMENT_EMPTY = "attachment.empty", "The file has no octets, and Connect takes none such; it is named in the note."
    ATTACHMENTS_TOO_MANY = "attachments.too_many", "The contact takes no more attachments; the file ranked below those that go, is stored and named in the note."
    ATTACHMENTS_TOO_LARGE = "attachments.too_large", f"Body and attachments together may hold {TOTAL_BYTES >> 20} MB; the file ranked below those that go, is stored and named in the note."
    ATTACHMENT_REFUSED = "attachment.refused", "Connect refused the contact with this file; it is stored and named in the note."
    ATTACHMENT_UNPACKED = "attachment.unpacked", "The file is a container (winmail.dat, opaque S/MIME) whose content goes in its place; the container is stored."
    ATTACHMENTS_LEFT_INSIDE = "attachments.left_inside", "All files of the mail together would be more than twice `max_message_bytes`; those that stand inside attached messages or containers, and found no room, are kept in these alone."
    ATTACHMENT_NOISE = "attachment.noise", "A member of an alternative that another stands for (AMP, text for watches), a detached signature or a picture of one pixel: it is stored and not named in the note."
    ATTACHMENT_RENAMED = "attachment.renamed", f"The file name was changed: NFC, without control or invisible characters, at most {FILE_NAME_CHARACTERS} characters, unique, with an extension that fits its type."
    ATTACHMENT_NAMED = "attachment.named", "The file came without a name and was given one."
    FILE_CONTENT_CONTRADICTS_NAME = "file.content_contradicts_name", "The file is a program by its content (Windows, Linux, macOS, Java, a script, a shortcut) under a name of another kind; it goes as it is, and the desk should not open it."
    ATTACHMENT_RENDERED = "attachment.rendered", "An attached message, or an HTML file that the instance does not take, is shown as a text file, the message's own attachments beside it; the message or file itself is stored."

    THREAD_CUT = "thread.cut", f"The References header was cut to the {HEADER_CHARACTERS:,} characters that Connect takes, keeping the first and the newest ids."
    THREAD_ID_UNUSABLE = "thread.id_unusable", f"A message id cannot be sent: it is longer than {HEADER_CHARACTERS:,} characters."
    THREAD_LEFT_OUT = "thread.left_out", "At the rung `text` the threading headers and the related contact are left out."

    TEMPLATE_CUT = "template.cut", "The name, the description or a segment attribute that a template gave was cut to what Connect takes."
    TEMPLATE_LEFT_OUT = "template.left_out", "Connect refused the contact, so that it goes without the name, description, references and segment attributes of the templates; at the rungs `text` and `original` also without their attributes and the expiry."
    REFERENCE_UNUSABLE = "reference.unusable", "A reference was left out: what the mail gave is no number, no date or no URL."
    REFERENCES_DROPPED = "references.dropped", f"The references together may hold {REFERENCE_BYTES:,} bytes; the last were left out."

    MESSAGE_NOT_UNDERSTOOD = "message.not_understood", "The mail could not be understood, or Connect refused it in every other form: the contact has the words of its first 64 KiB, and all of it as the file original.txt where it fits."

    ATTRIBUTES_DROPPED = "attributes.dropped", f"The attributes together may hold {ATTRIBUTE_BYTES:,} bytes; those of the lowest priority were left out."
    ATTRIBUTE_CUT = "attribute.cut", "An attribute's value was cut."
    # fmt: on


def build_adaptations_document() -> str:
    """The text of `docs/adaptations.md`."""
    lines = [
        "# Adaptations",
        "",
        "What the relay may change so that a mail becomes a contact that Connect takes. Each change is recorded with",
        "one of these codes: `relay explain` shows it, the log line of the delivery lists it, the metric",
        "`relay_adaptations_total` counts it, and the contact attribute `relay_adaptations` carries it. Whenever a mail",
        "has one, its untouched original is kept in S3 (`s3.keep_original`), and the attribute `relay_original` names it.",
        "",
        "This page is made from `relay/contact/adaptations.py` by `make docs`.",
        "",
        "| Code | Meaning |",
        "|---|---|",
        *(f"| `{code}` | {code.sentence} |" for code in AdaptationCode),
    ]
    return "\n".join(lines) + "\n"
