"""The values of an item of DynamoDB, and how its protocol writes them.

Owns the kinds of values that the relay uses: text, whole number, flag, octets, set of texts. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A text, a whole number, a flag, octets, a set of texts.
Value = str | int | bool | bytes | frozenset[str]
Item = Mapping[str, Value]

#: Digits of a number (Developer Guide, "Constraints": 38 of precision).
_MOST_DIGITS = 38


def dump_value(value: Value) -> dict[str, Any]:
    """A value as the protocol writes it."""
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case frozenset():
            return {"SS": sorted(value)}


def dump_item(item: Item) -> dict[str, Any]:
    """An item as the protocol writes it."""
    return {name: dump_value(value) for name, value in item.items()}


def load_value(written: Any) -> Value:
    """The value of what the protocol wrote.

    Raises:
        ValueError, TypeError: it is none of ours.
    """
    ((kind, value),) = written.items()
    match kind, value:
        case "BOOL", bool():
            return value
        case "N", str():
            return _load_number(value)
        case "S", str():
            return value
        case "B", bytes() | bytearray():
            return bytes(value)
        case "SS", list() if all(isinstance(each, str) for each in value):
            return frozenset(value)
        case _:
            raise TypeError(f"a value of kind {str(kind)[:8]!r}, which no item of ours has")


def _load_number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS):
        raise ValueError(f"{text[:50]!r} is no whole number")
    return int(text)


def load_item(written: Any) -> dict[str, Value]:
    """The item that the protocol wrote.

    Raises:
        ValueError, TypeError, AttributeError: it is no item.
    """
    return {str(name): load_value(value) for name, value in written.items()}
