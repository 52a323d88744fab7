"""Tests of `relay.tail.event` and `relay.tail.wanted`: values, and their lines."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.tail import event, wanted
from relay.tail.event import Direction, SessionEvent
from relay.tail.wanted import build_wanted

TEXT = st.text(max_size=40)


@given(
    st.builds(
        SessionEvent,
        session=TEXT,
        at=st.datetimes(timezones=st.just(UTC)),
        direction=st.sampled_from(Direction),
        line=TEXT,
        peer=TEXT,
        listener=TEXT,
        tls=TEXT,
        seconds=st.floats(0, 1e6),
    )
)
def test_an_event_comes_back_from_its_line(told):
    """Each event is one line of JSON, and the line gives the same event."""
    line = event.encode(told)
    assert line.count(b"\n") == 1
    if any("\ud800" <= letter <= "\udfff" for letter in repr(told)):
        return  # halves of surrogate pairs are no text for every reader, and no error for us
    assert event.decode(line) == told


@given(st.one_of(st.binary(max_size=60), st.sampled_from([b"{}", b"[]", b"1", b'{"session":1}'])))
def test_other_octets_are_no_event_and_no_question(octets):
    """Octets that are no line of ours raise ValueError, and nothing else."""
    with pytest.raises(ValueError):
        event.decode(octets)
    try:
        wanted.decode(octets)
    except ValueError:
        pass
    else:
        assert wanted.decode(octets) == wanted.EVERYTHING


def test_peers_and_recipients_are_compared_in_one_form():
    """A network holds mapped addresses, and a recipient is found in any spelling; a domain takes no other."""
    some = build_wanted(
        peers=["203.0.113.0/24", "2001:db8::/32"], recipients=["<Ann@Bücher.example>", "@example.com"]
    )
    assert some == wanted.decode(wanted.encode(some))
    assert some.has_peer("::ffff:203.0.113.9")
    assert some.has_peer("2001:db8::1")
    assert not some.has_peer("198.51.100.1")
    assert not some.has_peer("unknown")
    assert some.has_recipient("ann@xn--bcher-kva.example")
    assert some.has_recipient("Anybody@EXAMPLE.com")
    assert not some.has_recipient("bob@bücher.example")
    assert not some.has_recipient("anybody@sub.example.com")
    assert not some.has_recipient("")


@pytest.mark.parametrize("text", ["", "ann", "ann@", "@"])
def test_what_names_no_recipient_is_refused(text):
    """A recipient is an address, or "@" and a domain."""
    with pytest.raises(ValueError, match="neither an address"):
        build_wanted(recipients=[text])
