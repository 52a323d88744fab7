"""The rule of a hang, and the systemd watchdog's: what is counted, from when, and until when."""

from __future__ import annotations

from relay.daemon.vigil import BACK_SECONDS, Pulse


def test_silence_is_counted_from_the_last_sign():
    """A child has hung when it was silent for longer than the limit, once; a sign begins the count anew."""
    pulse = Pulse()
    assert not pulse.pass_time(20, heard=False, limit=30)
    assert not pulse.pass_time(20, heard=True, limit=30)
    assert not pulse.pass_time(30, heard=False, limit=30)
    assert pulse.pass_time(0.5, heard=False, limit=30)
    assert not pulse.pass_time(0.5, heard=False, limit=30)
    assert pulse.silent_seconds == 30.5


def test_child_that_is_not_back_is_lost():
    """A child that was ended may take a minute to be gone and replaced, whatever it still says; then systemd
    must act.
    """
    pulse = Pulse()
    assert pulse.pass_time(31, heard=False, limit=30)
    assert not pulse.is_lost
    assert not pulse.pass_time(BACK_SECONDS, heard=True, limit=30)
    assert not pulse.is_lost
    assert not pulse.pass_time(0.5, heard=True, limit=30)
    assert pulse.is_lost


def test_child_that_lives_is_never_lost():
    """However long a child lives or keeps its silence below the limit, the watchdog is fed."""
    pulse = Pulse()
    for _ in range(100):
        pulse.pass_time(29, heard=False, limit=30)
        pulse.pass_time(1, heard=True, limit=30)
    assert not pulse.is_lost
