"""The note at the end of a body: what could not go with the contact, and where it is kept.

Owns its words and its size. Never does I/O. It names S3 keys and no bucket: agents quote bodies in their
answers, and what a customer sees of a key says nothing without the bucket.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.body import HTML, Body
from relay.contact.characters import cut_utf8
from relay.contact.markup import find_closer
from relay.contact.plan import Adaptation, PlannedFile

#: What a note may cost; a mail of a thousand refused files must not push its own text out of the body.
NOTE_LIMIT = 65_536
_LINES = 100

_REASONS = {
    Code.ATTACHMENT_TYPE_NOT_ALLOWED: "files of this type are not passed on",
    Code.ATTACHMENT_TOO_LARGE: "larger than one attachment may be",
    Code.ATTACHMENT_EMPTY: "an empty file",
    Code.ATTACHMENTS_TOO_MANY: "more files than one contact takes",
    Code.ATTACHMENTS_TOO_LARGE: "more bytes than one contact takes",
    Code.ATTACHMENT_REFUSED: "refused with this contact",
    Code.ATTACHMENT_RENDERED: "an attached message, shown as a text file beside it",
}
# Where a tidy document ends; the note goes before it. Only the tail is searched.
_END = re.compile(r"</body\s{0,20}>\s{0,200}(?:</html\s{0,20}>\s{0,200})?\Z", re.IGNORECASE)
_TAIL = 600


def build_note(
    left: Sequence[tuple[PlannedFile, Code]], *, facts: Sequence[str], original_key: str | None
) -> tuple[str, ...]:
    """The lines of the note; none when there is nothing to say."""
    lines = [cut_utf8(fact, 2_000) for fact in facts]
    if left:
        lines.append("Not attached to this contact, but kept:")
        lines += [
            f"- {file.name} ({count_bytes(file.size)}): {_REASONS[code]}; {file.key}"
            for file, code in left[:_LINES]
        ]
        if len(left) > _LINES:
            lines.append(f"- and {len(left) - _LINES:,} more")
    if lines and original_key:
        lines.append(f"The whole mail as it was received: {original_key}")
    return tuple(lines)


def append_note(body: Body, lines: Sequence[str]) -> tuple[str, tuple[Adaptation, ...]]:
    """The body with the note after it, and what that changed."""
    if not lines:
        return body.text, ()
    changes = [Adaptation(code=Code.BODY_NOTE, detail=Code.BODY_NOTE.sentence, after="\n".join(lines))]
    if body.content_type != HTML:
        return f"{body.text.rstrip()}\n\n-- \n" + "\n".join(lines) + "\n", tuple(changes)
    note = "\n<hr>\n<p>" + "<br>\n".join(map(escape, lines)) + "</p>\n"
    closer = find_closer(body.text)
    if closer:
        changes.append(Adaptation(code=Code.BODY_CLOSED, detail=Code.BODY_CLOSED.sentence, after=closer))
        return body.text + closer + note, tuple(changes)
    tail = max(0, len(body.text) - _TAIL)
    end = _END.search(body.text, tail)
    place = end.start() if end else len(body.text)
    return body.text[:place] + note + body.text[place:], tuple(changes)


def count_bytes(size: int) -> str:
    """A size as a person reads it."""
    if size < 1_000:
        return f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1_000:.0f} KB"
    return f"{size / 1_000_000:.1f} MB"
