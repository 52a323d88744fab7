"""The shapes of a service model, each made into a function that says whether a value fits it.

Owns the quick look at a sound request: botocore's validator goes through the model again for every value and
collects sentences, which takes ten times as long, and nearly every request is sound. A value that does not
fit here is judged by the validator, in words; a type of shape that is not known here fits nothing. Never
calls anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import regex
from botocore.model import Shape

from relay.contact.characters import is_sendable

Fits = Callable[[Any], bool]


@cache
def compile_pattern(pattern: str) -> Any:
    """The pattern of a string shape."""
    # They are written for Java, and `re` does not know \P{C}.
    return regex.compile(pattern, regex.V0)


def compile_shape(shape: Shape, maxima: Mapping[str, int]) -> Fits:
    """The function that says whether a value fits a shape; `maxima` replaces the maximum of single shapes by
    their name.
    """
    return _Compiler(maxima).compile(shape)


class _Compiler:
    """The functions of one service model, each shape's made once: segment attributes hold themselves."""

    def __init__(self, maxima: Mapping[str, int]) -> None:
        self._maxima = maxima
        self._made: dict[str, Fits | None] = {}

    def compile(self, shape: Shape) -> Fits:
        if shape.name not in self._made:
            self._made[shape.name] = None
            make = getattr(self, f"_{shape.type_name}", None)
            self._made[shape.name] = make(shape) if make is not None else _fits_nothing
        made = self._made[shape.name]
        return made if made is not None else partial(self._later, shape.name)

    def _later(self, name: str, value: Any) -> bool:
        """Returns whether a value fits a shape that was not made yet when it was asked for."""
        return (self._made[name] or _fits_nothing)(value)

    def _most(self, shape: Shape) -> float:
        most: float = self._maxima.get(shape.name, shape.metadata.get("max", float("inf")))
        return most

    def _structure(self, shape: Shape) -> Fits:
        if shape.is_tagged_union or shape.is_document_type:
            return _fits_nothing
        members = {name: self.compile(member) for name, member in shape.members.items()}
        required = frozenset(shape.metadata.get("required", ()))

        def fits(value: Any) -> bool:
            if not isinstance(value, dict) or not required <= value.keys():
                return False
            for name, one in value.items():
                member = members.get(name)
                if member is None or not member(one):
                    return False
            return True

        return fits

    def _list(self, shape: Shape) -> Fits:
        member, least, most = self.compile(shape.member), shape.metadata.get("min", 0), self._most(shape)

        def fits(value: Any) -> bool:
            return (
                isinstance(value, (list, tuple)) and least <= len(value) <= most and all(map(member, value))
            )

        return fits

    def _map(self, shape: Shape) -> Fits:
        key, member, most = self.compile(shape.key), self.compile(shape.value), self._most(shape)

        def fits(value: Any) -> bool:
            if not isinstance(value, dict) or len(value) > most:
                return False
            return all(map(key, value)) and all(map(member, value.values()))

        return fits

    def _integer(self, shape: Shape) -> Fits:
        least, most = shape.metadata.get("min", float("-inf")), self._most(shape)
        return lambda value: type(value) is int and least <= value <= most

    def _string(self, shape: Shape) -> Fits:
        least, most = shape.metadata.get("min", 0), self._most(shape)
        allowed = frozenset(getattr(shape, "enum", None) or ())
        pattern = shape.metadata.get("pattern")
        matches = compile_pattern(pattern).fullmatch if pattern else None

        def fits(value: Any) -> bool:
            if not isinstance(value, str):
                return False
            size = len(value)
            if not least <= size <= most or not is_sendable(value):
                return False
            # Services written in Java count UTF-16 units, of which a character has one or two.
            if 2 * size > most and not value.isascii() and len(value.encode("utf-16-le")) > 2 * most:
                return False
            return (not allowed or value in allowed) and (matches is None or matches(value) is not None)

        return fits


def _fits_nothing(value: Any) -> bool:  # noqa: ARG001 - the validator judges it
    return False
