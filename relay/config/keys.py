"""The keys of the configuration as a list: what may stand where, and what type it has.

Owns the walk over the model that the environment, the error sentences and the tests of the documents share.
Never reads a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from relay.config.model import Config
from relay.config.section import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the file."""

    #: "connect.burst", or "listeners[].bind" for a key of every entry of a list of tables.
    name: str
    #: True where the file must give it.
    required: bool
    #: The default as Python holds it; None where the key is required, and where there is no default.
    default: Any


def _core(annotation: Any) -> Any:
    """The type without its `Annotated`, and without the `| None` of an optional key."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return _core(kinds[0])
    return annotation


def fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a table as the file spells them: `from` is a word of Python, and has another name there."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def type_at(path: Sequence[str | int]) -> Any:
    """The type of the value at a path like ("listeners", 0, "bind"). Returns None where no such key
    exists.
    """
    kind: Any = Config
    for step in path:
        if _is_section(kind):
            field = fields_of(kind).get(str(step))
            kind = _core(field.annotation) if field else None
        elif get_origin(kind) is tuple and isinstance(step, int):
            kind = _core(get_args(kind)[0])
        elif get_origin(kind) is dict:
            kind = _core(get_args(kind)[1])
        else:
            return None
    return kind


def is_text(kind: Any) -> bool:
    """Returns whether a value of this type is written in quotes."""
    return kind in (str, Path) or get_origin(kind) is Literal


def is_list(kind: Any) -> bool:
    """Returns whether a value of this type is a list."""
    return get_origin(kind) is tuple


def names_at(path: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that may stand in the table at this path. Returns none where the path leads to no table."""
    kind = type_at(path)
    return tuple(fields_of(kind)) if _is_section(kind) else ()


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def all_keys(section: type[Section] = Config, prefix: str = "") -> Iterator[Key]:
    """Every key in the order of the model; a table is not named itself, its keys are."""
    for name, field in fields_of(section).items():
        kind = _core(field.annotation)
        if _is_section(kind):
            yield from all_keys(kind, f"{prefix}{name}.")
        elif is_list(kind) and _is_section(_core(get_args(kind)[0])):
            yield from all_keys(_core(get_args(kind)[0]), f"{prefix}{name}[].")
        else:
            yield Key(name=f"{prefix}{name}", required=field.is_required(), default=_default(field))
