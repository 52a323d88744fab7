"""What is packed inside leaves: TNEF, S/MIME, uuencode."""

from __future__ import annotations

import random

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from mail_helpers import compressed_rtf, enveloped_data, leaf, multipart, signed_data, tnef, tnef_property

from relay.message.model import ParseLimits
from relay.message.octets import whole
from relay.message.parse import parse_message
from relay.message.rtf import decompress_rtf, rtf_words
from relay.message.smime import signed_content
from relay.message.tnef import parse_tnef
from relay.message.uuencode import find_files, without_files

PDF = b"%PDF-1.4 " + random.Random(1).randbytes(500)


def test_tnef_files_are_parts_beside_the_leaf():
    """Name, octets and origin of each file; winmail.dat itself stays a part."""
    octets = tnef(
        [("Größe.pdf", PDF), ("b.bin", b"\0" * 10)],
        file_properties=[tnef_property(0x1E, 0x370E, b"Image/PNG\0")],
    )
    message = parse_message(leaf("application/ms-tnef; name=winmail.dat", octets, encoding="base64"))
    assert [(part.path, part.name, part.content_type, part.origin) for part in message.parts] == [
        ((), "winmail.dat", "application/ms-tnef", ""),
        ((0,), "Größe.pdf", "image/png", "tnef"),
        ((1,), "b.bin", "image/png", "tnef"),
    ]
    assert [part.read() for part in message.parts] == [octets, PDF, b"\0" * 10]


@pytest.mark.parametrize(
    ("properties", "text", "html"),
    [
        ([tnef_property(0x1F, 0x1000, "Grüße\0".encode("utf-16-le"))], "Grüße", ""),
        ([tnef_property(0x102, 0x1013, b"<p>caf\xe9</p>")], "", "<p>café</p>"),
        (
            [tnef_property(0x102, 0x1009, compressed_rtf(rb"{\rtf1\ansi plain\par words}"))],
            "plain\nwords",
            "",
        ),
    ],
)
def test_a_tnef_body_counts_when_there_is_no_other(properties, text, html):
    """HTML, RTF or plain, in this order; beside words of the mail's own it is no part at all."""
    packed = leaf("application/ms-tnef", tnef(properties=properties), encoding="base64")
    alone = parse_message(packed)
    assert (alone.text, alone.html) == (text, html)
    words = leaf("text/plain", b"own words\r\n")
    beside = parse_message(multipart("mixed", [words, packed], "b"))
    assert (beside.text, beside.html, len(beside.parts)) == ("own words\n", "", 2)


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_any_damage_to_a_tnef_stream_is_survived(data):
    """Octets changed or cut anywhere: no error, and no file longer than the stream."""
    body = [tnef_property(0x102, 0x1009, compressed_rtf(rb"{\rtf1\fromhtml1 {\*\htmltag <p>}x\u8364?}"))]
    octets = bytearray(tnef([("a.pdf", PDF)], properties=body, within=tnef([("b.pdf", PDF)])))
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    del octets[data.draw(st.integers(0, len(octets))) :]
    found = parse_tnef(bytes(octets))
    assert all(0 <= file.offset <= file.offset + file.size <= len(octets) for file in found.files)
    parse_message(leaf("application/ms-tnef", bytes(octets), encoding="base64"))


def test_compressed_rtf_copies_from_its_dictionary():
    """[MS-OXRTFCP] §3.1.1: the specification's own example."""
    octets = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232"
        "0af3206865 6c0900206277 05b06c647d0a800fa0".replace(" ", "")
    )
    assert decompress_rtf(octets) == rb"{\rtf1\ansi\ansicpg1252\pard hello world}" + b"\r\n"
    assert decompress_rtf(b"short") is None
    assert decompress_rtf(b"\0" * 8 + b"XXXX" + b"\0" * 8) is None


@pytest.mark.parametrize(
    ("rtf", "words"),
    [
        (
            rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 a\b b\b0\par c\tab d}",
            ("a b\nc\td".replace("a b", "ab"), False),
        ),
        (rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0}", ("Пр", False)),
        (rb"{\rtf1\uc1 \u55357?\u56832?}", ("😀", False)),
        (rb"{\rtf1 a\{b\}\\{\*\unknown hidden}c", ("a{b}\\c", False)),
        (
            rb"{\rtf1\fromhtml1{\*\htmltag <b>}\htmlrtf {\b \htmlrtf0 x\htmlrtf }\htmlrtf0{\*\htmltag </b>}}",
            ("<b>x</b>", True),
        ),
    ],
)
def test_rtf_gives_its_words(rtf, words):
    """Text of RTF, or the HTML inside it ([MS-OXRTFEX])."""
    assert rtf_words(rtf) == words


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"{", b"}", b"\\par", b"\\'e4", b"\\u-10179?", b"\\htmlrtf", b"\\*", b"x", b"\\", b"\n"]
        )
    )
)
def test_any_rtf_gives_text_without_lone_surrogates_after_encoding(pieces):
    """Whatever the RTF, its words can be stored."""
    rtf_words(b"".join(pieces))[0].encode("utf-8", "replace")


def test_signed_data_is_unwrapped_and_stays():
    """The signed entity's parts carry their origin, its words are the mail's, the envelope is a part too."""
    inner = multipart(
        "mixed",
        [leaf("text/plain", b"signed words\r\n"), leaf("application/pdf", PDF, encoding="base64")],
        "i",
    )
    octets = signed_data(inner)
    message = parse_message(leaf("application/pkcs7-mime; smime-type=signed-data", octets, encoding="base64"))
    assert message.text == "signed words\n"
    assert [(part.origin, part.content_type) for part in message.attachments] == [
        ("", "application/pkcs7-mime"),
        ("smime", "application/pdf"),
    ]
    assert message.attachments[1].read() == PDF


def test_signatures_within_signatures_are_bounded():
    """An onion of signed data is opened as deep as any other nesting."""
    onion = leaf("text/plain", b"core\r\n")
    for _ in range(60):
        onion = leaf("application/pkcs7-mime", signed_data(onion), "Content-Transfer-Encoding: binary")
    message = parse_message(onion)
    assert len(message.parts) == 51
    assert list(map(str, message.defects)) == ["mime.too_deep"]
    assert parse_message(onion, ParseLimits(depth=100)).text == "core\n"


def test_what_is_not_signed_data_stays_a_file():
    """Enveloped data, damaged data and nonsense are left as they are."""
    assert signed_content(enveloped_data()) is None
    assert signed_content(b"") is None
    assert signed_content(b"\x30\x80\x06") is None


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_any_damage_to_signed_data_is_survived(data):
    """Octets changed or cut anywhere: content or nothing, never an error."""
    octets = bytearray(signed_data(leaf("text/plain", b"words\r\n")))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    del octets[data.draw(st.integers(0, len(octets))) :]
    content = signed_content(bytes(octets))
    assert content is None or isinstance(content, bytes)


UU = b"before\nbegin 644 cat.txt\n#0V%T\n`\nend\nafter\nbegin the day\nwell\nend\n"


def test_uuencoded_files_are_parts_and_the_text_keeps_them():
    """A file in the text is a part; words that begin with begin are words."""
    message = parse_message(leaf("text/plain", UU))
    assert [(part.name, part.read(), part.origin) for part in message.attachments] == [
        ("cat.txt", b"Cat", "uuencode")
    ]
    assert message.text == UU.decode()
    assert without_files(message.text) == "before\n[cat.txt]\nafter\nbegin the day\nwell\nend\n"


def test_torn_uuencode_stays_text():
    """Without its end line nothing tells the file from the words behind it."""
    assert list(find_files(whole(b"begin 644 a\n#0V%T\nbye\n"))) == []


def test_unpacked_parts_count_against_the_limit():
    """A stream of many files opens no more parts than allowed, and says so."""
    octets = tnef([(f"{index}.bin", b"x") for index in range(50)])
    message = parse_message(leaf("application/ms-tnef", octets, encoding="base64"), ParseLimits(parts=10))
    assert len(message.parts) == 10
    assert "mime.too_many_parts" in map(str, message.defects)
