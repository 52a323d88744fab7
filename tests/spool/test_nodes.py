"""The nodes that share a spool: who resigns, who is asked, and for how long nobody has delivered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from spool_helpers import NOW

from relay.delivery.outcome import Delivered, Failed
from relay.delivery.reach import Reached
from relay.errors import FailureClass, RemoteError
from relay.spool.fleet.beats import build_beat, parse_beat
from relay.spool.fleet.silence import Silence, tell_silence
from relay.spool.nodes import Beat, Reach, find_heir, is_reach_wanted

CUT_OFF = Reach(is_reached=False, failing_seconds=181.0)


def beat(node="two", *, age=10.0, process="deliverer", **more):
    at = NOW - timedelta(seconds=age)
    return Beat(node=node, process=process, version="1.0", started_at=at, at=at, **more)


@pytest.mark.parametrize(
    ("others", "reach", "heir"),
    [
        ([beat(connect=True)], CUT_OFF, "two"),
        ([beat(connect=True)], replace(CUT_OFF, failing_seconds=179.0), None),
        ([beat(connect=True)], Reach(is_reached=True), None),
        ([beat(connect=True)], Reach(), None),
        ([beat(connect=False)], CUT_OFF, None),
        ([beat(connect=None)], CUT_OFF, None),
        ([beat(connect=True, age=121)], CUT_OFF, None),
        ([beat(connect=True, process="receiver-0")], CUT_OFF, None),
        ([beat("one", connect=True)], CUT_OFF, None),
        ([beat(connect=False), beat("three", connect=True)], CUT_OFF, "three"),
        ([], CUT_OFF, None),
    ],
)
def test_leader_resigns_only_to_a_node_that_reaches_connect(others, reach, heir):
    """The lead is given away after three minutes without a connection, to a node whose fresh word is that
    Connect is reached from there; in an outage of Connect itself it stays.
    """
    assert find_heir([beat("one", leads=True), *others], node="one", reach=reach, now=NOW) == heir


@pytest.mark.parametrize(
    ("beats", "wanted"),
    [
        ([beat("one", leads=True, connect=False)], True),
        ([beat("one", leads=True, connect=False), beat("two", connect=True, age=59)], False),
        ([beat("one", leads=True, connect=False), beat("two", connect=True, age=61)], True),
        ([beat("one", leads=True, connect=False), beat("two", connect=None)], True),
        ([beat("one", leads=True, connect=False, age=9_999)], False),
        ([beat("one", leads=True, connect=True)], False),
        ([beat("one", leads=False, connect=False)], False),
        ([beat("two", leads=True, connect=False)], False),
    ],
)
def test_standby_is_asked_only_while_the_leader_is_cut_off(beats, wanted):
    """A node that stands by asks Connect once a minute while a leader that lives says it is cut off."""
    assert is_reach_wanted(beats, node="two", now=NOW) is wanted


@pytest.mark.parametrize("connect", [True, False, None])
def test_beat_is_read_as_it_was_written(connect):
    """An item holds all of a beat, and a rate comes out of it."""
    written = replace(
        beat(process="receiver-1", connect=connect), accepted=30, seconds=90.0, leads=bool(connect)
    )
    assert parse_beat(build_beat(written)) == written
    assert written.accepted_a_minute == 20.0
    assert beat().accepted_a_minute == 0.0


def test_silence_counts_from_the_last_change():
    """The record of the leader is compared with itself, never with a clock; each renewal begins anew."""
    silence = Silence()
    seen = [((1, 1), 0), ((1, 1), 9), ((1, 2), 10), ((1, 2), 30), (None, 40), (None, 41), ((2, 3), 50)]
    assert [silence.see(record, at=at * 1_000_000) for record, at in seen] == [0, 9, 0, 20, 0, 1, 0]
    assert tell_silence(75.0, lease_seconds=15.0) == ""
    assert "for 76 seconds" in tell_silence(76.0, lease_seconds=15.0)


def failed(code, service="connect"):
    error = RemoteError(service=service, failure=FailureClass.TEMPORARY, code=code)
    return Failed(error=error, entry=None)


def test_any_answer_shows_that_connect_is_reached():
    """Connections that fail count from the first of them; a refusal ends that, and S3 says nothing."""
    reached = Reached()
    reached.judge(failed("NoSuchBucket", service="s3"), begun_at=0, now=1)
    assert reached.tell(now=1) == Reach()
    reached.judge(failed("unreachable"), begun_at=2, now=3)
    reached.judge(failed("timeout"), begun_at=60, now=120)
    assert reached.tell(now=122) == Reach(is_reached=False, failing_seconds=120)
    assert (reached.is_doubted(now=122), reached.is_doubted(now=146)) == (False, True)
    reached.judge(failed("ThrottlingException"), begun_at=122, now=123)
    assert reached.tell(now=124) == Reach(is_reached=True)
    assert not reached.is_doubted(now=999)
    reached.judge(failed("timeout"), begun_at=100, now=160)
    assert reached.tell(now=160) == Reach(is_reached=True), "it began before the answer"
    reached.judge(failed("tls"), begun_at=161, now=162)
    reached.judge(Delivered(contact_id="c", entry=None), begun_at=163, now=164)
    assert reached.tell(now=165) == Reach(is_reached=True)
    assert reached.tell(now=300) == Reach(), "nothing was asked for long"
