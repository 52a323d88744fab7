"""The two halves apart, by one file: what each shows of itself, and what is said when they want one
address.
"""

from __future__ import annotations

import smtplib
import urllib.request

import pytest
from harness import Daemon, free_port, until

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def halves(module_box, tmp_path_factory):
    """A receiver that runs, and a deliverer by the same file that does not yet."""
    home = tmp_path_factory.mktemp("halves")
    homes = home / "receive", home / "deliver"
    for each in homes:
        each.mkdir()
    with Daemon(homes[0], env=module_box.environ()) as receive:
        text = receive.config_path.read_text().replace(
            'bind = "127.0.0.1:0"', f'bind = "127.0.0.1:{free_port()}"'
        )
        text += '[web]\nbind = "127.0.0.1:0"\nauth = "proxy"\nproxies = ["127.0.0.1/32"]\n'
        receive.config_path.write_text(text)
        receive.args = ["--role", "receive"]
        with Daemon(homes[1], env=module_box.environ(), config=text) as deliver:
            deliver.args = ["--role", "deliver"]
            receive.start()
            yield receive, deliver
            assert receive.stop() == 0


def gauges(daemon):
    """The gauges of ours that its page shows, by name."""
    with urllib.request.urlopen(
        f"http://{daemon.wait_for('admin.opened')['bind']}/metrics", timeout=10
    ) as answer:
        lines = answer.read().decode().splitlines()
    names = {line.partition("{")[0] for line in lines if line.startswith("relay_")}
    return {name for name in names if not name.endswith(("_total", "_bucket", "_sum", "_count"))}


def test_halves_show_what_they_know(halves):
    """With an address of its own for each, sessions are a receiver's gauge, and the queue is the
    deliverer's.
    """
    receive, deliver = halves
    deliver.start(RELAY_ADMIN__BIND="127.0.0.1:0")
    deliver.wait_for("web.opened")
    assert not [each for each in receive.events if each.get("child") == "web"], "the page is the deliverer's"
    assert gauges(receive) == {
        "relay_sessions",
        "relay_gate_closed",
        "relay_dns_away",
        "relay_intake_closed",
        "relay_build_info",
        "relay_config_files_kept",
        "relay_spool_sick",
        "relay_loop_lag_seconds",
    }
    until(lambda: "relay_spool_oldest_seconds" in gauges(deliver))
    assert gauges(deliver) == {
        "relay_spool_messages",
        "relay_clock_step_seconds",
        "relay_spool_log_bytes",
        "relay_ledger_rows",
        "relay_loop_lag_seconds",
        "relay_spool_policy_held",
        "relay_spool_oldest_seconds",
        "relay_spool_disk_full",
        "relay_spool_sick",
        "relay_routes_held",
        "relay_routes_on_standby",
        "relay_service_away",
        "relay_intake_closed",
        "relay_build_info",
        "relay_config_files_kept",
    }
    assert deliver.stop() == 0


def test_one_address_for_both_is_said(halves):
    """The second runs without health and metrics, and its log says at level error which key to change, and
    how.
    """
    receive, deliver = halves
    deliver.start()
    refused = deliver.wait_for("admin.refused")
    assert refused["level"] == "error"
    assert f'admin.bind = "{receive.wait_for("admin.opened")["bind"]}"' in refused["why"]
    assert "RELAY_ADMIN__BIND" in refused["why"]
    assert deliver.stop() == 0


def test_every_refused_recipient_is_counted(halves):
    """The log names the first few of a session, the metric counts them all."""
    daemon, _ = halves
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
        client.ehlo()
        client.mail("ada@customer.example")
        assert {client.rcpt(f"guess{number}@foreign.example")[0] for number in range(9)} == {550}
    counted = 'relay_recipients_refused_total{process="receiver-0",reply="550"} 9.0'
    assert counted in daemon.ask("metrics")[1]
    assert 0 < len([event for event in daemon.events if event["event"] == "recipient.refused"]) < 9
