"""The note at the end of a body: files that could not go with the contact, and where they are kept.

Owns its words and its size. Never does I/O. It names S3 keys and no bucket: agents quote bodies in their
answers, and what a customer sees of a key says nothing without the bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.body import HTML, Body
from relay.contact.characters import cut_utf8, cut_utf16
from relay.contact.plan import Adaptation, PlannedFile
from relay.message.markup import append_fragment

#: Bytes of a note, so that a thousand refused files do not push the mail's own text out of the body.
NOTE_LIMIT = 65_536
# Worst case: 60 names of 80 characters that HTML writes with five each, their keys and reasons, and three
# facts.
_LINES = 60
_NAME = 80
_FACT = 1_000

_REASONS = {
    Code.ATTACHMENT_TYPE_NOT_ALLOWED: "files of this type are not passed on",
    Code.ATTACHMENT_TOO_LARGE: "larger than one attachment may be",
    Code.ATTACHMENT_EMPTY: "an empty file",
    Code.ATTACHMENTS_TOO_MANY: "more files than one contact takes",
    Code.ATTACHMENTS_TOO_LARGE: "more bytes than one contact takes",
    Code.ATTACHMENT_REFUSED: "refused with this contact",
    Code.ATTACHMENT_RENDERED: "shown as a text file beside it",
}


def build_note(
    left: Sequence[tuple[PlannedFile, Code]], *, facts: Sequence[str], original_key: str | None
) -> tuple[str, ...]:
    """The lines of the note; none when there is nothing to say."""
    # A container is left out, because its files stand beside it: the name winmail.dat helps no agent.
    # A signature, a pixel and another form of the same words are nothing that an agent could miss.
    left = [one for one in left if one[1] not in {Code.ATTACHMENT_UNPACKED, Code.ATTACHMENT_NOISE}]
    lines = [cut_utf8(fact, _FACT) for fact in facts]
    if left:
        lines.append("Not attached to this contact, but kept:")
        lines += [
            f"- {cut_utf16(file.name, _NAME)} ({count_bytes(file.size)}): {_REASONS[code]}; {file.key}"
            for file, code in left[:_LINES]
        ]
        if len(left) > _LINES:
            lines.append(f"- and {len(left) - _LINES:,} more")
    if lines and original_key:
        lines.append(f"The whole mail as it was received: {original_key}")
    return tuple(lines)


def append_note(body: Body, lines: Sequence[str]) -> tuple[str, tuple[Adaptation, ...]]:
    """The body with the note after it, and the changes that this needed."""
    if not lines:
        return body.text, ()
    changes = [Adaptation(code=Code.BODY_NOTE, detail=Code.BODY_NOTE.sentence, after="\n".join(lines))]
    if body.content_type != HTML:
        gap = "\n" if body.text.endswith("\n") else "\n\n"
        return f"{body.text}{gap}-- \n" + "\n".join(lines) + "\n", tuple(changes)
    note = "\n<hr>\n<p>" + "<br>\n".join(escape(line, quote=False) for line in lines) + "</p>\n"
    text, closer = append_fragment(body.text, note)
    if closer:
        changes.append(Adaptation(code=Code.BODY_CLOSED, detail=Code.BODY_CLOSED.sentence, after=closer))
    return text, tuple(changes)


def count_bytes(size: int) -> str:
    """The size as a person reads it."""
    if size < 1_000:
        return f"{size} byte{'' if size == 1 else 's'}"
    if size < 1_000_000:
        return f"{size / 1_000:.0f} KB"
    return f"{size / 1_000_000:.1f} MB"
