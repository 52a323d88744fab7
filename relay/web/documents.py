"""The document that is kept of an entry's last outcome (`relay.spool.page.Listed.shown`), read for the page.

Owns what a reader takes of it. A document of a newer relay, or a damaged one, shows as less; nothing in it
raises. Never does I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from relay.web.view import File

#: Characters of a name, a subject and an address.
NAME_CHARACTERS: Final = 200
#: Characters of a sentence.
_SENTENCE_CHARACTERS: Final = 1_000
#: Items of a list.
_MOST: Final = 200
#: In place of words of a mail, where the page may not show them.
WITHHELD: Final = "(not shown here: web.content)"
#: The end of the name of the attribute that has text of the mail, whatever prefix its contact had.
_TEXT_ATTRIBUTE: Final = "new_text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An outcome as it was written; every field may be missing."""

    subject: str = ""
    author_name: str = ""
    author: str = ""
    classification: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    #: Codes, each with what was found.
    risks: tuple[tuple[str, str], ...] = ()
    #: Codes, each with its sentence.
    adaptations: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    #: Of all of them, also where some were left out.
    adaptation_count: int = 0
    file_count: int = 0
    request: Mapping[str, Any] | None = None
    #: The contact that the mail answers, and the Message-IDs that it names.
    related: str = ""
    thread: tuple[str, ...] = ()
    #: The parts left out of a document that was too large: "body", "lists", "attributes", "request".
    cut: tuple[str, ...] = field(default=())


def parse_document(octets: bytes) -> Document:
    """The document, as far as it can be read."""
    try:
        record = json.loads(octets) if octets else {}
    except (ValueError, RecursionError):
        return Document()
    return parse_record(record) if isinstance(record, dict) else Document()


def parse_record(record: Mapping[str, Any]) -> Document:
    """The document of a record, as far as it can be read."""
    request = record.get("request")
    adaptations, files = _pairs(record.get("adaptations")), _files(record.get("files"))
    return Document(
        subject=_text(record.get("subject"), NAME_CHARACTERS),
        author_name=_text(record.get("author_name"), NAME_CHARACTERS),
        author=_text(record.get("author"), NAME_CHARACTERS),
        classification=_text(record.get("classification"), NAME_CHARACTERS),
        to=_texts(record.get("to")),
        cc=_texts(record.get("cc")),
        risks=_pairs(record.get("risks")),
        adaptations=adaptations,
        files=files,
        adaptation_count=max(len(adaptations), _number(record.get("adaptation_count"))),
        file_count=max(len(files), _number(record.get("file_count"))),
        request=request if isinstance(request, dict) else None,
        related=_text(record.get("related"), NAME_CHARACTERS),
        thread=_texts(record.get("thread")),
        cut=_texts(record.get("cut")),
    )


def withhold_words(request: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The request without the words of its mail: its body, and the attribute with text of it."""
    if request is None:
        return None
    bare = dict(request)
    message, attributes = bare.get("EmailMessage"), bare.get("Attributes")
    if "EmailMessage" in bare:
        raw = message.get("RawMessage") if isinstance(message, dict) else None
        # Of a shape that is not ours nothing is known, so all of it is withheld.
        bare["EmailMessage"] = (
            {**message, "RawMessage": {**raw, "Body": WITHHELD}}
            if isinstance(message, dict) and isinstance(raw, dict)
            else WITHHELD
        )
    if "Attributes" in bare:
        bare["Attributes"] = (
            {
                name: WITHHELD if name.endswith(_TEXT_ATTRIBUTE) else value
                for name, value in attributes.items()
            }
            if isinstance(attributes, dict)
            else WITHHELD
        )
    return bare


def _text(value: Any, most: int) -> str:
    return value[:most] if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value[:_MOST] if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    texts = (_text(each, _SENTENCE_CHARACTERS) for each in _list(value))
    return tuple(text for text in texts if text)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = (each for each in _list(value) if isinstance(each, list) and len(each) == 2)
    found = ((_text(code, NAME_CHARACTERS), _text(words, _SENTENCE_CHARACTERS)) for code, words in pairs)
    return tuple(pair for pair in found if pair[0])


def _files(value: Any) -> tuple[File, ...]:
    records = [each for each in _list(value) if isinstance(each, dict)]
    return tuple(
        File(
            number=number,
            name=_text(record.get("name"), NAME_CHARACTERS),
            content_type=_text(record.get("content_type"), NAME_CHARACTERS),
            size=_number(record.get("size")),
            sha256=_text(record.get("sha256"), 64),
            sent=record.get("sent") is True,
            why=_text(record.get("why"), _SENTENCE_CHARACTERS),
        )
        for number, record in enumerate(records)
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0
