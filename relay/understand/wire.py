"""The exchange format between a process that holds mail and its workers: values as plain data, and back.

Owns the format: JSON in UTF-8 of frozen dataclasses, field by field. Never executes or trusts a worker's
answer: data without the declared types raises. Functions among the fields are left out, and given anew by the
side that unpacks. Each mail is packed and unpacked several times: the converter of a type is built once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import orjson

_Value = TypeVar("_Value")
_Step = Callable[[Any], Any]
#: Values of these types are plain data already.
_PLAIN = frozenset({str, int, float, bool, NoneType})
#: Types that orjson would write by itself, and `json` does not: only plain data is written.
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class WireError(ValueError):
    """The other side sent data that does not fit the format."""


def dump(data: Any) -> bytes:
    """Plain data as octets, with lone surrogates kept."""
    try:
        return orjson.dumps(data, option=_STRICT)
    except orjson.JSONEncodeError:  # a lone surrogate
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def load(octets: bytes) -> dict[str, Any]:
    """The object that `dump` made these octets of.

    Raises:
        WireError: the octets are no JSON object.
    """
    try:
        data = orjson.loads(octets)
    except orjson.JSONDecodeError:
        data = _load_any(octets)
    if not isinstance(data, dict):
        raise WireError("no JSON object")
    return data


def _load_any(octets: bytes) -> Any:
    """Plain data that orjson does not read, because of lone surrogates."""
    try:
        return json.loads(octets.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as exc:
        raise WireError(f"no JSON: {type(exc).__name__}") from None


def pack(value: Any) -> Any:
    """A frozen value as plain data: dataclasses become objects without their functions, tuples lists."""
    kind: Any = type(value)
    return value if kind in _PLAIN else _packer(kind)(value)


@lru_cache(maxsize=256)
def _packer(kind: Any) -> _Step:
    """The function that turns values of this type into plain data."""
    if issubclass(kind, StrEnum):
        return str
    if issubclass(kind, str | int | float):
        return _keep
    if is_dataclass(kind):
        return _fields_packer(tuple(field.name for field in fields(kind) if field.init))
    if issubclass(kind, datetime):
        return cast("_Step", kind.isoformat)
    if issubclass(kind, Mapping):
        return lambda value: {str(key): pack(each) for key, each in value.items()}
    if issubclass(kind, tuple | list | frozenset):
        return lambda value: [pack(each) for each in value]
    raise TypeError(f"{kind.__name__} is no plain data")


def _fields_packer(names: tuple[str, ...]) -> _Step:
    def pack_fields(value: Any) -> dict[str, Any]:
        packed: dict[str, Any] = {}
        for name in names:
            each = getattr(value, name)
            kind: Any = type(each)
            if kind in _PLAIN:
                packed[name] = each
            elif not callable(each):
                packed[name] = _packer(kind)(each)
        return packed

    return pack_fields


def _keep(value: Any) -> Any:
    return value


def unpack(kind: type[_Value], data: Any) -> _Value:
    """The value of this type that `pack` made the data of; the caller has added functions as fields of
    `data`.

    Raises:
        WireError: a field is missing, unknown or of another type.
    """
    try:
        return cast("_Value", _unpacker(cast("Any", kind))(data))
    except (TypeError, ValueError, AttributeError, KeyError) as exc:
        raise WireError(f"no {kind.__name__}: {exc}") from None


@lru_cache(maxsize=256)
def _unpacker(kind: Any) -> _Step:
    """The function that turns plain data into a value of this type, and checks each field."""
    plain = getattr(kind, "__supertype__", kind)  # NewType
    origin = get_origin(plain)
    if origin in (Union, UnionType):
        return _choice_unpacker(get_args(plain))
    if origin in (tuple, list, frozenset):
        return _series_unpacker(origin, get_args(plain))
    if origin is not None and issubclass(origin, Mapping):
        each = _unpacker(get_args(plain)[1])
        return lambda data: {_check_text(key): each(value) for key, value in data.items()}
    if origin is not None and issubclass(origin, Callable):  # type: ignore[arg-type]  # the ABC, not the annotation
        return _keep
    if is_dataclass(plain):
        return _fields_unpacker(plain)
    if issubclass(plain, StrEnum):
        return cast("_Step", plain)
    if issubclass(plain, datetime):
        return cast("_Step", plain.fromisoformat)
    return _scalar_unpacker(plain)


def _fields_unpacker(kind: Any) -> _Step:
    steps = {name: _unpacker(hint) for name, hint in get_type_hints(kind).items()}
    return lambda data: kind(**{name: steps[name](value) for name, value in data.items()})


def _choice_unpacker(kinds: tuple[Any, ...]) -> _Step:
    """The converter of a type that may be None."""
    (kind,) = (each for each in kinds if each is not NoneType)
    step = _unpacker(kind)
    if NoneType not in kinds:
        return step
    return lambda data: None if data is None else step(data)


def _series_unpacker(origin: Any, kinds: tuple[Any, ...]) -> _Step:
    if origin is tuple and Ellipsis not in kinds:
        steps = tuple(_unpacker(kind) for kind in kinds)
        return lambda data: tuple(step(each) for step, each in zip(steps, _check_list(data), strict=True))
    step = _unpacker(kinds[0])
    return lambda data: origin([step(each) for each in _check_list(data)])


def _check_list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"{type(data).__name__} is no list")
    return data


def _scalar_unpacker(kind: Any) -> _Step:
    """The check that a scalar is of exactly this type: True is no number here."""

    def check(data: Any) -> Any:
        if type(data) is kind or (kind is float and type(data) is int):
            return data
        raise TypeError(f"{type(data).__name__} is no {kind.__name__}")

    return check


_check_text = _scalar_unpacker(str)
