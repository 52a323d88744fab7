"""The recipients that make something happen, as the simulator remembers them."""

from __future__ import annotations

import json

import pytest

from relay.sandbox.tricks import Trick, Tricks, find_trick


def body_of(tag, spool_id="0EXP1A1N00000000", **more):
    attributes = {"relay_spool_id": spool_id, "relay_tag": tag}
    return json.dumps({"Attributes": attributes, "DestinationEmailAddress": "a@b.example", **more}).encode()


@pytest.mark.parametrize("trick", list(Trick))
def test_trick_is_found_by_the_attribute(trick):
    """The subaddress is found under any prefix, in JSON of either spacing, and nowhere else."""
    assert find_trick(body_of(trick)) is trick
    assert find_trick(body_of(trick).replace(b": ", b":")) is trick
    assert find_trick(body_of(trick).replace(b"relay_", b"x-y_")) is trick
    assert find_trick(body_of(f"{trick}x")) is None


def test_words_of_a_mail_are_no_trick():
    """A mail that writes the attribute into its text makes nothing happen."""
    assert find_trick(body_of("", Body='"relay_tag": "dead"')) is None


def test_refusals_end():
    """Throttled twice, refused once, or for ever; each mail is counted by itself."""
    tricks = Tricks()
    assert [bool(tricks.refuse(body_of("throttle"))) for _ in range(4)] == [True, True, False, False]
    assert [bool(tricks.refuse(body_of("reject"))) for _ in range(3)] == [False] * 3, "it was counted before"
    assert [bool(tricks.refuse(body_of("reject", "0EXP1A1N00000001"))) for _ in range(2)] == [True, False]
    assert all(tricks.refuse(body_of("dead")) for _ in range(9))
    assert [tricks.loses(body_of("lose", "0EXP1A1N00000002")) for _ in range(3)] == [True, False, False]


def test_trick_stays_when_its_attribute_goes():
    """The last rungs leave the subaddress out of the request: the mail is still refused, and no other is."""
    tricks = Tricks()
    assert tricks.refuse(body_of("dead", "0EXP1A1N00000004"))
    assert tricks.refuse(body_of("", "0EXP1A1N00000004"))
    assert tricks.refuse(body_of("", "0EXP1A1N00000005")) is None


def test_memory_of_tricks_is_bounded():
    """Any number of mails takes no memory without end."""
    tricks = Tricks()
    for number in range(10_100):
        tricks.refuse(body_of("reject", f"{number:016}"))
    assert len(tricks._met) == 10_000
