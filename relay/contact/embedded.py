"""The attached message as a text that an agent can open.

Owns the look of such a text. Never does I/O. Connect takes no .eml by default, and its text and attachments
are the reason why a mail is attached.
"""

from __future__ import annotations

from relay.contact.characters import clean_text
from relay.contact.html_text import Effort, make_text
from relay.message.model import Mailbox, Message

_RULE = "-" * 60


def _list(mailboxes: tuple[Mailbox, ...]) -> str:
    return ", ".join(f"{one.name} <{one.address}>" if one.name else one.address for one in mailboxes)


def render_message(message: Message, effort: Effort) -> str:
    """The message as text: its main headers, its text, and the names of what was attached to it."""
    fields = (
        ("From", _list(message.author)),
        ("Reply-To", _list(message.reply_to)),
        ("To", _list(message.to)),
        ("Cc", _list(message.cc)),
        ("Date", message.date.isoformat(sep=" ") if message.date else message.header("Date") or ""),
        ("Subject", message.subject),
        ("Message-ID", message.message_id or ""),
    )
    lines = [f"{name}: {value}" for name, value in fields if value]
    lines += ["", message.text.strip("\n") or make_text(message.html, effort) or "(no text)"]
    names = [f"- {part.name or part.content_type} ({part.size:,} bytes)" for part in message.attachments]
    if names:
        lines += ["", _RULE, "Attached to this message:", *names]
    return clean_text("\n".join(lines) + "\n")
