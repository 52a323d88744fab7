"""Templates: strings of the operator with fields that a mail fills, as in "Order {order} of {author_name}".

Owns their syntax and the closed list of fields. Never sees a mail: `relay.contact.templates` fills them. A
field stands in braces; "{{" and "}}" are braces themselves.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from functools import lru_cache

#: Each field, for docs/configuration.md; beside them `{header:Name}`, and the named groups of captures.
FIELDS = {
    "subject": "the subject",
    "author": "the address that stands as the customer's",
    "author_name": "the display name beside it",
    "reply_to": "the addresses of Reply-To",
    "to": "the addresses of To",
    "cc": "the addresses of Cc",
    "reverse_path": "the reverse-path, `<>` for the null one",
    "forward_path": "the recipients that led to this contact",
    "destination": "the e-mail address in Connect",
    "route": "the name of the route",
    "tag": "the part of the recipient between `+` and `@`",
    "message_id": "the Message-ID",
    "date": "the mail's own date, in UTC",
    "accepted_at": "the instant of its acceptance, in UTC",
    "size": "its bytes",
    "files": "the number of its attached files",
    "classification": "its class, such as `human`",
    "identity": "the sentence about who is proved to have sent it",
    "importance": "`high`, `normal` or `low`, where the mail says so",
    "language": "its language, where it is known",
    "spool_id": "its id at the relay",
}
#: Characters of a template, and fields in it: what a mail fills in stays within some 200 KB.
TEMPLATE_CHARACTERS = 4_096
TEMPLATE_FIELDS = 50

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
#: RFC 5322 §3.6.8: the name of a header field.
_HEADER = re.compile(r"header:[!-9;-z|~]{1,100}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: A template in pieces: literal text, and the name of the field behind it, None at the end.
Pieces = tuple[tuple[str, str | None], ...]


@lru_cache(maxsize=1_024)
def split_template(template: str) -> Pieces:
    """The pieces of a template.

    Raises:
        ValueError: braces that stand alone, too long, or too many fields; what would be right.
    """
    if len(template) > TEMPLATE_CHARACTERS:
        raise ValueError(f"is too long for a template; write {TEMPLATE_CHARACTERS:,} characters at most")
    pieces: list[tuple[str, str | None]] = []
    literal, at = "", 0
    for token in _TOKEN.finditer(template):
        literal += template[at : token.start()]
        at = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        elif token[1] is None:
            raise ValueError(
                f'has a "{token[0]}" without its pair; write a field as {{subject}}, and a brace as {{{{ or }}}}'
            )
        else:
            pieces.append((literal, token[1].strip()))
            literal = ""
    if len(pieces) > TEMPLATE_FIELDS:
        raise ValueError(f"has {len(pieces)} fields; write {TEMPLATE_FIELDS} at most")
    return (*pieces, (literal + template[at:], None))


def check_template(value: str) -> str:
    """The template as it was written, once its braces are right."""
    split_template(value)
    return value


def fields_of(template: str) -> tuple[str, ...]:
    """The names of the fields of a template, in their order."""
    return tuple(field for _, field in split_template(template) if field is not None)


def find_unknown(template: str, captured: Collection[str]) -> str:
    """The sentence for the first field that does not exist; "" when all do.

    `captured` are the names that the captures of the same route give.
    """
    for field in fields_of(template):
        if field in FIELDS or field in captured or _HEADER.fullmatch(field):
            continue
        if field.startswith("header:"):
            return f'has the field "{{{field}}}", which names no header; write it like {{header:X-Order-Id}}'
        near = difflib.get_close_matches(field, (*FIELDS, *captured), n=1, cutoff=0.6)
        hint = f'did you mean "{{{near[0]}}}"?' if near else "docs/configuration.md has the list"
        return f'has the field "{{{field}}}", which does not exist; {hint}'
    return ""


def is_name(text: str) -> bool:
    """Returns whether a text can be the name of a field."""
    return _NAME.fullmatch(text) is not None
