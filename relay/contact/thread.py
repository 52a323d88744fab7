"""The headers by which Connect finds the thread of a mail.

Owns Message-ID, In-Reply-To and References as the request carries them: unfolded, with their brackets.
Never does I/O. RFC 5322 §3.6.4.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.bounce import Bounce
from relay.contact.characters import clean_line, count_utf16
from relay.contact.limits import HEADER_CHARACTERS
from relay.contact.plan import Adaptation
from relay.message.model import Message


def fit_thread(
    message: Message, bounce: Bounce | None = None
) -> tuple[Mapping[str, str], tuple[Adaptation, ...]]:
    """The threading headers that the mail has, with the changes.

    A bounce that names no thread belongs to that of the message that it brings back, as an answer to it.
    """
    answered, references = message.in_reply_to, message.references
    if bounce is not None and not answered and not references:
        returned = (bounce.message_id,) if bounce.message_id else ()
        answered = returned or bounce.in_reply_to
        # RFC 5322 §3.6.4: the parent's references, what it answers, and the parent itself.
        references = tuple(dict.fromkeys((*bounce.references, *bounce.in_reply_to, *returned)))
    found = {
        "MESSAGE_ID": (message.message_id or "",),
        "IN_REPLY_TO": answered,
        "REFERENCES": references,
    }
    headers: dict[str, str] = {}
    changes: list[Adaptation] = []
    for key, ids in found.items():
        cleaned = tuple(filter(None, map(clean_line, ids)))
        usable = tuple(one for one in cleaned if count_utf16(one) <= HEADER_CHARACTERS)
        if len(usable) < len(cleaned):
            detail = f"{Code.THREAD_ID_UNUSABLE.sentence} ({key}, {len(cleaned) - len(usable)})"
            changes.append(Adaptation(code=Code.THREAD_ID_UNUSABLE, detail=detail))
        kept = _keep_newest(usable)
        if len(kept) < len(usable):
            detail = f"{key} names {len(usable):,} ids; the first and the newest {len(kept) - 1:,} fit."
            changes.append(Adaptation(code=Code.THREAD_CUT, detail=detail))
        if kept:
            headers[key] = " ".join(kept)
    return headers, tuple(changes)


def _keep_newest(ids: tuple[str, ...]) -> tuple[str, ...]:
    """The first id, which names the thread, and as many of the last as fit beside it."""
    if not ids:
        return ()
    room = HEADER_CHARACTERS - count_utf16(ids[0])
    newest: list[str] = []
    for one in reversed(ids[1:]):
        room -= count_utf16(one) + 1  # the space between two ids
        if room < 0:
            break
        newest.append(one)
    return (ids[0], *reversed(newest))
