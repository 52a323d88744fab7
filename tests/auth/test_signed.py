"""A mail as its signatures see it while it arrives: what is kept and hashed, and how long the loop waits."""

from __future__ import annotations

import time

import pytest
from auth.signing import MAIL, rsa_key, seal, sign
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.body_hash import Canonicalisation, hash_body
from relay.auth.fields import HEADER_BYTES, SHOWN_BYTES, FieldFinder, Fields
from relay.auth.signature import parse_message_signature, parse_signature, read_body_terms
from relay.auth.signed import SignedMailReader, read_signed_mail

BODY = MAIL[MAIL.index(b"\r\n\r\n") + 4 :]
SIMPLE, RELAXED = Canonicalisation.SIMPLE, Canonicalisation.RELAXED


def test_only_forms_that_a_signature_names_are_hashed():
    """An unsigned body is not hashed at all, a signed one once for each form, with all prefixes."""
    assert read_signed_mail([MAIL]).digests == {}
    octets = sign(sign(sign(MAIL, rsa_key(), l="3"), rsa_key(), l="9"), rsa_key(), c="simple/simple")
    assert read_signed_mail([octets]).digests == {
        RELAXED: hash_body(BODY, RELAXED, [3, 9]),
        SIMPLE: hash_body(BODY, SIMPLE),
    }
    assert set(read_signed_mail([seal(MAIL, rsa_key())]).digests) == {RELAXED}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 64])
@pytest.mark.parametrize(
    "octets", [MAIL, b"\r\nbody", b"", b"A: b", b"A: b\r\n", b"\r\n\r\n", b"\r\n", b"A: b\r\n\r\n\r\n"]
)
def test_header_ends_at_its_empty_line_wherever_the_mail_is_cut(octets, size):
    """The header is what stands before the first empty line."""
    octets = (
        octets if octets in {b"\r\nbody", b"\r\n\r\n", b"\r\n", b""} else sign(octets, rsa_key(), h="from")
    )
    reader = SignedMailReader()
    for at in range(0, len(octets), size):
        reader.update(octets[at : at + size])
    found = reader.finish()
    header, empty, body = octets.partition(b"\r\n\r\n")
    if octets.startswith(b"\r\n"):
        header, body = b"", b""
    assert found.header == header
    assert found.digests == ({RELAXED: hash_body(body if empty else b"", RELAXED)} if header else {})


def test_long_header_is_kept_as_far_as_an_agent_is_shown_it():
    """Of a header of megabytes one is kept, and none of its signatures is looked at."""
    octets = sign(MAIL, rsa_key()).replace(b"\r\nTo:", b"\r\nX: " + b"x" * 3 * SHOWN_BYTES + b"\r\nTo:")
    found = read_signed_mail([octets])
    assert (found.header, found.too_long, found.digests) == (octets[:SHOWN_BYTES], True, {})


@pytest.mark.parametrize("tags", [b"", b"c=simple", b"c=simple/relaxed; l=7", b"c=relaxed", b"l=7"])
@pytest.mark.parametrize("parse", [parse_signature, parse_message_signature])
def test_terms_are_those_of_the_signature(tags, parse):
    """What is read for the hash of the body is what the whole signature says."""
    name = b"DKIM-Signature" if parse is parse_signature else b"ARC-Message-Signature"
    tags = b"v=1; i=@b.example; a=rsa-sha256; d=b.example; s=s; b=AAAA; bh=AAAA; h=from; " + tags
    (field,) = Fields(name + b": " + tags).all
    terms, signature = read_body_terms(field), parse(field)
    assert (terms.form, terms.length) == (signature.form, signature.length)


@pytest.mark.parametrize("tags", [b"c=x", b"l=x", b"l=1; l=1", b"c", b";" * 3])
def test_terms_that_cannot_be_read(tags):
    """A signature whose terms cannot be read is unfit, and nothing is hashed for it."""
    (field,) = Fields(b"DKIM-Signature: " + tags).all
    assert read_body_terms(field) is None


def test_fields_are_found_as_they_are_when_all_are_taken_apart():
    """The quick look finds the same fields as the whole reading: folded ones, the first, the last."""
    header = b"X: 1\r\n a: 2\r\nA: 3\r\n\t4\r\nab: 5\r\na : 6\r\n b: 7\r\n:a: 8\r\nA:"
    for name in (b"a", b"x", b"ab", b"b"):
        assert list(FieldFinder(header).find(name)) == list(Fields(header).named(name))
    assert [field.raw for field in FieldFinder(b"\xef\xbb\xbfFrom: a@b.example").find(b"from")] == [
        b"From: a@b.example"
    ]


@settings(max_examples=examples(80))
@given(
    st.lists(
        st.sampled_from([b"a", b"A", b":", b" ", b"\t", b"\r\n", b"\r\n ", b"\r\n\t", b"b", b"\n", b"\r"])
    )
)
def test_fields_are_found_in_any_header(pieces):
    """Both ways find the same fields in any octets."""
    header = b"".join(pieces)
    assert list(FieldFinder(header).find(b"a")) == list(Fields(header).named(b"a"))


WORST = {
    "signatures": b"DKIM-Signature: v=1\r\n",
    "tags": b"DKIM-Signature: " + b"a=;" * 9_000 + b"\r\n",
    "names": b"DKIM-Signature: v=1; h=" + b"a:" * 14_000 + b"\r\n",
    "blanks": b"DKIM-Signature: v=1; b=" + b"a \r\n " * 7_000 + b"\r\n",
    "lengths": b"".join(b"ARC-Message-Signature: v=1; l=%d\r\n" % at for at in range(58)),
    "folds": b"DKIM-Signature: v=1" + b"\r\n " * 10_000 + b"\r\n",
    "fields": b"a:\r\n",
    "near misses": b"DKIM-Signature\r\n",
}


@pytest.mark.parametrize("name", WORST)
def test_end_of_a_header_holds_the_loop_for_milliseconds(name):
    """Whatever a header has, what is read of it before the body begins takes under 5 ms."""
    unit = WORST[name]
    header = unit * ((HEADER_BYTES - 100) // len(unit))

    def cost():
        reader = SignedMailReader()
        reader.update(header)
        begun = time.thread_time()
        reader.update(b"\r\n")
        return time.thread_time() - begun

    assert min(cost() for _ in range(15)) < 0.005
