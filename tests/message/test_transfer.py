"""Transfer encodings, decoded as far as they go and in chunks."""

from __future__ import annotations

import base64
import binascii

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.message.octets import CHUNK, whole
from relay.message.transfer import TransferEncoding, decoded_chunks, parse_transfer_encoding

B64, QP, UU = TransferEncoding.BASE64, TransferEncoding.QUOTED_PRINTABLE, TransferEncoding.UUENCODE


def decoded(octets: bytes, encoding: TransferEncoding) -> bytes:
    chunks = list(decoded_chunks(whole(octets), encoding))
    assert all(len(chunk) <= CHUNK for chunk in chunks)
    return b"".join(chunks)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"QUJD", b"ABC"),
        (b"QUJD\r\nREVG\r\n", b"ABCDEF"),
        (b"QQ==", b"A"),
        (b"QQ", b"A"),
        (b"QUI", b"AB"),
        (b"QUJDR", b"ABC"),
        (b"Q!U*J\xffD", b"ABC"),
        (b"QQ==\r\n-- \r\nfooter of a list\r\n", b"A"),
        (b"QQ==\r\nQkM=\r\n", b"ABC"),
        (b"", b""),
        (b"====", b""),
        (b"\r\n\r\n", b""),
    ],
)
def test_base64_goes_as_far_as_it_can(octets, expected):
    """Junk is passed over, padding may miss, blocks may be joined, what follows the end is no content."""
    assert decoded(octets, B64) == expected


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"a=3D=c3=A9", b"a=\xc3\xa9"),
        (b"a=\r\nb", b"ab"),
        (b"a= \t\r\nb", b"ab"),
        (b"1=1 =ZZ", b"1=1 =ZZ"),
        (b"end=", b"end"),
    ],
)
def test_quoted_printable_goes_as_far_as_it_can(octets, expected):
    """Soft breaks go, lower case counts, what is no code stays."""
    assert decoded(octets, QP) == expected


_LINES = base64.encodebytes(b"twelve words" * 20).replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    "footer",
    [
        b"\r\n-- \r\nScanned by Example Guard\r\n",
        b"_______________________\r\nlist mailing list\r\n",
        b"\r\nDisclaimer\r\nThis mail is for you alone.\r\n",
        b"Virus-free. www.guard.example\r\n",
        b"Disclaimer\r\n",
        b"\r\nCONFIDENTIAL\r\n",
        b"Confidential",
        b"\r\n\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("gap", [b"\r\n", b"\r\n\r\n"])
def test_a_footer_behind_base64_without_padding_is_no_base64(footer, gap):
    """Words that a gateway put behind the letters are not decoded, and no letter is lost for them."""
    lines = _LINES.replace(b"\r\n", gap)
    assert decoded(lines + footer, B64) == b"twelve words" * 20


@pytest.mark.parametrize("length", [9, 12, 57, 114, 120, 228])
@pytest.mark.parametrize("footer", [b"Confidential\r\n", b"\r\nInternal\r\n", b"Disclaimer\r\nInternal\r\n"])
def test_one_word_behind_base64_without_padding_is_no_base64(footer, length):
    """A word behind a full last line, a short one, or the only one, was put there: no octets are made of
    it.
    """
    words = b"twelve words" * 20
    assert decoded(base64.encodebytes(words[:length]).replace(b"\n", b"\r\n") + footer, B64) == words[:length]


@given(st.binary(min_size=1, max_size=400), st.sampled_from([4, 40, 60, 72, 76]))
@settings(max_examples=examples(200), deadline=None)
def test_no_octet_of_base64_is_taken_for_a_footer(octets, length):
    """Lines of any length, however the last of them looks, are decoded whole."""
    letters = base64.b64encode(octets)
    lines = b"".join(letters[at : at + length] + b"\r\n" for at in range(0, len(letters), length))
    assert decoded(lines, B64) == octets


def test_junk_between_lines_of_base64_is_no_footer():
    """Words with long lines of letters behind them were put between, and the letters behind them count."""
    assert len(decoded(_LINES[:78] + b"some words, not base64\r\n" + _LINES[78:], B64)) >= 240
    assert decoded(b"words only, no letters\r\n", B64) != b""


def test_uuencode_is_decoded_between_its_lines():
    """Words before and after are no content; without a begin line the octets stay."""
    assert decoded(b"words\r\nbegin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\nmore\r\n", UU) == b"Cat"
    assert decoded(b"no such thing", UU) == b"no such thing"


@pytest.mark.parametrize(
    ("text", "encoding", "sound"),
    [
        ("base64", B64, True), ("BASE64 ", B64, True), ("base64;", B64, True), ("base-64", B64, False),
        ("quoted printable", QP, False), ("Quoted-Printable", QP, True), ("x-uuencode", UU, True),
        ("7bit", TransferEncoding.IDENTITY, True), ("7-bit", TransferEncoding.IDENTITY, False),
        ("", TransferEncoding.IDENTITY, True), ("text/html", TransferEncoding.IDENTITY, False),
    ],
)  # fmt: skip
def test_encodings_are_known_by_their_names(text, encoding, sound):
    """The names of RFC 2045, and those that are seen."""
    assert parse_transfer_encoding(text) == (encoding, sound)


@settings(max_examples=examples(24), deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 90), st.integers(0, 3))
def test_whatever_was_encoded_comes_back_across_chunks(octets, width, repeats):
    """Base64 and quoted-printable of any octets, in lines of any length, longer than a chunk too."""
    octets *= 1 + repeats * 500
    encoded = base64.b64encode(octets)
    lines = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    assert decoded(lines, B64) == octets
    assert decoded(binascii.b2a_qp(octets, quotetabs=True, istext=False), QP) == octets
