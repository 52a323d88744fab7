"""The line of metrics for CloudWatch: made of what the processes count, and told once a minute."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.config.builtin import builtin_config
from relay.daemon import metric_lines
from relay.telemetry import exposition, log, metrics
from relay.telemetry.emf import SOURCES, build_line, read_samples

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"
COUNTED = """
# TYPE relay_transactions_total counter
relay_transactions_total{{disposition="accept"}} {accepted}
# TYPE relay_spool_messages gauge
relay_spool_messages{{state="queued"}} {queued}
"""


def line(now, before=None):
    """The line for processes by name, each (accepted, queued)."""

    def samples(processes):
        return {
            name: read_samples(COUNTED.format(accepted=accepted, queued=queued))
            for name, (accepted, queued) in processes.items()
        }

    return build_line(samples(now), samples(before or {}), host="mx1.example.com", milliseconds=1)


def test_counters_are_told_as_their_growth_over_all_processes():
    """Two receivers are one metric; the gauge that only the deliverer knows is no sum."""
    told = line({"receiver-0": (7, 0), "receiver-1": (5, 0), "deliverer": (0, 9)}, {"receiver-0": (4, 0)})
    assert (told["Accepted"], told["Waiting"]) == (8, 9)


def test_process_that_began_anew_is_not_told_as_less_than_nothing():
    """A counter that fell is one of a new process, which counted from 0."""
    assert line({"receiver-0": (2, 0)}, {"receiver-0": (100, 0)})["Accepted"] == 2


@pytest.mark.parametrize(("held", "policy", "otherwise"), [(7, "5", 2), (5, "5", 0), (3, None, 3)])
def test_mail_that_the_policy_holds_is_told_apart(held, policy, otherwise):
    """What an alarm stands on leaves out the quarantine, whose mail would keep it raised for ever."""
    text = f'# TYPE relay_spool_messages gauge\nrelay_spool_messages{{state="held"}} {held}\n'
    text += f"# TYPE relay_spool_policy_held gauge\nrelay_spool_policy_held {policy}\n" if policy else ""
    samples = {"deliverer": read_samples(text), "receiver-0": {}}
    told = build_line(samples, {}, host="mx1.example.com", milliseconds=1)
    assert (told["Held"], told["HeldOtherwise"]) == (held, otherwise)
    assert told.get("HeldByPolicy") == (float(policy) if policy else None)


def test_line_is_of_the_embedded_metric_format():
    """Each metric that is told has its value beside it, and none that nobody knows is told."""
    told = line({"deliverer": (1, 2)})
    (directive,) = told["_aws"]["CloudWatchMetrics"]
    names = {each["Name"] for each in directive["Metrics"]}
    assert names == {"Accepted", "Waiting"}
    assert all(isinstance(told[name], int | float) for name in names)
    assert directive["Dimensions"] == [["service"]]
    assert isinstance(told["service"], str)
    assert isinstance(told["_aws"]["Timestamp"], int)


@pytest.mark.parametrize("name", SOURCES)
def test_source_of_each_metric_exists(name):
    """A metric that was renamed would never be told again; each has its line in the documents, too."""
    source = SOURCES[name]
    families = {
        metric._name + ("_total" if isinstance(metric, metrics.Counter) else ""): metric
        for metric in vars(metrics).values()
        if isinstance(metric, metrics.Counter | metrics.Gauge)
    }
    metric = families[source.family]
    assert not source.less or (source.less in families and not source.grows)
    assert source.grows == isinstance(metric, metrics.Counter)
    if source.label is not None:
        label, value = source.label
        assert metric._labelnames == (label,)
        assert not metric._metrics or (value,) in metric._metrics or label == "state"
    assert re.search(rf"^\| .*`{name}`.* \|$", OPERATIONS.read_text(), re.MULTILINE)


def test_lines_are_told_once_a_minute_where_they_are_asked_for(monkeypatch):
    """The first has no growth: what was counted before is not of its minute. Off, there is none."""
    written, asked = [], []
    monkeypatch.setattr(log, "_lines", type("Sink", (), {"info": staticmethod(written.append)}))

    def config():
        asked.append(1)
        metrics = "emf" if len(written) < 2 else "off"
        return builtin_config(log={"metrics": metrics}, hostname="mx1.example.com")

    async def texts():
        metrics.TRANSACTIONS.labels("accept").inc(3)
        return {"receiver-0": exposition(), "busy": ""}

    async def run():
        now = datetime(2026, 11, 29, tzinfo=UTC)
        lines = metric_lines.MetricLines(config=config, metrics=texts, now=lambda: now, seconds=0.001)
        task = asyncio.create_task(lines.run())
        while len(written) < 2 or len(asked) < 12:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())
    first, second = map(json.loads, written)
    assert first["event"] == "metrics.told"
    assert (first["Accepted"], first["host"]) == (0, "mx1.example.com")
    assert second["Accepted"] == 3
