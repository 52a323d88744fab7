"""The scanners as `relay check` finds them."""

from __future__ import annotations

import pytest
from harness import free_port
from scanner_server import scanners_in_a_thread

from relay.check.scanners import examine_scanners
from relay.config.builtin import builtin_config


def test_scanners_that_answer_are_ok():
    """Both scanners say that they are there."""
    with scanners_in_a_thread() as scanners:
        config = builtin_config(
            scan={"clamd": {"address": scanners.clamd}, "rspamd": {"url": scanners.rspamd}}
        )
        found = list(examine_scanners(config))
    assert [(each.level, each.subject.split()[0], each.detail) for each in found] == [
        ("ok", "clamd", "answers"),
        ("ok", "rspamd", "answers"),
    ]


@pytest.mark.parametrize(("away", "level"), [("accept", "warn"), ("defer", "fail")])
def test_scanners_that_are_away(away, level):
    """A scanner that is away keeps mail out only where mail is deferred for it."""
    port = free_port()
    scan = {
        "on_unavailable": away,
        "clamd": {"address": f"127.0.0.1:{port}"},
        "rspamd": {"url": f"http://127.0.0.1:{port}"},
    }
    found = list(examine_scanners(builtin_config(scan=scan)))
    assert [each.level for each in found] == [level, level]
    assert "scan.clamd.address" in found[0].detail
    assert "scan.rspamd.url" in found[1].detail


def test_nobody_is_asked_without_a_scanner():
    """A configuration without scanners has no finding."""
    assert list(examine_scanners(builtin_config())) == []
