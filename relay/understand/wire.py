"""The exchange format between a process that holds mail and its workers: values as plain data, and back.

Owns the format: JSON in UTF-8 of frozen dataclasses, field by field. Never executes or trusts a worker's
answer: data without the declared types raises. Functions among the fields are left out, and given anew by the
side that unpacks.
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

_Value = TypeVar("_Value")


class WireError(ValueError):
    """The other side sent data that does not fit the format."""


def dump(data: Any) -> bytes:
    """Plain data as octets, with lone surrogates kept."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def load(octets: bytes) -> dict[str, Any]:
    """The object that `dump` made these octets of.

    Raises:
        WireError: the octets are no JSON object.
    """
    try:
        data = json.loads(octets.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as exc:
        raise WireError(f"no JSON: {type(exc).__name__}") from None
    if not isinstance(data, dict):
        raise WireError("no JSON object")
    return data


def pack(value: Any) -> Any:
    """A frozen value as plain data: dataclasses become objects without their functions, tuples lists."""
    if value is None or isinstance(value, str | int | float):
        return str(value) if isinstance(value, StrEnum) else value
    if is_dataclass(value):
        found = ((name, getattr(value, name)) for name in _names(cast("Any", type(value))))
        return {name: pack(each) for name, each in found if not callable(each)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): pack(each) for key, each in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [pack(each) for each in value]
    raise TypeError(f"{type(value).__name__} is no plain data")


def unpack(kind: type[_Value], data: Any) -> _Value:
    """The value of this type that `pack` made the data of; the caller has added functions as fields of
    `data`.

    Raises:
        WireError: a field is missing, unknown or of another type.
    """
    try:
        return cast("_Value", _unpack(kind, data))
    except (TypeError, ValueError, AttributeError, KeyError) as exc:
        raise WireError(f"no {kind.__name__}: {exc}") from None


def _unpack(kind: Any, data: Any) -> Any:
    plain = getattr(kind, "__supertype__", kind)  # NewType
    origin = get_origin(plain)
    if origin in (Union, UnionType):
        return _unpack_choice(get_args(plain), data)
    if origin in (tuple, list, frozenset):
        return _unpack_series(origin, get_args(plain), data)
    if origin is not None and issubclass(origin, Mapping):
        return {_check(str, key): _unpack(get_args(plain)[1], value) for key, value in data.items()}
    if origin is not None and issubclass(origin, Callable):  # type: ignore[arg-type]  # the ABC, not the annotation
        return data
    if is_dataclass(plain):
        hints = _hints(cast("Any", plain))
        return plain(**{name: _unpack(hints[name], value) for name, value in data.items()})  # type: ignore[operator]
    if issubclass(plain, StrEnum):
        return plain(data)
    if issubclass(plain, datetime):
        return plain.fromisoformat(data)
    return _check(plain, data)


def _unpack_choice(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and NoneType in kinds:
        return None
    (kind,) = (each for each in kinds if each is not NoneType)
    return _unpack(kind, data)


def _unpack_series(origin: Any, kinds: tuple[Any, ...], data: Any) -> Any:
    if not isinstance(data, list):
        raise TypeError(f"{type(data).__name__} is no list")
    if origin is tuple and Ellipsis not in kinds:
        return tuple(_unpack(kind, each) for kind, each in zip(kinds, data, strict=True))
    return origin(_unpack(kinds[0], each) for each in data)


def _check(kind: Any, data: Any) -> Any:
    """The scalar itself, when it is of exactly this type: True is no number here."""
    if type(data) is not kind and not (kind is float and type(data) is int):
        raise TypeError(f"{type(data).__name__} is no {kind.__name__}")
    return data


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@lru_cache(maxsize=64)
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.init)
