"""Tests of `relay.smtp.content`."""

from __future__ import annotations

import hashlib
import re

import pytest
from fake_spool import FakeSpool
from hypothesis import example, given
from hypothesis import strategies as st

from relay import replies
from relay.errors import SpoolFullError, SpoolSickError
from relay.policy.decide import Terms
from relay.policy.octets import Cleaner
from relay.smtp.content import Content

OURS = b"Received: us\r\n"
WIRE = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"xyz"]), max_size=40).map(
    b"".join
)


def build(
    spool=None,
    *,
    stuffed=True,
    repair=False,
    limit=1_000_000,
    line_limit=1_000_000,
    block=1_000_000,
    observers=(),
):
    spool = spool or FakeSpool()
    return Content(
        stuffed=stuffed,
        terms=Terms(max_bytes=limit, line_bytes=line_limit, hops=50, line_ends="any" if repair else "crlf"),
        block_bytes=block,
        open_file=lambda: spool.open_file("x"),
        observers=observers,
    )


class Seen:
    """An observer that keeps what it is fed."""

    def __init__(self) -> None:
        self.octets = b""

    def update(self, octets: bytes) -> None:
        self.octets += octets


def finish(content: Content, *, trim: int = 0) -> bytes:
    """The whole mail with our own field, or nothing when it is refused."""
    content.finish(trim=trim)
    octets = b"".join(content.chunks())
    whole = content.join(OURS)
    assert whole == OURS + octets
    return b"" if content.fault else whole


def move(content: Content) -> None:
    """Have a block in the file."""
    content.write(content.take_up(content.take()), prefix=OURS)


def close(content: Content, trim: int) -> None:
    """Have the last block in the file."""
    content.write(content.take_up_last(content.take(), trim), prefix=OURS)


def meant(wire: bytes, *, repair: bool) -> bytes:
    """The slow and plain reading of RFC 5321 §4.5.2, to compare with."""
    if repair:
        wire = re.sub(rb"\r\n|\r|\n", b"\r\n", wire)
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in wire.split(b"\r\n"))


@given(WIRE, st.booleans())
@example(b".\r\n..\r\n.", False)
def test_small_mail_is_cleaned(wire, repair):
    """Dots are taken off, and bare line ends found or repaired, as the plain reading of the RFC has it."""
    content = build(repair=repair)
    content.add(wire)
    whole = finish(content)
    assert whole == (b"" if content.fault else b"Received: us\r\n" + meant(wire, repair=repair))
    bare = re.sub(rb"\r\n", b"", wire)
    assert (b"\r" in bare or b"\n" in bare) == (
        content.repaired if repair else content.fault is replies.BARE_LINE_END
    )


@given(WIRE, st.lists(st.integers(1, 12), max_size=30), st.integers(0, 5), st.booleans())
@example(b"a\r\n\r\n.", [2, 1, 1, 1], 3, False)
def test_how_small_mail_arrives_changes_nothing(wire, cuts, trim, repair):
    """A mail in memory, in parts of any sizes, is the same mail; its end-of-data is taken off
    across parts.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.smtp.content._PIECE_BYTES", 7)
        content = build(repair=repair)
        at = 0
        for cut in [*cuts, len(wire)]:
            content.add(wire[at : at + cut])
            at += cut
        whole = finish(content, trim=trim)
    at_once = build(repair=repair)
    at_once.add(wire[: len(wire) - trim] if trim < len(wire) else b"")
    assert whole == finish(at_once)
    assert (content.fault, content.repaired, content.size) == (at_once.fault, at_once.repaired, at_once.size)
    assert content.fingerprint == at_once.fingerprint


@given(WIRE.filter(bool), st.lists(st.integers(1, 12), min_size=1, max_size=30), st.booleans())
@example(b"aaaa\r\n.\r\n.\r\n", [5, 1, 1, 1, 1, 1], False)
@example(b"aaaa\r\r\r\r\r\n.x", [4, 1, 1, 1, 1, 1], True)
def test_where_blocks_end_changes_nothing(wire, cuts, repair):
    """A mail moved to a file in blocks of any sizes is the mail that was meant, hashed and counted alike."""
    spool = FakeSpool()
    content = build(spool, repair=repair)
    at = 0
    for cut in cuts:
        content.add(wire[at : at + cut])
        move(content)
        at += cut
    content.add(wire[at:] + b".\r\n")
    close(content, 3)
    expected = meant(wire, repair=repair)
    clean = repair or not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    assert (content.fault is None) == clean
    if clean:
        assert bytes(spool.files[0].octets) == b"Received: us\r\n" + expected
        assert content.fingerprint == hashlib.sha256(expected).hexdigest()
        assert content.size == len(expected)


@given(
    st.lists(st.integers(0, 12), max_size=12), st.lists(st.integers(1, 9), max_size=12), st.integers(5, 12)
)
def test_long_lines_are_found_wherever_blocks_end(lengths, cuts, limit):
    """A line over the limit is found if and only if there is one, CRLF counted, wherever blocks are cut."""
    wire = b"".join(b"x" * length + b"\r\n" for length in lengths)
    cleaner = Cleaner(stuffed=False, repair=False, line_limit=limit)
    at = 0
    for cut in [*cuts, len(wire)]:
        end = min(at + cut, len(wire))
        if wire[end - 1 : end] == b"\r":
            end += 1  # a block never ends between CR and LF
        cleaner.clean(wire[at:end])
        at = end
    assert cleaner.too_long == any(length + 2 > limit for length in lengths)


def test_too_big_is_found_at_the_end():
    """A mail over the limit is refused with the limit in the reply; dots that were stuffed do not count."""
    content = build(limit=10)
    content.add(b"..23456789")
    assert finish(content) == b"Received: us\r\n.23456789"
    assert content.fault is None
    content = build(limit=10)
    content.add(b"12345678901")
    finish(content)
    assert content.fault == replies.fill(replies.TOO_BIG, octets=10)


def test_refused_mail_is_counted_and_not_kept():
    """After a refusal octets are counted, and none is kept in memory."""
    content = build(limit=10)
    content.add(b"1234")
    content.refuse(replies.NO_ROOM)
    content.add(b"1234567")
    assert (content.received, content.held, content.over) == (11, 0, False)
    content.add(b"1234567890")
    assert content.over
    assert content.fault is replies.NO_ROOM


@pytest.mark.parametrize(
    ("word", "error", "reply"),
    [("full", SpoolFullError, replies.NO_ROOM), ("sick", SpoolSickError, replies.NOT_STORED)],
)
def test_failing_disk_is_a_reply(word, error, reply):
    """A disk that is full or sick while a block is written is the mail's reply, not an exception."""
    spool = FakeSpool()
    content = build(spool)
    content.add(b"0123456789")
    move(content)
    spool.fault = word
    with pytest.raises(error):
        spool.fail()
    content.add(b"0123456789")
    move(content)
    assert content.fault is reply
    content.discard()
    assert spool.files[0].discarded


def test_trace_header_stands_before_the_first_block():
    """Our own field is written once, before the first block; the beginning of the mail is known by then."""
    spool = FakeSpool()
    content = build(spool)
    content.add(b"Subject: x\r\n\r\nbody")
    move(content)
    assert content.head == b"Subject: x\r\n\r\n"
    close(content, 0)
    assert bytes(spool.files[0].octets) == OURS + b"Subject: x\r\n\r\nbody"


@given(WIRE, st.lists(st.integers(1, 12), max_size=30))
def test_observers_see_the_mail_once(wire, cuts):
    """An observer is fed the octets that were meant, each once, and `chunks` gives the same: in memory and in
    a file.
    """
    for moving in (False, True):
        seen = Seen()
        spool = FakeSpool()
        content = build(spool, repair=True, observers=[seen])
        at = 0
        for cut in [*cuts, len(wire)]:
            content.add(wire[at : at + cut])
            at += cut
            if moving:
                move(content)
        close(content, 0) if moving else content.finish(trim=0)
        assert seen.octets == meant(wire, repair=True)
        assert b"".join(content.chunks()) == seen.octets
