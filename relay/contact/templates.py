"""The fields of a contact that templates fill: name, description, references and segment attributes.

Owns the values of the templates' fields, and the limits of what they become. Total: no mail makes a template
fail, and none exceeds a limit. Never does I/O. API reference, StartEmailContact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from relay.config.contact import Reference
from relay.config.model import Config, Route
from relay.config.template import fields_of, split_template
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.characters import clean_line, count_utf8, cut_utf8, cut_utf16
from relay.contact.facts import Facts
from relay.contact.limits import (
    ATTRIBUTE_BYTES,
    DESCRIPTION_CHARACTERS,
    EXPIRY_KEY,
    EXPIRY_MEMBER,
    NAME_CHARACTERS,
    REFERENCE_BYTES,
    SEGMENT_VALUE_CHARACTERS,
)
from relay.contact.plan import Adaptation, Context, Segment
from relay.message.dates import parse_date
from relay.message.model import Mailbox, Message
from relay.vocabulary import Rung

_NOTHING: Mapping[str, Any] = MappingProxyType({})
#: UTF-8 bytes of one field in a template.
_FIELD_BYTES = 4_096
#: Addresses of one field: together they are longer than it may be.
_LISTED = 1_000
#: A number of JSON (RFC 8259 §6), short enough for anybody's arithmetic.
_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_EPOCH = re.compile(r"[0-9]{1,12}")
#: Seconds since 1970 of the last instant that a date can be (9999-12-31).
_LAST = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The fields that the templates give for one mail, within the limits."""

    name: str = ""
    description: str = ""
    references: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    changes: tuple[Adaptation, ...] = ()


def collect_values(
    message: Message,
    context: Context,
    route: Route,
    *,
    author: tuple[str, str],
    subject: str,
    classification: str,
    facts: Facts,
    files: int,
    captured: Mapping[str, str],
) -> Values:
    """The fields of one mail; `author` is the address and the name that stand as the customer's."""
    reverse_path, destination = context.envelope.reverse_path, context.destination
    known: dict[str, Callable[[], str]] = {
        "subject": lambda: subject,
        "author": lambda: author[0],
        "author_name": lambda: author[1],
        "reply_to": lambda: _list(message.reply_to),
        "to": lambda: _list(message.to),
        "cc": lambda: _list(message.cc),
        "reverse_path": lambda: "<>" if reverse_path is None else reverse_path,
        "forward_path": lambda: ", ".join(destination.forward_paths),
        "destination": lambda: destination.address,
        "route": lambda: route.name,
        "tag": lambda: destination.tag,
        "message_id": lambda: message.message_id or "",
        "date": lambda: _tell(message.date) if message.date else "",
        "accepted_at": lambda: _tell(context.envelope.received_at),
        "size": lambda: str(context.raw_size),
        "files": lambda: str(files),
        "classification": lambda: classification,
        "identity": lambda: context.results.get("relay_identity", ""),
        "importance": lambda: facts.importance,
        "language": lambda: facts.language,
        "spool_id": lambda: context.spool_id,
    }
    return Values(message, known, captured)


def _tell(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")


def _list(mailboxes: tuple[Mailbox, ...]) -> str:
    return ", ".join(one.address or one.name for one in mailboxes[:_LISTED])


class Values:
    """The fields of one mail: those of the closed list, what was captured, and its header."""

    def __init__(
        self,
        message: Message,
        known: Mapping[str, Callable[[], str]] = _NOTHING,
        captured: Mapping[str, str] = _NOTHING,
    ) -> None:
        """`known` are read when a template names them: most name one."""
        self._message = message
        self._known = known
        self._captured = captured

    def get(self, name: str) -> str:
        """The value of a field as one line of at most 4,096 bytes; "" where the mail has none."""
        if name.startswith("header:"):
            value = self._message.header(name.removeprefix("header:")) or ""
        elif name in self._known:
            value = self._known[name]()
        else:
            value = self._captured.get(name, "")
        return cut_utf8(clean_line(value[:_FIELD_BYTES]), _FIELD_BYTES)

    def fill(self, template: str, *, in_url: bool = False) -> str:
        """The text of a template; "" where it has fields and the mail has none of them.

        `in_url` writes the fields so that they cannot leave their place in a URL (RFC 3986 §2.1).
        """
        pieces = split_template(template)
        found = [self.get(name) if name is not None else "" for _, name in pieces]
        if len(pieces) > 1 and not any(found):
            return ""
        values = (quote(value, safe="", errors="replace") if in_url else value for value in found)
        return "".join(literal + value for (literal, _), value in zip(pieces, values, strict=True))


def fill_templates(values: Values, route: Route, config: Config, *, rung: Rung) -> Filled:
    """The fields that the templates give; below the rung FULL only the expiry, and at plain rungs none."""
    contact = config.contact
    description = contact.description if route.description is None else route.description
    others = {key: each for key, each in contact.references.items() if key not in route.references}
    references = {**route.references, **others}
    segments = {**contact.segment_attributes, **route.segment_attributes}
    expiry = _build_expiry(route)
    own = (route.contact_name or contact.name) != "{subject}"
    is_templated = bool(own or description or references or segments)
    if rung is not Rung.FULL:
        left_out = is_templated or (expiry and rung.is_plain)
        sentence = Code.TEMPLATE_LEFT_OUT.sentence
        changes = (Adaptation(code=Code.TEMPLATE_LEFT_OUT, detail=sentence),) if left_out else ()
        return Filled(segments=() if rung.is_plain else expiry, changes=changes)
    name_text = route.contact_name if route.contact_name is not None else contact.name
    name, name_changes = _cut("name", clean_line(values.fill(name_text)), NAME_CHARACTERS)
    lines = "\n".join(map(clean_line, values.fill(description).split("\n"))).strip() if description else ""
    words, word_changes = _cut("description", lines, DESCRIPTION_CHARACTERS)
    kept, reference_changes = _fit_references(values, references) if references else ({}, ())
    found, segment_changes = _fit_segments(values, segments) if segments else ((), ())
    return Filled(
        name=name,
        description=words,
        references=kept,
        segments=(*found, *expiry),
        changes=(*name_changes, *word_changes, *reference_changes, *segment_changes),
    )


def fill_attributes(values: Values | None, route: Route, config: Config) -> tuple[tuple[str, str], ...]:
    """The operator's own attributes, the route's first; without `values` those alone that have no fields."""
    given = {
        **route.attributes,
        **{k: v for k, v in config.contact.attributes.items() if k not in route.attributes},
    }
    if values is None:
        values = Values(Message())
        given = {key: template for key, template in given.items() if not fields_of(template)}
    return tuple((key, cut_utf8(values.fill(template), ATTRIBUTE_BYTES)) for key, template in given.items())


def _build_expiry(route: Route) -> tuple[Segment, ...]:
    if route.expiry_minutes is None:
        return ()
    return (Segment(path=(EXPIRY_KEY, EXPIRY_MEMBER), number=route.expiry_minutes),)


def _cut(name: str, text: str, limit: int) -> tuple[str, tuple[Adaptation, ...]]:
    cut = cut_utf16(text, limit)
    if cut == text:
        return text, ()
    detail = f"{Code.TEMPLATE_CUT.sentence} ({name})"
    return cut, (Adaptation(code=Code.TEMPLATE_CUT, detail=detail, after=cut),)


def _fit_references(
    values: Values, references: Mapping[str, Reference]
) -> tuple[Mapping[str, Mapping[str, str]], tuple[Adaptation, ...]]:
    """The references that have a value of their type and find room, and the changes."""
    kept: dict[str, Mapping[str, str]] = {}
    unusable: list[str] = []
    dropped: list[str] = []
    room = REFERENCE_BYTES
    for key, reference in references.items():
        text = clean_line(values.fill(reference.value, in_url=reference.type == "URL"))
        if not text:
            continue
        value = _type_value(reference.type, text)
        if value is None:
            unusable.append(key)
            continue
        size = count_utf8(key) + count_utf8(value)
        if dropped or size > room:
            dropped.append(key)
            continue
        room -= size
        kept[key] = {"Type": reference.type, "Value": value}
    return kept, tuple(
        Adaptation(code=code, detail=f"{code.sentence} ({', '.join(keys)})")
        for code, keys in ((Code.REFERENCE_UNUSABLE, unusable), (Code.REFERENCES_DROPPED, dropped))
        if keys
    )


def _type_value(kind: str, text: str) -> str | None:
    """The text as a value of this type. Returns None where it is none."""
    if kind == "NUMBER":
        return text if _NUMBER.fullmatch(text) else None
    if kind == "DATE":
        return _read_epoch(text)
    if kind == "URL" and (any(char.isspace() for char in text) or not text.isprintable()):
        return None
    return text


def _read_epoch(text: str) -> str | None:
    """Seconds since 1970 of an instant: these themselves, RFC 3339, or a date as in a header (RFC 5322 §3.3);
    without an offset it is in UTC.
    """
    if _EPOCH.fullmatch(text):
        return text if int(text) <= _LAST else None
    try:
        instant = parse_date(text) or datetime.fromisoformat(text)
        seconds = int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
    return str(seconds) if seconds >= 0 else None


def _fit_segments(
    values: Values, segments: Mapping[str, Any]
) -> tuple[tuple[Segment, ...], tuple[Adaptation, ...]]:
    found: list[Segment] = []
    changes: list[Adaptation] = []
    for path, value in _walk((), segments):
        if isinstance(value, int):
            found.append(Segment(path=path, number=value))
            continue
        text, cut = _cut(path[0], clean_line(values.fill(value)), SEGMENT_VALUE_CHARACTERS)
        if text:
            found.append(Segment(path=path, text=text))
            changes.extend(cut)
    return tuple(found), tuple(changes)


def _walk(path: tuple[str, ...], segments: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in segments.items():
        if isinstance(value, Mapping):
            yield from _walk((*path, key), value)
        else:
            yield (*path, key), value
