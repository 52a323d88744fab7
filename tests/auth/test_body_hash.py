"""The hash of a body: the canonical forms to the octet, wherever the body is cut, in time that grows as it
does.
"""

from __future__ import annotations

import hashlib
import time

import pytest
from dkim.canonicalization import Relaxed, Simple
from examples import examples
from hostile.growth import grows_too_fast
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.auth.body_hash import PIECE_BYTES, BodyHasher, Canonicalisation, hash_body

SIMPLE, RELAXED = Canonicalisation.SIMPLE, Canonicalisation.RELAXED
THEIRS = {SIMPLE: Simple.canonicalize_body, RELAXED: Relaxed.canonicalize_body}
FORMS = pytest.mark.parametrize("form", [SIMPLE, RELAXED])

BODIES = st.lists(
    st.sampled_from([b"\r\n", b" ", b"\t", b"x", b"\r", b"\n", b"yz", b"  \r\n", b"\r\n\r\n", b"\xff"]),
    max_size=24,
).map(b"".join)


def digest(octets):
    return hashlib.sha256(octets).digest()


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \t\r\n\r\n", b" \t\r\n", b""),
        (b"end without CRLF", b"end without CRLF\r\n", b"end without CRLF\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"a\r\n\r\n\r\nb\r\n", b"a\r\n\r\n\r\nb\r\n", b"a\r\n\r\n\r\nb\r\n"),
        (b"a\t \t\t b\t\r\n", b"a\t \t\t b\t\r\n", b"a b\r\n"),
        (b"\r\n\r\n x", b"\r\n\r\n x\r\n", b"\r\n\r\n x\r\n"),
        (b"odd\r\r\n\n\r\n", b"odd\r\r\n\n\r\n", b"odd\r\r\n\n\r\n"),
    ],
)
def test_canonical_form(body, simple, relaxed):
    """Both forms of a body are those of RFC 6376 §3.4, with odd ends and blanks, too."""
    for form, expected in ((SIMPLE, simple), (RELAXED, relaxed)):
        digests = hash_body(body, form)
        assert (digests.size, digests.whole) == (len(expected), digest(expected))


@settings(max_examples=examples(80))
@given(body=BODIES, cuts=st.lists(st.integers(1, 5), max_size=20))
@example(body=b"x \r\n \r\n", cuts=[2, 1, 1, 1, 1])
@FORMS
def test_each_form_is_that_of_dkimpy_wherever_a_body_is_cut(form, body, cuts):
    """Every body, cut anywhere, has the digests of dkimpy's canonical form, of the whole and of each
    prefix.
    """
    expected = THEIRS[form](body)
    hasher = BodyHasher(form, range(len(expected) + 2))
    rest = body
    for cut in cuts:
        hasher.update(rest[:cut])
        rest = rest[cut:]
    hasher.update(rest)
    digests = hasher.finish()
    assert digests.whole == digest(expected)
    assert digests.size == len(expected)
    assert digests.prefixes == {at: digest(expected[:at]) for at in range(len(expected) + 1)}
    assert digests.of(len(expected) + 1) is None


@FORMS
@pytest.mark.parametrize("unit", [b" ", b"\r\n", b"x \r\n", b" x", b"\t \r\n", b"\r", b"a\r\n\r\n"])
def test_large_body_is_that_of_dkimpy(form, unit):
    """A body of several pieces, one unit over and over, gets dkimpy's digest, also cut at odd places."""
    body = unit * (3 * PIECE_BYTES // len(unit))
    if unit == b" ":
        body = b"".join(
            body[at : at + 900] + b"\r\n" for at in range(0, len(body), 900)
        )  # dkimpy is quadratic
    hasher = BodyHasher(form)
    for at in range(0, len(body), 4_099):
        hasher.update(body[at : at + 4_099])
    assert hasher.finish() == hash_body(body, form)
    assert hash_body(body, form).whole == digest(THEIRS[form](body))


@pytest.mark.slow
@FORMS
def test_time_grows_as_the_body_does(form):
    """Twice the octets take less than three times as long, whatever they are and however small the blocks."""

    def read(body):
        hasher = BodyHasher(form, (0, 1, 77, len(body) // 2, len(body)))
        for at in range(0, len(body), 1_460):  # a segment of TCP
            hasher.update(body[at : at + 1_460])
        return hasher.finish()

    units = (
        b" ",
        b"\t",
        b" x",
        b"\r\n",
        b" \r\n",
        b"\r",
        b"\n",
        b"  x\r\n",
        b"x\r\n\r\n",
        b"\t \t\r\n",
        b"\r\r\n",
    )
    slow = [
        unit for unit in units if grows_too_fast(read, lambda n, unit=unit: unit * (n // len(unit)), 500_000)
    ]
    assert slow == []


@FORMS
@pytest.mark.parametrize("unit", [b" x", b"  x", b" ", b"\r\n", b"text of a mail \r\n"])
def test_no_call_holds_the_interpreter_for_long(form, unit):
    """A piece of any body costs under 5 ms of processor time: the event loop gets its turn in between."""
    piece = (unit * PIECE_BYTES)[:PIECE_BYTES]
    hasher = BodyHasher(form)
    hasher.update(piece)

    def cost():
        begun = time.thread_time()
        hasher.update(piece)
        return time.thread_time() - begun

    assert min(cost() for _ in range(3)) < 0.005
