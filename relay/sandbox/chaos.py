"""The faults that S3 and Connect are told to have, and the dice that decide when.

Owns the document of `/api/chaos`. Never does I/O: a fault is drawn here, and performed by the service that
has it. A table that a document names is replaced whole, one that it does not name stays, and an empty
document ends all faults.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFaults:
    """The faults of Connect: shares of calls from 0 to 1, and seconds added to each call."""

    #: Share of calls answered 429.
    throttle: float = 0.0
    #: Share of calls answered 500.
    error: float = 0.0
    latency_seconds: float = 0.0
    #: Share of calls whose work is done before the connection is dropped without a reply.
    lose_reply: float = 0.0
    #: Share of the calls other than StartEmailContact that are answered 403.
    deny: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Faults:
    """The faults of S3: shares of calls from 0 to 1, and seconds added to each call."""

    #: Share of calls answered 500.
    error: float = 0.0
    latency_seconds: float = 0.0
    #: Share of connections dropped unanswered; at 1 (or true) the port is closed.
    refuse: float = 0.0
    #: Share of calls whose work is done before the connection is dropped without a reply.
    lose_reply: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """The faults in force."""

    connect: ConnectFaults = ConnectFaults()
    s3: S3Faults = S3Faults()

    def updated(self, document: object) -> Self:
        """These faults with a document of `/api/chaos` applied.

        Raises:
            ValueError: a sentence that names the key and says what would be right.
        """
        tables = _mapping(document, "the document")
        if not tables:
            return type(self)()
        kinds: dict[str, type[ConnectFaults | S3Faults]] = {"connect": ConnectFaults, "s3": S3Faults}
        for name in tables:
            if name not in kinds:
                raise ValueError(f'"{name}" is no table of faults; there are {_names(kinds)}')
        parsed: dict[str, Any] = {name: _parse(kinds[name], name, table) for name, table in tables.items()}
        return replace(self, **parsed)

    def document(self) -> dict[str, dict[str, float]]:
        """The document that `GET /api/chaos` answers with and `POST` takes."""
        return asdict(self)


def _parse(kind: type[ConnectFaults | S3Faults], name: str, table: object) -> ConnectFaults | S3Faults:
    known = [field.name for field in fields(kind)]
    values: dict[str, float] = {}
    for key, value in _mapping(table, name).items():
        if key not in known:
            raise ValueError(f'"{name}.{key}" is no fault; {name} has {_names(known)}')
        limit = 600.0 if key == "latency_seconds" else 1.0
        if not isinstance(value, int | float) or not 0 <= value <= limit:
            raise ValueError(f'"{name}.{key}" must be a number from 0 to {limit:g}')
        values[key] = float(value)
    return kind(**values)


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON object")  # noqa: TRY004  # one kind of error
    return value


def _names(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names)


class Dice:
    """The faults in force, and a source of chance; a seed makes a run repeatable."""

    def __init__(self, seed: int | None = None) -> None:
        self.chaos = Chaos()
        self._random = random.Random(seed)  # noqa: S311  # faults need no secrecy

    def roll(self, share: float) -> bool:
        """Returns whether a fault with this share strikes now."""
        return share > 0 and self._random.random() < share
