"""Names of files that are saved, and the pictures that are drawn."""

from __future__ import annotations

import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from page_values import PNG

from relay.web.pictures import drawable_type, measure_webp
from relay.web.rendering import lasting
from relay.web.responses import download, safe_name


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Windows\\a.exe", "C__Windows_a.exe"),
        ("inv\u202efdp.exe", "invfdp.exe"),
        ('a"; x="b\r\nSet-Cookie: c', "a_; x=_b Set-Cookie_ c".replace("b Set", "bSet")),
        (".bashrc", "bashrc"),
        ("", "file"),
        ("...", "file"),
        ("Größe 山.txt", "Größe 山.txt"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
    ],
)
def test_a_file_is_saved_under_a_safe_name(name, saved):
    """No folder, no control or direction of letters, no hidden file; its extension stays."""
    assert safe_name(name) == saved


@given(st.text())
def test_any_name_stands_in_one_header(name):
    """A name of any letters gives a field of one line with two well-formed parameters."""
    answer = download(b"", name=name)
    assert isinstance(answer, web.Response)
    assert re.fullmatch(
        r"attachment; filename=\"[^\"\\%\x00-\x1f\x7f-\U0010ffff]+\"; filename\*=UTF-8''[\w.~%-]+",
        answer.headers["Content-Disposition"],
        re.ASCII,
    )


def webp(kind, rest):
    return b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + rest


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (PNG, "image/png"),
        (PNG[:16] + b"\0\0\xff\xff" * 2 + PNG[24:], None),
        (PNG[:12], None),
        (b"GIF89a\x01\0\x01\0", "image/gif"),
        (b"GIF89a\xff\xff\xff\xff", None),
        (b"GIF89a\x00\x00\x01\x00", None),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x10", "image/jpeg"),
        (b"\xff\xd8\xff\xe0", None),
        (webp(b"VP8X", b"\0\0\0\0\x0f\0\0\x0f\0\0"), "image/webp"),
        (webp(b"VP8X", b"\0\0\0\0\xff\xff\xff\xff\xff\xff"), None),
        (webp(b"VP8L", b"\x2f\x00\x00\x00\x00"), "image/webp"),
        (webp(b"VP8 ", b"\0" * 6 + b"\x10\0\x10\0"), "image/webp"),
        (webp(b"ALPH", b"\0" * 20), None),
        (b"BM" + b"\0" * 40, None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"", None),
    ],
)
def test_pictures_of_a_safe_type_and_size_are_drawn(octets, kind):
    """PNG, JPEG, GIF and WebP whose size is known and no burden; nothing else."""
    assert drawable_type(octets) == kind


@given(st.binary(max_size=40))
def test_any_octets_are_measured(octets):
    """Octets that are cut anywhere are no error."""
    measure_webp(webp(octets[:4], octets[4:]))
    drawable_type(octets)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1234, "0.12 s"),
        (3.44, "3.4 s"),
        (59, "59 s"),
        (60, "1 min"),
        (372, "6 min 12 s"),
        (7_200, "2 h"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds, words):
    """A time is told as a person would."""
    assert lasting(seconds) == words
