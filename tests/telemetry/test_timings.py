"""How long mails take, and entries in and out by one name: what the steps count, and who shows it."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from harness import Daemon, build_mail, send, until
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from relay import __version__, telemetry
from relay.daemon.admin import merge_expositions
from relay.telemetry.metrics import Step


def value(name, **labels):
    """The value of a sample of this process; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("step", get_args(Step))
def test_step_that_fails_is_timed(step):
    """A call that ends by its time-out has taken its time, and the error goes on."""
    before = value("relay_step_seconds_count", step=step)
    with pytest.raises(TimeoutError), telemetry.step_timed(step):
        raise TimeoutError
    assert value("relay_step_seconds_count", step=step) == before + 1


def test_contact_of_a_clock_that_was_set_back():
    """A contact before its own 250 took no time: a sum that falls would be taken for a new process."""
    telemetry.contact_made(route="set back", seconds=-3_600.0)
    assert value("relay_contact_seconds_sum", route="set back") == 0.0
    assert value("relay_contact_seconds_bucket", route="set back", le="0.25") == 1.0


def shown(doing):
    """The samples of ours in a new process that has done this: name and labels."""
    code = f"from relay import telemetry; from relay.telemetry import metrics; {doing}; print(telemetry.exposition())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {
        (sample.name, *sample.labels.values())
        for family in text_string_to_metric_families(run.stdout)
        for sample in family.samples
        if sample.name.endswith(("_seconds_count", "_info"))
    } - {("python_info",)}


@pytest.mark.process
@pytest.mark.parametrize(
    ("begin", "known"),
    [
        ("metrics.begin_receiver()", {("relay_step_seconds_count", "commit")}),
        (
            'metrics.begin_deliverer(["sales"])',
            {
                ("relay_contact_seconds_count", "sales"),
                *(("relay_step_seconds_count", each) for each in ("understand", "s3", "connect")),
            },
        ),
    ],
)
def test_histogram_is_shown_by_who_moves_it(begin, known):
    """Each half shows the steps that it takes from the start, and no child the version, which its forked
    memory has from the supervisor.
    """
    started = 'metrics.BUILD_INFO.labels("v", "p").set(1)'
    assert {each for each in shown(f"{started}; {begin}") if each[0].startswith("relay")} == known


def test_histograms_of_processes_are_merged_whole():
    """Each bucket of each process is there once, in the order of its bounds, under one type."""
    telemetry.contact_made(route="merged", seconds=7.0)
    text = telemetry.exposition()
    merged = merge_expositions({"deliverer": text, "other": text}).decode()
    assert merged.count("# TYPE relay_contact_seconds histogram") == 1
    (family,) = (
        each for each in text_string_to_metric_families(merged) if each.name == "relay_contact_seconds"
    )
    for process in ("deliverer", "other"):
        mine = [
            each
            for each in family.samples
            if each.labels["process"] == process and each.labels["route"] == "merged"
        ]
        counts = [each.value for each in mine if each.name.endswith("_bucket")]
        assert counts == [0.0] * 5 + [1.0] * 10
        assert [each.value for each in mine if each.name.endswith(("_count", "_sum"))] == [1.0, 7.0]


@pytest.mark.process
def test_mail_is_timed_on_its_whole_way(box, tmp_path):
    """The page of a daemon: entries that came in and contacts that went out have one name and agree, a
    retransmission is none, and each step and the whole way are timed.
    """
    with Daemon(tmp_path, env=box.environ()).start() as daemon:
        again = build_mail("again", attachment=b"%PDF-1.4")
        for mail in (build_mail("first"), again, again):
            send(daemon.port, mail)

        def samples():
            return {
                (
                    sample.name,
                    *sorted(item for item in sample.labels.items() if item[0] != "le"),
                ): sample.value
                for family in text_string_to_metric_families(daemon.ask("metrics")[1])
                for sample in family.samples
                if not sample.name.endswith("_bucket")
            }

        delivers, receives = ("process", "deliverer"), ("process", "receiver-0")
        gone = ("relay_entries_total", ("event", "delivered"), delivers)
        until(lambda: samples().get(gone) == 2)
        found = samples()
        route = ("route", "support@example.com")
        assert found["relay_entries_total", ("event", "accepted"), receives] == 2
        assert found["relay_contact_seconds_count", delivers, route] == 2
        assert 0 < found["relay_contact_seconds_sum", delivers, route] < 60
        assert found["relay_step_seconds_count", receives, ("step", "commit")] == 3
        assert found["relay_step_seconds_count", delivers, ("step", "s3")] == 1
        for step in ("understand", "connect"):
            assert found["relay_step_seconds_count", delivers, ("step", step)] == 2
        builds = [labels for name, *labels in found if name == "relay_build_info"]
        assert [(dict(each)["version"], dict(each)["process"]) for each in builds] == [
            (__version__, "supervisor")
        ]
