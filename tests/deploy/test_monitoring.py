"""The alerts and the dashboard under deploy/: each names metrics that exist, and fires on its trouble."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.request
from functools import cache
from pathlib import Path

import pytest
import yaml
from harness import Daemon, build_mail, free_port, send, until

from relay.sandbox.limits import Refusal
from relay.telemetry import metrics

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "relay.json"
_UNPACKED = ROOT / ".venv" / "prometheus" / "usr" / "bin"


def find_program(name):
    """The path of a program of Debian's package prometheus, installed or unpacked by `.ci/programs`."""
    return shutil.which(name) or shutil.which(name, path=str(_UNPACKED))


needs_prometheus = pytest.mark.skipif(
    find_program("promtool") is None, reason="promtool is not here; install the Debian package prometheus"
)


@cache
def rule_groups():
    """The groups of alerts; read once, because YAML is slow to read."""
    return yaml.safe_load(RULES.read_text())["groups"]


def expressions():
    """Each expression of the alerts and of the dashboard, with where it stands."""
    for group in rule_groups():
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


def families():
    """The metrics of a process: the name of each sample, and the labels that it has."""
    known = {}
    for metric in vars(metrics).values():
        if isinstance(metric, metrics.Counter):
            known[metric._name + "_total"] = set(metric._labelnames)
        elif isinstance(metric, metrics.Gauge):
            known[metric._name] = set(metric._labelnames)
        elif isinstance(metric, metrics.Histogram):
            known |= {
                metric._name + end: {*metric._labelnames, "le"} for end in ("_bucket", "_sum", "_count")
            }
    return known


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_names_metrics_and_labels_that_exist(expression):
    """A metric that was renamed would never fire, and nobody would notice."""
    known = families()
    used = re.findall(r"\b(relay_\w+)(?:\{([^}]*)\})?", expression)
    assert used or 'up{job="relay"}' in expression
    for name, selector in used:
        labels = set(re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"', selector))
        assert labels <= known[name] | {"instance", "job", "process"}, name


@pytest.mark.parametrize("expression", list(expressions()))
def test_a_value_of_a_label_is_one_that_is_counted(expression):
    """`state="ded"` would never fire either."""
    values = {
        "state": {"queued", "leased", "held", "dead", "done"},
        "event": {labels[0] for labels in metrics.ENTRIES._metrics},
        "outcome": {labels[0] for labels in metrics.DELIVERIES._metrics},
        "failure": {labels[1] for labels in metrics.DELIVERY_FAILURES._metrics},
        "service": {labels[0] for labels in metrics.DELIVERY_FAILURES._metrics} | {"credentials"},
        "code": {labels[0] for labels in metrics.ADAPTATIONS._metrics},
        "disposition": {labels[0] for labels in metrics.TRANSACTIONS._metrics},
    }
    for label, words in re.findall(r'(\w+)(?:=~|!=|=)"([a-z0-9_.|-]+)"', expression):
        if label in values:
            assert set(words.split("|")) <= values[label], label


def test_every_alert_says_what_to_do():
    """A summary, a description and a severity for each."""
    for group in rule_groups():
        for rule in group["rules"]:
            assert {"summary", "description"} == set(rule["annotations"]), rule["alert"]
            assert rule["labels"]["severity"] in ("page", "warning")


def test_every_alert_has_a_test():
    """Each is seen to fire once in rules_test.yml."""
    alerts = {rule["alert"] for group in rule_groups() for rule in group["rules"]}
    tests = yaml.safe_load((RULES.parent / "rules_test.yml").read_text())["tests"]
    fired = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert fired == alerts


@pytest.mark.system
@needs_prometheus
@pytest.mark.parametrize("command", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_agrees(command):
    """Prometheus' own tool reads the rules, and each fires when it should."""
    done = subprocess.run(
        [find_program("promtool"), *command],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs: [{{job_name: relay, static_configs: [{{targets: ["{target}"]}}]}}]
"""


@pytest.mark.system
@pytest.mark.process
@needs_prometheus
def test_a_real_prometheus_tells_of_a_held_route(box, tmp_path):
    """Prometheus scrapes the daemon, and the alert fires when Connect does not know the flow of a route."""
    rules = tmp_path / "rules.yml"
    rules.write_text(re.sub(r"for: \d+m", "for: 0s", RULES.read_text()))
    with Daemon(tmp_path, env=box.environ(), extra="[alarms]\nevery_seconds = 0.2").start() as daemon:
        target = daemon.wait_for("admin.opened")["bind"]
        config, port = tmp_path / "prometheus.yml", free_port()
        config.write_text(PROMETHEUS.format(rules=rules, target=target))
        refusal = Refusal(code="ResourceNotFoundException", message="Contact flow not found")
        box.connect.planned.extend([refusal] * 1_000)
        send(daemon.port, build_mail("denied"))
        with prometheus(config, port, tmp_path):
            until(lambda: "RelayRouteHeld" in firing(port))
            assert "RelayAway" not in firing(port)
            box.connect.planned.clear()
            assert daemon.run("resume", "route", "support@example.com").returncode == 0
            until(lambda: "RelayRouteHeld" not in firing(port))


@contextlib.contextmanager
def prometheus(config, port, home):
    """A Prometheus of this configuration on loopback, until the block ends."""
    options = [
        f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={home}/tsdb"
    ]  # fmt: skip
    with (home / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([find_program("prometheus"), *options], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def firing(port):
    """The names of the alerts that fire now; none while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
    except OSError:
        return set()
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
