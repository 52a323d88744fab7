"""Encoded words in all their abuses."""

from __future__ import annotations

import time

import pytest

from relay.message.words import decode_words, header_text, one_line


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?utf-8?Q?a_b?=", "a b"),
        (b"=?UTF-8?B?SsO8cmdlbg==?=", "Jürgen"),
        (b"=?UTF-8?B?SsO8cmdlbg?=", "Jürgen"),
        (b"=?utf-8*de?q?x?=", "x"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\r\n =?iso-8859-1?q?=E9?=", "aé"),
        (b"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        (b"=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        (b"=?utf-8?b?w6?= =?utf-8?b?k=?=", "é"),
        (b"=?utf-8?q?two words?=", "two words"),
        (b"=?utf-8?q?no end", "no end"),
        (b"=?utf-8?q?no end =?utf-8?q?next?=", "no end next"),
        (b"=?utf-8?q?Is_it=3F=3F?=", "Is it??"),
        (b"=?utf-8?q?Is_it?=3F?=", "Is it?=3F?=".replace("?=3F", "?=3F").split("=")[0] + "?"),
        (b"=?nonsense?q?caf=C3=A9?=", "café"),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?a=0D=0AX: y?=", "a X: y"),
        (b"=?utf-8?q?=00=07a=7F?=", "a"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"\x1b$B$3$s\x1b(B", "こん"),
        (b"a\r\n\tb", "a b"),
        (b"=?gb2312?B?w6y?=", "矛"),
        (b"=?iso-8859-1?Q?Fr\xf6sche?= x", "Frösche x"),
        (b"=?koi8-r?Q?\xfa\xc1\xcb\xc1\xda?=", "Заказ"),
        (b"\xe9t\xe9 =?koi8-r?q?\xfa no end", "été З no end"),
        (b"=?iso-8859-1?Q?Gr=C3=BC?= =?iso-8859-1?Q?=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?Q?Rechnung_f=FCr?=", "Rechnung für"),
        (b"=?utf-7?Q?Gr+APw-n?=", "Grün"),
        (b"=?cp-850?Q?Gr=81n?=", "Grün"),
    ],
)
def test_words_are_decoded_as_far_as_they_go(value, expected):
    """Each abuse gives what its writer meant, on one line."""
    assert header_text(value)[0] == expected


def test_unsound_words_are_reported():
    """Whether a word was right is known, so that a defect can say so."""
    assert decode_words("=?utf-8?q?a?=") == ("a", True)
    assert decode_words("=?utf-8?q?a")[1] is False
    assert decode_words("=?nonsense?q?a?=")[1] is False


@pytest.mark.parametrize("piece", [b"=?a?q?\xff", b"=?\xff?=", b"=?a?q?", b"\xff?="])
@pytest.mark.slow
def test_raw_octets_in_words_are_read_in_linear_time(piece):
    """A megabyte of encoded words with raw octets takes no second."""
    begun = time.thread_time()
    header_text(piece * (1_000_000 // len(piece)) + b"\xff")
    assert time.thread_time() - begun < 10


def test_one_line_is_one_line():
    """Line ends become blanks, controls and lone surrogates go."""
    assert one_line(" a\r\nb\x00c\u2028d\ud800e\x85f ") == "a bc de f"


@pytest.mark.parametrize(
    "piece", ["=?a?q?x", "=?a?q?", "=?utf-8?b?a?= ", "=?utf-8?b?!!!!?= ", "?=41", "=?x?q?=ff?= "]
)
@pytest.mark.slow
def test_hostile_words_are_read_in_linear_time(piece):
    """Half a megabyte of any one abuse takes no second."""
    begun = time.thread_time()
    decode_words("=?a?q?" + piece * (500_000 // len(piece)))
    assert time.thread_time() - begun < 5
