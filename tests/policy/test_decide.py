"""Tests of `relay.policy.decide` and `relay.policy.octets` by themselves; test_same_answer.py runs them
beside the wire.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay import replies
from relay.config.builtin import builtin_config
from relay.config.listener import Listener
from relay.message.hops import Hops
from relay.policy.decide import Facts, Terms, build_terms, decide
from relay.policy.octets import Cleaner, Octets, measure_file
from relay.vocabulary import Disposition, Reply

TERMS = Terms(max_bytes=1_000, line_bytes=100, hops=5)
FINE = Octets(received=500, size=490)
FEW = Hops(received=5, ours=4)
FILES = {"a": ("x.zip",)}


def octets(**changes: object) -> Octets:
    return Octets(**{"received": 500, "size": 490, **changes})


@pytest.mark.parametrize(
    ("facts", "reply"),
    [
        (Facts(octets=FINE, hops=FEW), None),
        (Facts(octets=octets(size=1_000), hops=FEW), None),
        (Facts(octets=octets(size=1_001), hops=FEW), replies.fill(replies.TOO_BIG, octets=1_000)),
        (Facts(octets=octets(received=2_001), hops=FEW), replies.fill(replies.TOO_BIG, octets=1_000)),
        (Facts(octets=octets(long_line=True, size=1_001), hops=FEW), replies.LONG_LINE),
        (
            Facts(octets=octets(received=2_001, long_line=True, unfinished_line=True), hops=FEW),
            replies.ENDLESS_LINE,
        ),
        (
            Facts(octets=octets(received=2_000, long_line=True, unfinished_line=True), hops=FEW),
            replies.LONG_LINE,
        ),
        (Facts(octets=FINE, hops=Hops(received=6, ours=0)), replies.LOOP),
        (Facts(octets=FINE, hops=Hops(received=5, ours=5)), replies.LOOP),
        (Facts(octets=octets(bare_lf=True), hops=FEW), replies.BARE_LINE_END),
        (Facts(octets=octets(bare_lf=True), hops=Hops(received=6, ours=0)), replies.LOOP),
        (Facts(octets=FINE, hops=FEW, routes=("a",), refused_files=FILES), replies.TYPE_REFUSED),
        (Facts(octets=FINE, hops=FEW, routes=("a", "b"), refused_files=FILES), None),
        (Facts(octets=FINE, hops=FEW, routes=("a",), refused_words=frozenset("a")), replies.CARD_REFUSED),
        (Facts(octets=FINE, hops=FEW, routes=("a", "b"), refused_words=frozenset("a")), None),
        (
            Facts(
                octets=FINE, hops=FEW, routes=("b", "a"), refused_files=FILES, refused_words=frozenset("b")
            ),
            replies.CARD_REFUSED,
        ),
    ],
)
def test_each_reason_and_their_order(facts: Facts, reply: Reply | None):
    """Each limit refuses one past it, and where several do, the reply is always of the same one."""
    assert decide(facts, TERMS).reply == reply


LINE_ENDS = [{"bare_lf": True}, {"bare_lf": True, "smuggled": True}, {"bare_cr": True}]


@pytest.mark.parametrize(
    ("listener", "taken"),
    [
        ({}, [True, False, False]),
        ({"role": "trusted"}, [True, False, False]),
        ({"bare_lf": "reject"}, [False, False, False]),
        ({"strict": True}, [False, False, False]),
        ({"role": "trusted", "strict": True}, [False, False, False]),
    ],
)
def test_line_ends_that_a_listener_takes(listener: dict[str, object], taken: list[bool]):
    """A bare LF is taken unless the listener forbids it; bare CR and what looks like smuggling never is."""
    terms = build_terms(builtin_config(), Listener.model_validate(listener))
    found = [decide(Facts(octets=octets(**one), hops=FEW), terms).reply is None for one in LINE_ENDS]
    assert found == taken


def test_a_mail_that_came_over_no_wire_has_any_line_ends():
    """A file that an operator takes in hides no end of data."""
    terms = replace(TERMS, line_ends="any")
    assert all(decide(Facts(octets=octets(**one), hops=FEW), terms).reply is None for one in LINE_ENDS)


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a"]), max_size=20).map(b"".join),
    st.lists(st.integers(1, 4), max_size=20),
)
@example(b"\r\n.\r\n.\n", [3, 3])
@example(b"a\n.\r\n", [2, 1])
def test_shapes_of_smuggling_are_found_wherever_blocks_end(wire: bytes, cuts: list[int]):
    """A dot alone between line ends of which one is a bare LF is found, however the mail is cut."""
    cleaner = Cleaner(stuffed=True, repair=True, line_limit=1_000)
    at = 0
    for cut in [*cuts, len(wire)]:
        end = min(at + cut, len(wire))
        if wire[end - 1 : end + 1] == b"\r\n":
            end += 1  # a block never ends between CR and LF
        cleaner.clean(wire[at:end])
        at = end
    ends = re.findall(rb"(?=(\r\n|(?<!\r)\n|\r(?!\n))\.(\r\n|\n|\r(?!\n)))", b"\r\n" + wire)
    assert cleaner.bare_cr == (re.search(rb"\r(?!\n)", wire) is not None)
    assert cleaner.bare_lf == (re.search(rb"(?<!\r)\n", wire) is not None)
    shapes = [pair for pair in ends if pair != (b"\r\n", b"\r\n")]
    # A shape with CR is refused for the CR.
    assert bool(shapes) <= (cleaner.smuggled or cleaner.bare_cr)
    assert cleaner.smuggled == any(b"\n" in before and b"\n" in after for before, after in shapes)


@pytest.mark.parametrize(("lmtp", "word"), [(False, Disposition.QUARANTINE), (True, Disposition.REJECT)])
def test_a_route_that_refuses_beside_one_that_takes(lmtp: bool, word: Disposition):
    """SMTP has one reply for all, so the mail is held for that route; LMTP refuses its recipients alone."""
    facts = Facts(octets=FINE, hops=FEW, routes=("a", "b"), refused_files=FILES)
    verdict = decide(facts, build_terms(builtin_config(), lmtp=lmtp))
    assert verdict.rule("a").disposition is word
    assert "x.zip" in verdict.rule("a").reason
    assert (verdict.rule("b").disposition, verdict.rule("b").reason) == (Disposition.ACCEPT, "")


@given(st.lists(st.sampled_from([b"\n", b".", b"a", b"xyz\n"]), max_size=30).map(b"".join))
def test_a_file_with_lf_is_sent_with_crlf(raw: bytes):
    """A file of this machine has no bare line end, and the size of what a client would send of it."""
    measured, head = measure_file(raw, cut=1_000_000, line_limit=1_000_000, repair=False)
    sent = raw.replace(b"\n", b"\r\n")
    sent += b"" if sent.endswith(b"\r\n") else b"\r\n"
    assert (measured.bare_lf, measured.size, head) == (False, len(sent), sent)
