"""Tests of `relay.smtp.limits`, `relay.smtp.counters` and `relay.smtp.overload`."""

from __future__ import annotations

import pytest

from relay import replies
from relay.config.model import Limits
from relay.smtp.counters import SharedCounters
from relay.smtp.limits import Limiter, holds
from relay.smtp.overload import Overload, Vitals, decide_gate

PEER = "198.51.100.7"


def test_a_default_spares_this_machine():
    """A default is meant for the internet; what is written down holds for everybody."""
    key = "connections_per_address"
    assert holds(Limits(), key, PEER, trusted=False)
    assert not holds(Limits(), key, PEER, trusted=True)
    assert not holds(Limits(), key, "127.0.0.1", trusted=False)
    assert not holds(Limits(), key, "::1", trusted=False)
    assert holds(Limits(connections_per_address=3), key, "127.0.0.1", trusted=True)


def test_sessions_are_counted_and_let_go():
    """The session over the limit is refused, and there is room again when one has left."""
    limits = Limits(connections_per_address=1, connections_per_network=2)
    limiter = Limiter(SharedCounters())
    assert limiter.enter(PEER, limits, trusted=False) is None
    assert limiter.enter(PEER, limits, trusted=False) is replies.TOO_MANY_FROM_YOU
    limiter.leave(PEER)
    assert limiter.enter("198.51.100.8", limits, trusted=False) is None
    assert limiter.enter("198.51.100.9", limits, trusted=False) is replies.TOO_MANY_FROM_YOU
    limiter.leave("198.51.100.9")
    limiter.leave("198.51.100.8")
    limiter.leave(PEER)
    assert limiter.enter(PEER, limits, trusted=False) is None


def test_a_minute_is_a_minute():
    """Mails and wrong guesses are counted within a minute, and anew after it."""
    limits = Limits(messages_per_minute=2, unknown_recipients_per_minute=1)
    limiter = Limiter(SharedCounters())
    assert [limiter.may_send(PEER, limits, trusted=False, now=10.0) for _ in range(3)] == [True, True, False]
    assert [limiter.may_guess(PEER, limits, trusted=False, now=20.0) for _ in range(2)] == [True, False]
    assert limiter.may_send("192.0.2.1", limits, trusted=False, now=69.0)
    assert limiter.may_send(PEER, limits, trusted=False, now=71.0)
    assert limiter.may_guess(PEER, limits, trusted=False, now=71.0)


def test_a_host_of_ipv6_is_a_64():
    """Another address of the same /64 is no other peer: for sessions, mails, recipients and guesses."""
    limits = Limits(
        connections_per_address=1,
        messages_per_minute=1,
        recipients_per_minute=1,
        unknown_recipients_per_minute=1,
    )
    limiter = Limiter(SharedCounters())
    first, second, other = "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1"
    count = {"limits": limits, "trusted": False}
    assert limiter.enter(first, **count) is None
    assert limiter.enter(second, **count) is replies.TOO_MANY_FROM_YOU
    assert limiter.enter(other, **count) is None
    for may in (limiter.may_send, limiter.may_name, limiter.may_guess):
        assert [may(each, **count, now=1.0) for each in (first, second, other)] == [True, False, True]


def test_a_network_of_ipv6_is_a_48():
    """Sites are given a /48: its /64s share the sessions of one network."""
    limits = Limits(connections_per_network=1)
    limiter = Limiter(SharedCounters())
    assert limiter.enter("2001:db8:1:2::1", limits, trusted=False) is None
    assert limiter.enter("2001:db8:1:ffff::1", limits, trusted=False) is replies.TOO_MANY_FROM_YOU
    assert limiter.enter("2001:db8:2::1", limits, trusted=False) is None


def test_recipients_are_limited_for_strangers_alone():
    """Sixty a minute from one address of the internet; none for a trusted listener, though the file writes it
    down.
    """
    limiter = Limiter(SharedCounters())
    named = [limiter.may_name(PEER, Limits(), trusted=False, now=1.0) for _ in range(61)]
    assert named == [True] * 60 + [False]
    assert all(
        limiter.may_name(PEER, Limits(recipients_per_minute=1), trusted=True, now=1.0) for _ in range(9)
    )
    assert limiter.may_name(PEER, Limits(), trusted=False, now=61.0)


def test_accepted_mail_pays_for_one_guess():
    """Who sends a mail for each dead recipient guesses nothing, and nobody's count falls below nothing."""
    limits = Limits(unknown_recipients_per_minute=1)
    limiter = Limiter(SharedCounters())
    for _ in range(5):
        assert limiter.may_guess(PEER, limits, trusted=False, now=1.0)
        limiter.forgive_guess(PEER)
    limiter.forgive_guess(PEER)
    assert [limiter.may_guess(PEER, limits, trusted=False, now=1.0) for _ in range(2)] == [True, False]


def test_receivers_share_their_counts(tmp_path):
    """Two processes at one file see each other's sessions, and a successor begins with none of its own."""
    path = tmp_path / "tally"
    limits = Limits(connections_per_address=2, messages_per_minute=1, connections=10)
    first = Limiter(SharedCounters(path, index=0, processes=2))
    second = Limiter(SharedCounters(path, index=1, processes=2))
    assert first.enter(PEER, limits, trusted=False) is None
    assert second.enter(PEER, limits, trusted=False) is None
    assert first.enter(PEER, limits, trusted=False) is replies.TOO_MANY_FROM_YOU
    assert first.may_send(PEER, limits, trusted=False, now=1.0)
    assert not second.may_send(PEER, limits, trusted=False, now=1.0)
    first = Limiter(
        SharedCounters(path, index=0, processes=2)
    )  # the first has crashed, with two sessions open
    assert first.enter(PEER, limits, trusted=False) is None
    assert second.enter(PEER, limits, trusted=False) is replies.TOO_MANY_FROM_YOU


def test_a_file_of_another_make_is_made_anew(tmp_path):
    """A file that is no tally becomes one."""
    path = tmp_path / "tally"
    path.write_bytes(b"something else")
    tally = SharedCounters(path, index=3, processes=4)
    assert tally.add("address", PEER, 1) == 1
    tally.close()


def test_counts_stay_within_their_cells():
    """A count never falls below nothing, nor beyond what its cell holds."""
    tally = SharedCounters()
    assert tally.add("address", PEER, -5) == 0
    assert tally.add("address", PEER, 2**33) == 2**32 - 1
    tally.clear("mails")
    assert tally.add("address", PEER, 0) == 2**32 - 1
    tally.clear("address")
    assert tally.add("address", PEER, 0) == 0


def vitals(**changes) -> Vitals:
    well = {
        "lag_seconds": 0.0,
        "resident_bytes": 10**8,
        "available_bytes": 10**10,
        "open_files": 100,
        "most_files": 1_024,
        "sick": False,
    }
    return Vitals(**(well | changes))


@pytest.mark.parametrize(
    ("changes", "limits", "word"),
    [
        ({}, {}, None),
        ({"lag_seconds": 2.1}, {}, "lag"),
        ({"lag_seconds": 2.1}, {"loop_lag_seconds": 3}, None),
        ({"open_files": 961}, {}, "files"),
        ({"available_bytes": 10**7}, {}, "memory"),
        ({"available_bytes": 10**7}, {"memory_bytes": 10**9}, None),
        ({"resident_bytes": 2 * 10**9}, {"memory_bytes": 10**9}, "memory"),
        ({"sick": True}, {}, "spool"),
    ],
)
def test_gate(changes, limits, word):
    """Each cause closes the gate by its word, and nothing else does."""
    assert decide_gate(vitals(**changes), Limits(**limits)) == word


def test_gate_opens_by_itself():
    """A gate that lag closed opens again when the loop is quick again."""
    overload, limits = Overload(), Limits()
    overload.tick(limits, lag=5.0, files=0)
    assert overload.closed()
    overload.tick(limits, lag=0.0, files=0)
    assert not overload.closed()


def test_gate_waits_for_a_probe():
    """A gate that a failed write closed stays closed, however long, until a probe has come to the disk."""
    overload, limits = Overload(), Limits()
    overload.sickened(now=1.0)
    assert not overload.wants_probe(now=2.0)
    assert overload.wants_probe(now=7.0)
    overload.sickened(now=7.0)  # the probe failed, too
    assert not overload.wants_probe(now=8.0)
    overload.tick(limits, lag=0.0, files=0)
    assert overload.closed()
    assert overload.why() == "spool"
    overload.healed()
    overload.tick(limits, lag=0.0, files=0)
    assert not overload.closed()
    assert not overload.wants_probe(now=100.0)


def test_gate_counts_open_files():
    """Sessions near the limit of open files close the gate."""
    overload = Overload()
    overload.tick(Limits(), lag=0.0, files=10**7)
    assert overload.closed()
