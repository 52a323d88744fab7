"""An item of a table as plain values, and how its attributes are read.

Owns the kinds of values. Never does I/O. Whatever stands in an item, reading it gives a value of the kind
that was asked for, or a `SpoolCorruptError`.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Literal, Self

from relay.aws.values import Item, Value
from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.fleet.tables import PARTITION, SORT, VERSION, split_key

#: Octets of an attribute of JSON; an item has at most 409,600 of all kinds.
_MOST_JSON_BYTES = 409_600


def check_texts(item: Item) -> Item:
    """The item, once all its texts can be written.

    Raises:
        ValueError: a text holds half of a surrogate pair.
    """
    for name, value in item.items():
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as exc:
                raise ValueError(f"{name} holds half of a surrogate pair") from exc
    return item


class Reader:
    """The attributes of an item, by name and kind; leaving the block turns what went wrong into our error."""

    def __init__(self, item: Item) -> None:
        self._item = item

    def __enter__(self) -> Self:
        if (version := self._item.get("v", VERSION)) != VERSION:
            raise SpoolCorruptError(
                f"{self._name()} is of version {version!r}, and this relay knows {VERSION}"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(
            exc, ValueError | TypeError | KeyError | AttributeError | OverflowError | RecursionError
        ):
            raise SpoolCorruptError(f"{self._name()} cannot be read: {exc}") from exc
        if kind is not None and kind.__module__ == "zlib":
            raise SpoolCorruptError(f"{self._name()} cannot be unpacked") from exc
        return False

    def _name(self) -> str:
        return f"item {self._item.get(PARTITION)!r} {self._item.get(SORT)!r}"[:200]

    def has(self, name: str) -> bool:
        """Returns whether the item has this attribute."""
        return name in self._item

    def value(self, name: str) -> Value:
        """The value of an attribute, of any kind."""
        if name not in self._item:
            raise ValueError(f"it has no {name}")
        return self._item[name]

    def text(self, name: str) -> str:
        """A text."""
        if not isinstance(value := self.value(name), str):
            raise TypeError(f"{name} is no text")
        return value

    def maybe_text(self, name: str) -> str | None:
        """A text. Returns None if there is no such attribute."""
        return self.text(name) if name in self._item else None

    def number(self, name: str) -> int:
        """A whole number."""
        if isinstance(value := self.value(name), bool) or not isinstance(value, int):
            raise TypeError(f"{name} is no number")
        return value

    def maybe_number(self, name: str) -> int | None:
        """A whole number. Returns None if there is no such attribute."""
        return self.number(name) if name in self._item else None

    def flag(self, name: str) -> bool:
        """A flag. Returns False if there is no such attribute."""
        if not isinstance(value := self._item.get(name, False), bool):
            raise TypeError(f"{name} is no flag")
        return value

    def octets(self, name: str) -> bytes:
        """Octets."""
        if not isinstance(value := self.value(name), bytes):
            raise TypeError(f"{name} is no octets")
        return value

    def texts(self, name: str) -> dict[str, str]:
        """An object of JSON, name and text."""
        found = self._json(name)
        if not isinstance(found, dict):
            raise TypeError(f"{name} is no object")
        return {str(key): str(value) for key, value in found.items()}

    def json_list(self, name: str) -> list[Any]:
        """A list of JSON."""
        found = self._json(name)
        if not isinstance(found, list):
            raise TypeError(f"{name} is no list")
        return found

    def _json(self, name: str) -> Any:
        text = self.text(name)
        if len(text) > _MOST_JSON_BYTES:
            raise ValueError(f"{name} is too long")
        return json.loads(text)

    def mail_key(self) -> tuple[SpoolId, int | None]:
        """The mail of the item's key, and the number of the entry, None for the mail itself."""
        return split_key((self.text(PARTITION), self.text(SORT)))
