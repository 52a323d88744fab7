"""Tests of `relay.smtp.data`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_content import build, finish

from relay.smtp.data import TRIM, ChunkReader, DataReader, parse_bdat

PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\r\n.", b"a", b"\0"]), max_size=40).map(
    b"".join
)


@given(PIECES, st.lists(st.integers(1, 7), max_size=60))
@example(b"", [])
@example(b"\r\n.\r", [2, 1, 1, 1, 1, 1, 1, 1])
def test_the_end_is_found_wherever_it_is_cut(body, cuts):
    """The first CRLF.CRLF, the greeting's own CRLF counted, ends the mail, however the octets arrive."""
    wire = body + b"\r\n.\r\nNOOP\r\n"
    end = (b"\r\n" + wire).index(b"\r\n.\r\n") + 3
    content = build()
    reader = DataReader(content)
    at, found = 0, -1
    for cut in [*cuts, len(wire)]:
        piece = wire[at : at + cut]
        if not piece:
            continue
        found = reader.feed(piece)
        if found >= 0:
            found += at
            break
        at += len(piece)
    assert found == end
    assert content.received == end
    content._cleaner._stuffed = False
    whole = finish(content, trim=TRIM)
    assert whole == (b"" if content.fault else b"Received: us\r\n" + wire[: end - TRIM])


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=20), st.integers(0, 60))
def test_a_chunk_is_so_many_octets(wire, cuts, size):
    """A chunk takes its size, whatever the octets are, and leaves the rest."""
    content = build(stuffed=False)
    reader = ChunkReader(content, size=size, last=True)
    at, found = 0, -1
    for cut in [*cuts, 60]:
        piece = wire[at : at + cut]
        found = reader.feed(piece)
        if found >= 0:
            break
        at += len(piece)
    assert content.received == min(size, len(wire))
    assert (found >= 0) == (size <= len(wire))


def test_a_refused_chunk_is_read_and_dropped():
    """Without a content the octets are counted only."""
    reader = ChunkReader(None, size=3, last=False)
    assert reader.feed(b"ab") == -1
    assert reader.feed(b"cNOOP") == 1


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (b"0", (0, False)),
        (b"12 LAST", (12, True)),
        (b"12  last", (12, True)),
        (b"", None),
        (b"-1", None),
        (b"x", None),
        (b"1 FIRST", None),
        (b"1 LAST LAST", None),
        (b"9" * 21, None),
        ("١".encode(), None),
    ],
)
def test_bdat_argument(argument, told):
    """RFC 3030 §2: a size in decimal, and perhaps LAST."""
    assert parse_bdat(argument) == told
