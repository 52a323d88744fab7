"""Replies and the words of a verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.vocabulary import Classification, Disposition, Reply


@given(st.sampled_from([250, 354, 421, 452, 550, 554]), st.sampled_from(["0.0", "1.1", "7.1", "3.4"]))
def test_classes_never_disagree(code, status):
    """The enhanced code's class is that of the reply: "550 4.7.1" cannot be written (RFC 3463 §2)."""
    reply = Reply(code=code, status=status, text="text")
    assert reply.enhanced == f"{str(code)[0]}.{status}"


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply(code=250, status="0.0", text="queued as X"), "250 2.0.0 queued as X"),
        (Reply(code=550, status="1.1", text="no such mailbox"), "550 5.1.1 no such mailbox"),
        (Reply(code=220, status="", text="mx ready"), "220 mx ready"),
    ],
)
def test_reply_reads_as_on_the_wire(reply, line):
    """A reply in the log looks as it did to the peer."""
    assert str(reply) == line


@pytest.mark.parametrize(
    ("code", "positive"), [(220, True), (250, True), (354, True), (421, False), (550, False)]
)
def test_positive_replies_are_those_below_400(code, positive):
    """2yz and 3yz say yes, 4yz and 5yz say no (RFC 5321 §4.2.1)."""
    assert Reply(code=code, status="", text="x").positive is positive


def test_words_are_spelled_as_elsewhere():
    """Dispositions and classes are the words of the log, the metrics and the attributes."""
    assert [str(word) for word in Disposition] == ["accept", "quarantine", "defer", "reject"]
    assert [str(word) for word in Classification] == ["human", "auto-reply", "bounce", "list", "bulk"]
