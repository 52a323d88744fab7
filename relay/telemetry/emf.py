"""The metrics as one line for CloudWatch, in its Embedded Metric Format: no agent has to scrape anything.

Owns which of the metrics go there, and their names; the alarms of `deploy/aws` stand on these. Never asks for
them and never writes the line. CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

NAMESPACE = "ConnectMailRelay"
#: The one dimension. A metric by host would cost as many more metrics as there are hosts; each line names its
#: host all the same.
DIMENSION = "service"

#: The samples of a process: by name and labels.
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A metric of CloudWatch: the samples that it is made of, and how those of several processes make one."""

    family: str
    label: tuple[str, str] | None = None
    #: The family whose samples are taken off those; "" for none.
    less: str = ""
    unit: str = "Count"
    #: A counter is told as its growth since the line before.
    grows: bool = False
    join: Callable[[Iterable[float]], float] = max


def _counted(family: str, label: tuple[str, str] | None = None) -> Source:
    return Source(family=family, label=label, grows=True, join=sum)


SOURCES: Mapping[str, Source] = {
    "Accepted": _counted("relay_transactions_total", ("disposition", "accept")),
    "Deferred": _counted("relay_transactions_total", ("disposition", "defer")),
    "Refused": _counted("relay_transactions_total", ("disposition", "reject")),
    "Delivered": _counted("relay_deliveries_total", ("outcome", "done")),
    "NotUnderstood": _counted("relay_adaptations_total", ("code", "message.not_understood")),
    "Hangs": _counted("relay_hangs_total"),
    "Waiting": Source(family="relay_spool_messages", label=("state", "queued")),
    "Held": Source(family="relay_spool_messages", label=("state", "held")),
    "HeldByPolicy": Source(family="relay_spool_policy_held"),
    "HeldOtherwise": Source(
        family="relay_spool_messages", label=("state", "held"), less="relay_spool_policy_held"
    ),
    "Dead": Source(family="relay_spool_messages", label=("state", "dead")),
    "OldestSeconds": Source(family="relay_spool_oldest_seconds", unit="Seconds"),
    "RoutesHeld": Source(family="relay_routes_held"),
    "ServicesAway": Source(family="relay_service_away", join=sum),
    "DelivererSilentSeconds": Source(family="relay_deliverer_silent_seconds", unit="Seconds"),
    "IntakeClosed": Source(family="relay_intake_closed"),
}


def read_samples(text: str) -> Samples:
    """The samples of one process's exposition that a metric of CloudWatch is made of."""
    families = {family for source in SOURCES.values() for family in (source.family, source.less)}
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in families
    }


def build_line(
    now: Mapping[str, Samples], before: Mapping[str, Samples], *, host: str, milliseconds: int
) -> dict[str, Any]:
    """The line for the samples of all processes, by process; `before` are those of the line before it.

    A metric that no process knows is left out: 0 would be a wrong answer.
    """
    values = {
        name: value
        for name, source in SOURCES.items()
        if (value := _measure(source, now, before)) is not None
    }
    return {
        "_aws": {
            "Timestamp": milliseconds,
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [[DIMENSION]],
                    "Metrics": [{"Name": name, "Unit": SOURCES[name].unit} for name in values],
                }
            ],
        },
        DIMENSION: "relay",
        "host": host,
        **values,
    }


def _measure(source: Source, now: Mapping[str, Samples], before: Mapping[str, Samples]) -> float | None:
    found = [
        value - _earlier(before.get(process, {}).get(key, 0.0), value) if source.grows else value
        for process, samples in now.items()
        for key, value in samples.items()
        if key[0] == source.family and (source.label is None or source.label in key[1])
    ]
    if not found:
        return None
    less = [
        value for samples in now.values() for (family, _), value in samples.items() if family == source.less
    ]
    return source.join(found) - (source.join(less) if less else 0.0)


def _earlier(earlier: float, value: float) -> float:
    """The value to compare with. A counter that fell is that of a new process, which began at 0."""
    return earlier if earlier <= value else 0.0
