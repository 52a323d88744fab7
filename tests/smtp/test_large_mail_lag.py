"""The receiver's event loop while a large mail comes in, is checked, and is scanned."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from bench.lag_in import TARGET, measure

pytestmark = pytest.mark.process


def best_lags(rounds, only):
    """The worst of the best round on the loop's own clock, in seconds, by mail."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(rounds, only))
    return {name: min(max(each.loop) for each in lags) for name, lags in found.items()}


def test_loop_is_free_while_a_signed_mail_of_25_mb_comes_in():
    """No task waits 20 ms for work of the loop while a signed mail of 25 MB is received, hashed and
    verified.
    """
    lags = best_lags(2, "25 MB signed in both forms")
    assert max(lags.values()) < TARGET, lags
    assert len(lags) == 2


@pytest.mark.needs("clamd", "clamav-daemon")
def test_loop_is_free_while_26_mb_go_to_clamd():
    """Nor while 26 MB are read back from the file and streamed to a real clamd."""
    lags = best_lags(2, "signed, checked, to clamd")
    assert max(lags.values()) < TARGET, lags
    assert len(lags) == 2  # that of an idle loop is among them
