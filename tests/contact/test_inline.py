"""Pictures shown by reference."""

from __future__ import annotations

import base64
import time

import pytest
from factory import make_part

from relay.contact.inline import choose_images, find_references, image_type, replace_references


def image(octets=b"\x89PNG picture", *, cid="logo@x", content_type="image/png", **more):
    return make_part(octets, name="logo.png", content_type=content_type, content_id=cid, **more)


def inline(source, *parts, room=1_000_000):
    references = find_references(source, parts)
    return replace_references(source, references, choose_images(references, room))


URI = "data:image/png;base64," + base64.b64encode(b"\x89PNG picture").decode()


@pytest.mark.parametrize(
    "template",
    [
        '<img src="{}">',
        "<img src='{}'>",
        "<img src={}>",
        '<td background="{}">',
        '<div style="background:url({})">',
        "<div style=\"background:url('{}')\">",
        '<v:imagedata src = "{}"/>',
    ],
)
def test_reference_forms(template):
    """Every way in which HTML shows a picture is replaced."""
    assert inline(template.format("cid:logo@x"), image()) == template.format(URI)


@pytest.mark.parametrize(
    ("written", "cid"),
    [
        ("CID:logo@x", "logo@x"),
        ("cid:logo%40x", "logo@x"),
        ("cid:logo&#64;x", "logo@x"),
        ("cid:a&amp;b", "a&b"),
        ("cid:LOGO@X", "logo@x"),
        ("cid:logo@x", "<logo@x>"),
        ("cid:%7Bguid%7D@x", "{guid}@x"),
    ],
)
def test_id_forms(written, cid):
    """An id is found however the URL writes it (RFC 2392 §2)."""
    assert inline(f'<img src="{written}">', image(cid=cid)) == f'<img src="{URI}">'


def test_content_location():
    """HTML saved from the web names its pictures by place (RFC 2557)."""
    part = image(cid=None, content_location="images/logo.png")
    assert inline('<img src="images/logo.png">', part) == f'<img src="{URI}">'
    assert inline('<img src="other.png">', part) == '<img src="other.png">'


def test_content_location_beside_the_page():
    """A page that names its own place may name its pictures relative to it."""
    part = image(cid=None, content_location="https://shop.example/img/logo.png")
    for written, base in (
        ("https://shop.example/img/logo.png", ""),
        ("img/logo.png", "https://shop.example/index.html"),
        ("/img/logo.png", "https://shop.example/a/b.html"),
    ):
        (found,) = find_references(f'<img src="{written}">', [part], base=base)
        assert found.part is part
    assert find_references('<img src="//[bad/x">', [part], base="https://shop.example/") == ()


def test_reference_twice():
    """A picture shown twice stands in the HTML twice."""
    assert inline('<img src="cid:logo@x"><img src="cid:logo@x">', image()).count(URI) == 2


@pytest.mark.parametrize(
    "source",
    [
        "write to acid:logo@x please",
        '<a href="cid:logo@x">open</a>',
        '<img src="cid:other@x">',
        '<img src="https://x.example/logo.png">',
        "",
    ],
)
def test_what_is_no_picture_stays(source):
    """Links, plain words, unknown ids and remote pictures are left alone."""
    assert inline(source, image()) == source


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (image(content_type="image/jpg"), "image/jpeg"),
        (image(content_type="application/octet-stream", detected_type="image/gif"), "image/gif"),
        (image(content_type="application/octet-stream"), "image/png"),
        (image(content_type="image/svg+xml"), "image/svg+xml"),
        (image(content_type="image/tiff"), None),
        (make_part(), None),
    ],
)
def test_image_type(part, kind):
    """The type of the URI is what the content, the declaration or the name says, if Connect shows it."""
    assert image_type(part) == kind


def test_smallest_first_when_not_all_fit():
    """Most of the pictures stay in place; the largest goes the way of an attachment."""
    small = image(b"s" * 300, cid="small")
    large = image(b"l" * 3_000, cid="large")
    source = '<img src="cid:large"><img src="cid:small">'
    result = inline(source, large, small, room=1_000)
    assert 'src="cid:large"' in result
    assert "cid:small" not in result


def test_room_is_exact():
    """A picture goes in when its URI fills the room to the byte, and not with one less."""
    source = '<img src="cid:logo@x">'
    room = len(URI) - len("cid:logo@x")
    assert URI in inline(source, image(), room=room)
    assert inline(source, image(), room=room - 1) == source


def test_linear_time():
    """A megabyte of half references costs no more than a moment."""
    begun = time.process_time()
    for unit in ('"cid:', "src=", "url(", 'href="cid:x', "cid:", "src= " * 5):
        inline(unit * (1_000_000 // len(unit)), image(content_location="x"))
    assert time.process_time() - begun < 6
