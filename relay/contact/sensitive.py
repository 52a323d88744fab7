"""Sensitive words of a mail and what its route asks about them: found, or found and made unreadable.

Owns that rule of `routes[].sensitive` for the plan of a contact. The policy (`relay.policy.origin`) says what
else becomes of such a mail. Never does I/O beyond reading the octets of the mail's files.
"""

from __future__ import annotations

from dataclasses import replace

from relay.config.model import Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.plan import Adaptation, Context
from relay.contact.redact import has_cards, redact_cards
from relay.message.model import Message

#: The kind of words of a payment card's number, in attributes and rules.
CARD = "card"


def look_for_words(
    message: Message, context: Context, route: Route
) -> tuple[Message, Context, tuple[Adaptation, ...]]:
    """The message, redacted where its route asks for that; the context with what was found; the change."""
    if not route.sensitive.looks:
        return message, context, ()
    if not route.sensitive.redacts:
        found = has_cards(message)
        return message, replace(context, sensitive=(CARD,)) if found else context, ()
    redacted = redact_cards(message)
    if redacted is message:
        return message, context, ()
    change = Adaptation(code=Code.BODY_REDACTED, detail=Code.BODY_REDACTED.sentence)
    return redacted, replace(context, sensitive=(CARD,)), (change,)
