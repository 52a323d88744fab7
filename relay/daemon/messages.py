"""The messages between the supervisor and a child: frozen values, and their form as JSON.

Owns which messages there are. An *order* goes from the supervisor to a child, a *report* comes back. Never
sends one: `link` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from relay.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The first order: the child is to begin its work."""

    #: The child's name in the log.
    name: str
    config: Config
    #: The child's listening sockets by number of place, each as its position among those that it was given.
    sockets: Mapping[int, Sequence[int]]
    #: True if an earlier process in this place has worked, and ended by itself while the supervisor lived.
    after_crash: bool
    #: True if the earlier process hung, and the supervisor ended it.
    after_hang: bool
    #: The number of this receiver, from 0; 0 for the deliverer.
    index: int
    #: The number of all receivers.
    receivers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """The order to go on by another configuration."""

    name: str
    config: Config


@dataclass(frozen=True, slots=True, kw_only=True)
class AskMetrics:
    """The order to report the metrics; `ask` comes back with them."""

    ask: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The order to finish what is under way, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The report that the child works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The report that the child's event loop turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The report of a new reason why no mail can come in; "" when it can again."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The report of something that a person should know and that keeps no mail out; "" when it is over."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The report of the services that give no answers about mail, and why; none when all of them do."""

    services: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics in Prometheus's text format, in answer to `AskMetrics`."""

    ask: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The report that the child cannot work with this configuration, with the reasons."""

    sentences: tuple[str, ...]


Order = Start | Reload | AskMetrics | Stop
Report = Ready | Alive | Problem | Notice | Away | Metrics | Refused
Message = Order | Report

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Start, Reload, AskMetrics, Stop, Ready, Alive, Problem, Notice, Away, Metrics, Refused)
}


def encode(message: Message) -> bytes:
    """A message as one line of JSON, its line end included."""
    record = {each.name: getattr(message, each.name) for each in fields(message)}
    if isinstance(message, Start | Reload):
        record["config"] = message.config.pack()
    return json.dumps({"message": type(message).__name__, **record}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message that `encode` wrote."""
    record: dict[str, Any] = json.loads(line)
    kind = _KINDS[record.pop("message")]
    if "config" in record:
        record["config"] = Config.model_validate(record["config"])
    if "sockets" in record:
        record["sockets"] = {int(index): tuple(numbers) for index, numbers in record["sockets"].items()}
    if "sentences" in record:
        record["sentences"] = tuple(record["sentences"])
    return kind(**record)
