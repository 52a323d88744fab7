"""Octets to text, whatever they claim to be."""

from __future__ import annotations

import codecs

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.message.charset import decode, detect
from relay.message.labels import LABELS, codec_of
from relay.message.likeness import find_codec, find_wide
from relay.message.octets import CHUNK


def test_every_codec_of_the_table_exists():
    """Each codec we name is one that Python has."""
    for codec in LABELS:
        codecs.lookup(codec)


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("ISO-8859-1", "cp1252"), ("latin1", "cp1252"), ("US-ASCII", "cp1252"), ("gb2312", "gb18030"),
        ("ks_c_5601-1987", "cp949"), ("Shift_JIS", "cp932"), ("iso-8859-9", "cp1254"), ('"utf-8"', "utf-8"),
        ("utf-8*en", "utf-8"), ("iso_8859_15", "iso8859-15"), ("utf-7", "utf-7"), ("nonsense", None), ("", None),
        ("unicode_escape", None), ("idna", None), ("rot13", None), ("cp-850", "cp850"), ("IBM_850", "cp850"),
        ("windows1252", "cp1252"), ("win 1250", "cp1250"), ("dos-437", "cp437"), ("code page 1251", "cp1251"),
        ("iso8859_15", "iso8859-15"), ("charset=utf-8", "utf-8"), ("UTF-8;", "utf-8"), ("ms-932", "cp932"),
    ],
)  # fmt: skip
def test_labels_mean_what_browsers_mean(label, codec):
    """WHATWG's labels name its encodings, and no label reaches a codec that is not for text."""
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    ("octets", "label", "expected"),
    [
        (b"plain", None, "plain"),
        ("Größe".encode(), None, "Größe"),
        ("Größe".encode(), "us-ascii", "Größe"),
        ("Größe".encode("latin-1"), None, "Größe"),
        ("Größe".encode("latin-1"), "utf-8", "Größe"),
        (b"\x93quoted\x94", "iso-8859-1", "“quoted”"),
        (b"\x81", "iso-8859-1", "\x81"),
        ("\ufeffmarked".encode(), "iso-8859-1", "marked"),
        ("marked".encode("utf-16"), None, "marked"),
        ("Größe".encode()[:-1] + b"\xc3", "utf-8", "Größ\ufffd"),
        (b"\x1b$B\x2d\x21\x1b(B", "iso-2022-jp", "①"),
        (b"\x1b$B$3$s\x1b(B", None, "こん"),
        (b"\x1b(I\x31\x32\x1b(B", "iso-2022-jp", "ｱｲ"),
        (b"\x1b$B$3$s\x1b(B", "utf-8", "こん"),
        (b"\x1b$B$3$s\x1b(B", "shift_jis", "こん"),
        (b"\x1b$B$3$s\r\nascii", "iso-2022-jp", "こん\r\n"),
        ("①".encode("cp932"), "shift_jis", "①"),
        ("お".encode("euc_jp"), "euc-jp", "お"),
        (b"+ADw-", "utf-7", "<"),
        (b"1+1=2", "utf-7", "1+1=2"),
        (b"+2AA-", "utf-7", "\ufffd"),
        ("Grüße".encode(), "utf-7", "Grüße"),
        ("Grüße".encode(), "iso-8859-1", "Grüße"),
        ("Grüße".encode(), "windows-1252", "Grüße"),
        ("Zażółć".encode(), "iso-8859-2", "Zażółć"),
        ("it\u2019s".encode(), "windows-1251", "it\u2019s"),
        ("Заказ".encode(), "koi8-r", "Заказ"),
        ("её".encode("koi8-r"), "koi8-r", "её"),
        ("您好，订单".encode(), "gb2312", "您好，订单"),
        ("联通".encode("gbk"), "gb2312", "联通"),
        ("Müller".encode("latin-1"), "utf-8", "Müller"),
        ("«CAFÉ» à".encode("latin-1"), "utf-8", "«CAFÉ» à"),
        ("Größe, Maß".encode() + bytes(range(0x80, 0xC0)), "utf-8", "Größe, Maß\ufffd"),
        ("Größe für große ".encode() + b"\xc3", "latin1", "Größe für große \ufffd"),
        ("Grüße".encode(), "utf-16", "Grüße"),
        ("Bücher\n".encode(), "utf-32", "Bücher\n"),
        (b"<html> declared utf-16, written plain", "utf-16", "<html> declared utf-16, written plain"),
    ],
)
def test_text_comes_out_as_a_person_would_read_it(octets, label, expected):
    """Labels first, then what the octets are."""
    assert decode(octets, label)[0].startswith(expected)


def test_junk_does_not_unmake_utf8_under_a_latin_label():
    """Octets that are no UTF-8 are letters of the label's charset; what surrounds them stays whole."""
    text = "Grüße aus Köln".encode()
    assert decode(text + b" \x80 M\xfcller", "iso-8859-1")[0] == "Grüße aus Köln € Müller"
    assert decode(b"M\xfcller " + text, "iso-8859-1")[0] == (b"M\xfcller " + text).decode("cp1252")
    assert decode(text + b"\xfc" * 40, "iso-8859-1")[0] == (text + b"\xfc" * 40).decode("cp1252")
    assert decode("São Ã".encode("latin-1"), "iso-8859-1")[0] == "São Ã"


@pytest.mark.parametrize("label", ["us-ascii", "utf-8", "windows-1252", "iso-8859-15", "utf-16", "gb18030"])
@pytest.mark.parametrize("shift", range(3))
def test_long_text_is_decoded_as_short_text_is(label, shift):
    """Characters that lie across the pieces of a long text come out whole."""
    text = "a" * (CHUNK - shift) + ("yes" if label == "us-ascii" else "ÿes")
    assert decode(text.encode(label), label) == (text, True)


@pytest.mark.parametrize("label", ["utf-8", None])
def test_long_text_with_a_bad_octet_is_decoded_as_short_text_is(label):
    """One octet lost on the way spoils one character of a long text; what claims nothing is windows-1252."""
    octets = b"a" * CHUNK + "ü".encode() * 8 + b"\xff, yes"
    end = "ü" * 8 + "\ufffd, yes" if label else "Ã¼" * 8 + "ÿ, yes"
    assert decode(octets, label, detecting=False)[0].removeprefix("a" * CHUNK) == end


def test_a_hint_helps_where_nothing_is_declared():
    """Raw KOI8-R in a header is read by the charset that the body declares."""
    assert decode("Вопрос".encode("koi8-r"), None, "koi8-r", detecting=False)[0] == "Вопрос"


def test_detection_tells_cyrillic_from_latin():
    """A paragraph without a label is read by what it looks like."""
    octets = "Здравствуйте, мой заказ до сих пор не пришёл, проверьте пожалуйста.".encode("cp1251")
    assert detect(octets) == "cp1251"
    assert detect(b"a\xe4") is None


@settings(max_examples=examples(80), deadline=None)
@given(
    st.binary(max_size=80),
    st.none() | st.sampled_from(sorted({label for each in LABELS.values() for label in each.split()})),
)
def test_any_octets_under_any_label_are_text(octets, label):
    """No label makes an error or a lone surrogate."""
    decode(octets, label, detecting=False)[0].encode("utf-8")


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        ("\u041f\u0440\u0438\u0432\u0435\u0442", "koi8-r", None),
        ("\u041f\u0420\u0418\u0412\u0415\u0422", "koi8-r", "us-ascii"),
        ("\u0413\u0434\u0435 \u043c\u043e\u0439 \u0437\u0430\u043a\u0430\u0437?", "koi8-r", "iso-8859-1"),
        ("\u0414\u043e\u0431\u0440\u044b\u0439 \u0434\u0435\u043d\u044c", "cp1251", None),
        ("\u041f\u0440\u0438\u0432\u0435\u0442", "iso8859-5", None),
        ("\u8acb\u6c42\u66f8.pdf", "cp932", None),
        (
            "\u3054\u6ce8\u6587\u306e\u5546\u54c1\u304c\u5c4a\u304d\u307e\u305b\u3093\u3002",
            "euc_jp",
            "shift_jis",
        ),
        ("\u3054\u6ce8\u6587\u306e\u5546\u54c1\u304c\u5c4a\u304d\u307e\u305b\u3093\u3002", "cp932", "euc-jp"),
        ("\u3054\u6ce8\u6587\u306e\u5546\u54c1", "euc_jp", None),
        ("\uff76\uff80\uff76\uff85\u3067\u3059", "cp932", "shift_jis"),
        ("Where is it?\r\nAnn", "utf-16-le", None),
        ("Where is it?\r\nAnn", "utf-16-le", "utf-8"),
        ("Where is it?\r\nAnn", "utf-16-be", "utf-16"),
        (
            "\u0413\u0434\u0435 \u043c\u043e\u0439 \u0437\u0430\u043a\u0430\u0437?\r\n",
            "utf-16-le",
            "us-ascii",
        ),
        ("Gr\u00f6\u00dfe f\u00fcr M\u00fcller", "cp1252", None),
        ("\u00e9t\u00e9 o\u00f9 \u00e0", "cp1252", "iso-8859-1"),
        ("M\u00e4dchenfr\u00e4se", "cp1252", None),
        ("\u00c9T\u00c9 \u00c0 N\u00ceMES", "cp1252", "cp1252"),
        ("\u03a0\u03c1\u03cc\u03b2\u03bb\u03b7\u03bc\u03b1", "cp1253", "windows-1253"),
    ],
)
def test_few_octets_show_their_charset(text, codec, label):
    """What is too short for statistics, and has no label or a wrong one, is known by its form; Latin and
    Greek words are not taken for it.
    """
    assert decode(text.encode(codec), label, detecting=False)[0] == text


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_likeness_is_found_or_not(octets):
    """Any octets have one of the codecs, or none."""
    assert find_codec(octets) in {None, "cp932", "euc_jp", "koi8-r", "cp1251", "iso8859-5"}
    assert find_wide(octets) in {None, "utf-16-le", "utf-16-be"}
