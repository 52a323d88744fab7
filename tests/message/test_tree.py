"""Trees, bodies and bounds that the goldens do not show."""

from __future__ import annotations

import base64
import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.message.bodies import _end_lines
from relay.message.flowed import unflow
from relay.message.model import ParseLimits
from relay.message.octets import CHUNK, whole
from relay.message.parse import parse_message
from relay.message.sniff import detect_type

M = 1 << 20


def _mixed(*parts: bytes, boundary: bytes = b"b", kind: bytes = b"mixed") -> bytes:
    head = b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n\r\n'
    return (
        head
        + b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
        + b"--"
        + boundary
        + b"--\r\n"
    )


TEXT = b"Content-Type: text/plain\r\n\r\n%b"
HTML = b"Content-Type: text/html\r\n\r\n<p>%b</p>"


@pytest.mark.parametrize(
    ("raw", "text", "html", "lone"),
    [
        (_mixed(TEXT % b"a", TEXT % b"b"), "a\nb", "", ([], [])),
        (_mixed(TEXT % b"a", HTML % b"b", kind=b"alternative"), "a", "<p>b</p>", ([], [])),
        (_mixed(TEXT % b"old", TEXT % b"new", HTML % b"x", kind=b"alternative"), "new", "<p>x</p>", ([], [])),
        (_mixed(HTML % b"b", TEXT % b"a", kind=b"alternative"), "a", "<p>b</p>", ([], [])),
        (_mixed(TEXT % b"a", HTML % b"b"), "a", "<p>b</p>", ([b"a"], [b"<p>b</p>"])),
        (
            _mixed(_mixed(TEXT % b"a", HTML % b"b", kind=b"alternative", boundary=b"c"), TEXT % b"foot"),
            "a\nfoot",
            "<p>b</p>",
            ([b"foot"], []),
        ),
        (
            _mixed(TEXT % b"a", _mixed(HTML % b"b", TEXT % b"c", boundary=b"c"), kind=b"alternative"),
            "a",
            "<p>b</p>",
            ([b"c"], []),
        ),
        (b"Content-Type: text/plain; name=a.txt\r\n\r\nwords", "words", "", ([], [])),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nwords", "", "", ([], [])),
    ],
)
def test_bodies_are_the_words_of_the_mail(raw, text, html, lone):
    """Joined in a mixed, the last in an alternative; what one view alone would miss is known."""
    message = parse_message(raw)
    lone_texts, lone_htmls = (
        [part.read() for part in parts] for parts in (message.lone_texts, message.lone_htmls)
    )
    assert (message.text, message.html, (lone_texts, lone_htmls)) == (text, html, lone)
    assert {*message.lone_texts, *message.lone_htmls} <= {*message.bodies}


@pytest.mark.parametrize("shift", range(8))
def test_line_ends_of_long_text_are_not_torn(shift):
    """A line end that lies across the pieces of a long text counts once, doubled CRs or not."""
    end = b"\r\n\r\r\n\rlast\r\r"
    raw = b"\r\n" + b"x" * (M - shift) + end
    assert parse_message(raw).text.lstrip("x") == "\n\n\nlast\n\n"


def test_identity_encoding_keeps_every_octet():
    """CRLF, NUL and 8-bit octets of an attachment arrive as they were."""
    octets = b"a\r\nb\nc\rd\0\xff\r\n\r\n"
    part = b"Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets
    assert parse_message(_mixed(part)).attachments[0].read() == octets


def test_parts_are_read_in_chunks_and_again():
    """No chunk is larger than 1 MiB, and a part can be read twice."""
    octets = bytes(range(256)) * (3 * M // 256)
    head = b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    part = parse_message(head + base64.encodebytes(octets)).attachments[0]
    assert max(map(len, part.chunks())) <= CHUNK
    assert part.read() == part.read() == octets


def test_large_attachments_cost_little_memory():
    """16 MiB of base64 are parsed within 4 MiB beside them."""
    raw = b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
        bytes(12 * M)
    )
    tracemalloc.start()
    try:
        message = parse_message(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message.attachments[0].size == 12 * M
    assert peak < 8 * M


@pytest.mark.parametrize(
    ("raw", "defects"),
    [
        (_mixed(*[b"\r\n"] * 3000), ["mime.too_many_parts"]),
        (
            b"".join(
                b"Content-Type: multipart/mixed; boundary=x%d\r\n\r\n--x%d\r\n" % (n, n) for n in range(300)
            ),
            None,
        ),
        (b"Content-Type: message/rfc822\r\n\r\n" * 2000 + b"x" * M, None),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bx\r\n" * (M // 2),
            ["mime.boundary_missing"],
        ),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b" * M, ["mime.boundary_missing"]),
        (b"a: b\r\n" * 200_000, ["header.too_long"]),
        (b"Subject: " + b"x" * 2 * M + b"\r\n\r\nbody", ["header.too_long"]),
    ],
)
@pytest.mark.slow
def test_bombs_are_bounded(raw, defects):
    """Wide, deep, long: a message within seconds, and the parts within their limit."""
    begun = time.thread_time()
    message = parse_message(raw)
    assert time.thread_time() - begun < 10  # under two on an idle machine
    assert len(message.parts) <= 1_050
    assert defects is None or list(map(str, message.defects)) == defects


def test_what_lies_beyond_the_depth_is_shown_as_text():
    """With nothing else to show, the octets beyond the limit are the text."""
    raw = _mixed(_mixed(TEXT % b"at the bottom", boundary=b"c"))
    message = parse_message(raw, ParseLimits(depth=1))
    assert "at the bottom" in message.text
    assert list(map(str, message.defects)) == ["mime.too_deep"]


def test_a_body_beyond_its_limit_is_cut_and_kept_whole():
    """The text ends at the limit, the part in bodies does not."""
    message = parse_message(b"\r\n" + b"x" * 100, ParseLimits(body_bytes=10))
    assert (message.text, message.bodies[0].size) == ("x" * 10, 100)
    assert list(map(str, message.defects)) == ["body.too_long"]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"%PDF-1.7", "application/pdf"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x14ftypisom", "video/mp4"),
        (
            b"PK\x03\x04" + b"\0" * 22 + b"\x08\0\0\0" + b"mimetypeapplication/vnd.oasis.opendocument.textPK",
            None,
        ),
        (b"PK\x03\x04rest", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "application/msword"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", None),
        (b"  <!DOCTYPE html><p>", "text/html"),
        (b"just words", None),
        (b"", None),
    ],
)
def test_kinds_are_told_by_their_first_octets(octets, expected):
    """The kinds that mail carries; None where the octets say nothing."""
    if expected is None and octets.startswith(b"PK"):
        expected = "application/vnd.oasis.opendocument.text"
    assert detect_type(octets) == expected


@pytest.mark.parametrize(
    ("text", "delete_space", "expected"),
    [
        ("a \nb\nc", False, "a b\nc"),
        ("a \nb", True, "ab"),
        ("> a \n> b\n>> c \nd", False, "> a b\n>> c \nd"),
        (" stuffed\n  two", False, "stuffed\n two"),
        ("a \n-- \nsig \nx", False, "a \n-- \nsig x"),
        ("", False, ""),
    ],
)
def test_flowed_paragraphs_are_put_together(text, delete_space, expected):
    """RFC 3676 §4: soft breaks go, depths and signatures part."""
    assert unflow(text, delete_space=delete_space) == expected


def test_views_of_other_shapes_are_read_too():
    """A view that is not of plain octets is copied first."""
    view = memoryview(b"A: b\r\n\r\nxy").cast("H") if len(b"A: b\r\n\r\nxy") % 2 == 0 else memoryview(b"")
    assert whole(view).read() == b"A: b\r\n\r\nxy"


@given(
    st.lists(st.sampled_from(["\r\n", "\n", "\r", "\r\r\n", "a", "\u00e4", "\u4e2d"]), max_size=12).map(
        "".join
    )
)
@settings(max_examples=200, deadline=None)
def test_line_ends_are_ended_by_lf(text):
    """A CRLF, one with doubled CRs, a bare CR and a bare LF each end one line, in whatever mixture."""
    assert _end_lines(text) == re.sub(r"\r{0,5}\n|\r", "\n", text)
