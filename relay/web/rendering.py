"""The templates of the page, and the words for sizes, times and states in them.

Owns the environment of Jinja2: everything that a template is given is text and is escaped, a name that a
template does not know is an error. Characters that no document may hold are shown as U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from relay.spool.model import State

PAGES = Path(__file__).parent / "pages"
#: Characters of a request shown as JSON: a body that is cut leaves less.
REQUEST_CHARACTERS = 400_000
_STATES = {
    State.QUEUED: "waiting",
    State.LEASED: "on its way",
    State.HELD: "held",
    State.DEAD: "dead letter",
    State.DONE: "contact",
}
#: Control characters that HTML forbids in text (HTML standard, §13.2.3.5), and lone surrogates.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: More marks on one letter than any language writes: they reach over other lines, and cost a browser seconds.
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MANY_MARKS = re.compile(f"(?<=[{_MARKS}]{{6}})[{_MARKS}]+")


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """A document of a template, in UTF-8."""
    return _environment().get_template(template).render(values).encode("utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        auto_reload=False,
    )
    environment.filters |= {
        "octets": octets,
        "lasting": lasting,
        "stamp": stamp,
        "state": lambda state: _STATES[state],
        "number": lambda number: f"{number:,}",
        "document": document,
        "short": short,
        "urlencode": address,
    }
    return environment


def _finalize(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def clean(text: str) -> str:
    """The text with U+FFFD for what no document may hold, and with six marks on a letter at most."""
    text = _FORBIDDEN.sub("\ufffd", text)
    return text if text.isascii() else _MANY_MARKS.sub("", text)


def address(value: str | Mapping[str, str]) -> str:
    """A word as a part of an address, or fields as its query; no word may fail, a lone surrogate either."""
    if isinstance(value, str):
        return quote(value, safe="", errors="replace")
    return urlencode(value, errors="replace")


def octets(size: int) -> str:
    """A size for a person."""
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def lasting(seconds: float) -> str:
    """A time for a person: its two largest units."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, next_size, next_unit in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {unit} {rest} {next_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def stamp(at: datetime) -> str:
    """An instant as a page without scripts shows it, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def document(value: object) -> str:
    """A value as JSON for a person, at most `REQUEST_CHARACTERS` long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= REQUEST_CHARACTERS else f"{text[:REQUEST_CHARACTERS]}\n… (cut)"


def short(text: str, characters: int) -> str:
    """The beginning of a text, with an ellipsis where there is more."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
