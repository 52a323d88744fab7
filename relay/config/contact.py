"""The keys of what a contact says: `[contact]`, and the same in each route.

Owns the templates, references, segment attributes and captures as an operator writes them. Never sees a mail.
Amazon Connect API Reference, StartEmailContact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import regex
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from relay.config.section import Section
from relay.config.template import FIELDS, check_template, fields_of, find_unknown, split_template
from relay.config.words import (
    check_address,
    check_attribute_left_out,
    check_attribute_name,
    check_attribute_prefix,
    fits,
)
from relay.contact.attribute_names import MEANINGS
from relay.contact.limits import EXPIRY_KEY, SEGMENT_KEY_CHARACTERS

#: Captures of a route and characters of a pattern: each costs time for every mail.
_CAPTURES = 16
_PATTERN_CHARACTERS = 1_000
#: Marks of a route, and characters of each: a notice of a gateway has a few hundred.
_MARKS = 20
_MARK_CHARACTERS = 2_000
#: Levels of tables in a segment attribute; the service model names no limit.
_DEEPEST = 4

Template = Annotated[str, AfterValidator(check_template)]
_AttributeName = Annotated[str, AfterValidator(check_attribute_name)]
_ReferenceName = Annotated[
    str,
    AfterValidator(
        fits(
            r"[^\s\x00-\x1f\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f]{0,98}[^\s\x00-\x1f\x7f-\x9f])?",
            "cannot be a reference's name; use one line of 100 characters at most",
        )
    ),
]
_SEGMENT_KEY = re.compile(r"(?:connect:)?[A-Za-z0-9_-]{1,119}")
_HEADER = re.compile(r"header:[!-9;-~]{1,100}")


def check_source(value: str) -> str:
    """The place where a capture looks."""
    if value in ("subject", "body", "author") or _HEADER.fullmatch(value):
        return value
    raise ValueError('is no place to look; write "subject", "body", "author" or "header:X-Order-Id"')


def check_mark(value: str) -> str:
    """A text that a gateway puts before mail."""
    if not value.strip() or len(value) > _MARK_CHARACTERS:
        raise ValueError(
            f"is no mark; write the words that the gateway puts first, {_MARK_CHARACTERS:,} characters at most"
        )
    return value


def check_pattern(value: str) -> str:
    """The pattern of a capture, once it compiles and has groups whose names are free."""
    if len(value) > _PATTERN_CHARACTERS:
        raise ValueError(f"is too long for a pattern; write {_PATTERN_CHARACTERS:,} characters at most")
    try:
        names = tuple(regex.compile(value).groupindex)
    except (regex.error, RecursionError, OverflowError) as exc:
        raise ValueError(
            f"is no regular expression ({exc}); write it like '#(?P<order>[0-9]{{5,}})'"
        ) from None
    if not names:
        raise ValueError(
            "has no named group, and would capture nothing; write it like '#(?P<order>[0-9]{5,})'"
        )
    for name in names:
        if name in FIELDS or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,126}", name):
            raise ValueError(f'has the group "{name}", a name that is taken or no attribute\'s; take another')
    return value


class Capture(Section):
    """A pattern whose named groups become attributes and fields of templates."""

    model_config = ConfigDict(populate_by_name=True)

    source: Annotated[str, AfterValidator(check_source)] = Field(alias="from")
    pattern: Annotated[str, AfterValidator(check_pattern)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(regex.compile(self.pattern).groupindex)


class Reference(Section):
    """A reference that an agent sees beside the contact."""

    type: Literal["STRING", "NUMBER", "DATE", "URL"] = "STRING"
    value: Template

    @model_validator(mode="after")
    def _server(self) -> Reference:
        """The server of a URL is the operator's choice: a stranger's mail must not lead an agent anywhere."""
        if self.type == "URL":
            begin = split_template(self.value)[0][0]
            parts = urlsplit(begin)
            whole = not fields_of(self.value)
            if parts.scheme not in ("http", "https") or not parts.hostname or not (whole or "/" in begin[8:]):
                raise ValueError(
                    f'value = "{self.value}": must begin with a server of its own before any field, '
                    'as in "https://shop.example.com/{order}"'
                )
        return self


def check_segments(value: dict[str, Any]) -> dict[str, Any]:
    """The segment attributes: text (a template), whole numbers, and tables of these."""
    for key, each in value.items():
        if key == EXPIRY_KEY:
            raise ValueError(f'"{key}" is set by expiry_minutes of the route; remove it here')
        _check_segment(key, each, 1)
    return value


def _check_segment(key: str, value: Any, depth: int) -> None:
    if not _SEGMENT_KEY.fullmatch(key) or len(key) > SEGMENT_KEY_CHARACTERS:
        raise ValueError(f'"{key}" cannot be a segment attribute\'s name; use letters, digits, - and _')
    if isinstance(value, dict) and value:
        if depth >= _DEEPEST:
            raise ValueError(f'"{key}" has too many levels of tables; write {_DEEPEST} at most')
        for inner, each in value.items():
            _check_segment(inner, each, depth + 1)
    elif isinstance(value, str):
        try:
            check_template(value)
        except ValueError as exc:
            raise ValueError(f'"{key}" {exc}') from None
    elif isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise ValueError(f'"{key}" must be text in quotes, a whole number of 32 bits, or a table of these')


_Mark = Annotated[str, AfterValidator(check_mark)]


class Strip(Section):
    """The texts that a gateway of ours puts at the beginning of subjects and bodies."""

    subject: Annotated[tuple[_Mark, ...], Field(max_length=_MARKS)] = ()
    body: Annotated[tuple[_Mark, ...], Field(max_length=_MARKS)] = ()


class ContactFields(Section):
    """The keys that `[contact]` has for all routes, and each route for itself."""

    description: Template | None = None
    attributes: dict[_AttributeName, Template] = Field(default_factory=dict)
    references: dict[_ReferenceName, Reference] = Field(default_factory=dict)
    segment_attributes: Annotated[dict[str, Any], AfterValidator(check_segments)] = Field(
        default_factory=dict
    )
    captures: Annotated[tuple[Capture, ...], Field(max_length=_CAPTURES)] = ()

    def templates(self) -> Iterator[tuple[str, str]]:
        """Each template of these keys under the name of its key."""
        if self.description is not None:
            yield "description", self.description
        yield from ((f"attributes.{key}", value) for key, value in self.attributes.items())
        yield from ((f"references.{key}.value", each.value) for key, each in self.references.items())
        yield from _texts("segment_attributes", self.segment_attributes)


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(f"{name}.{key}", each)


class Contact(ContactFields):
    """The form of a contact: prefix of its attributes, and what stands where the mail says nothing."""

    attribute_prefix: Annotated[str, AfterValidator(check_attribute_prefix)] = "relay_"
    fallback_from: Annotated[str, AfterValidator(check_address)] = "unknown@invalid.example"
    empty_body: Annotated[str, Field(min_length=1, max_length=200)] = "(no text)"
    strip_own_recipients: bool = True
    attributes_left_out: tuple[Annotated[str, AfterValidator(check_attribute_left_out)], ...] = ()
    name: Template = "{subject}"
    price_usd: float = Field(default=0.08, ge=0)

    def templates(self) -> Iterator[tuple[str, str]]:
        """Each template under the name of its key."""
        yield "name", self.name
        yield from super().templates()


def unknown_fields(
    table: str, keys: ContactFields, captured: tuple[str, ...], contact: Contact
) -> Iterator[str]:
    """The sentences for fields that do not exist in the templates of one table of the file, and for captures
    and attributes in our own names, which begin with the prefix of `contact`.

    `captured` are the names that captures give there.
    """
    prefix = contact.attribute_prefix
    for key, template in keys.templates():
        if sentence := find_unknown(template, captured):
            yield f'{table}.{key} = "{template}": {sentence}'
    yield from _names_of_ours(table, keys, prefix)
    for name in MEANINGS:
        key = prefix + name
        if key in keys.attributes and name not in contact.attributes_left_out:
            yield (
                f'{table}.attributes.{key} = "{keys.attributes[key]}": would stand in place of our own; take another '
                f'name, or leave ours out with contact.attributes_left_out = ["{name}"]'
            )


def captured_names(*tables: ContactFields) -> tuple[str, ...]:
    """The names of the groups of all captures of these tables."""
    return tuple(name for table in tables for capture in table.captures for name in capture.names)


def _names_of_ours(table: str, keys: ContactFields, prefix: str) -> Iterator[str]:
    """The sentences for groups of the captures of one table whose names begin as our own attributes' do.

    Captured text would stand in place of what the relay has found out, and it is a stranger's.
    """
    for place, capture in enumerate(keys.captures):
        for name in capture.names:
            # An empty prefix begins every name.
            if name.startswith(prefix) if prefix else name in MEANINGS:
                yield (
                    f'{table}.captures[{place}].pattern = "{capture.pattern}": has the group "{name}", and names that '
                    f'begin with "{prefix}" are our own; take another'
                )
