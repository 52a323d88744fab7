"""The body of a contact."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factory import make_config, make_message, make_part, make_route

from relay.contact.body import make_body
from relay.contact.candidates import Role
from relay.contact.limits import BODY_BYTES, STORED_CONTENT_BYTES
from relay.message.model import Defect
from relay.vocabulary import Rung


def body(message, *, rung=Rung.FULL, limit=BODY_BYTES, **route):
    config = make_config(**route)
    made = make_body(message, make_route(config), config, rung=rung, limit=limit)
    return made, [change.code for change in made.changes]


@pytest.mark.parametrize(
    ("message", "route", "content_type", "text", "codes"),
    [
        (make_message(text="hi\n"), {}, "text/plain", "hi\n", []),
        (make_message(html="<p>hi"), {}, "text/html", "<p>hi", []),
        (make_message(text="hi", html="<p>hi"), {}, "text/html", "<p>hi", ["body.alternative"]),
        (make_message(text="hi", html="<p>hi"), {"prefer": "text"}, "text/plain", "hi", ["body.alternative"]),
        (make_message(html="<p>hi"), {"prefer": "text"}, "text/plain", "hi", ["body.to_text"]),
        (make_message(), {}, "text/plain", "(no text)", ["body.empty"]),
        (make_message(text=" \n\t "), {}, "text/plain", "(no text)", ["body.empty"]),
        (make_message(html="<html><body><br></body></html>"), {}, "text/plain", "(no text)", ["body.empty"]),
        (make_message(text="hi", html='<img src="cid:x">'), {}, "text/plain", "hi", ["body.alternative"]),
        (
            make_message(text="[cid:x]\n", html='<img src="cid:x">'),
            {},
            "text/html",
            '<img src="cid:x">',
            ["body.alternative"],
        ),
        (make_message(text="hi", html="<p>&nbsp;</p>"), {}, "text/plain", "hi", ["body.alternative"]),
        (make_message(html='<img src="cid:x">'), {}, "text/html", '<img src="cid:x">', []),
        (make_message(text="a\x00b"), {}, "text/plain", "a\ufffdb", ["body.cleaned"]),
        (make_message(html="<p>half \ud83d"), {}, "text/html", "<p>half \ufffd", ["body.cleaned"]),
    ],
)
def test_choice(message, route, content_type, text, codes):
    """HTML where the route prefers it and it shows anything, else text, else words that say there is none."""
    made, found = body(message, **route)
    assert (made.content_type, made.text) == (content_type, text)
    assert found == codes


def test_alternative_names_the_hash_of_what_is_not_sent():
    """The leaf that stays behind can be found again in the original."""
    message = make_message(text="hi", html="<p>hi")
    made, _ = body(message)
    assert made.changes[0].before == message.bodies[0].sha256


@pytest.mark.parametrize("unit", ["x", "é", "漢", "😀"])
def test_limit_counts_bytes(unit):
    """A body of exactly 5,242,880 bytes goes whole; one character more is cut, whatever its width."""
    size = len(unit.encode())
    fits = unit * (BODY_BYTES // size)
    made, codes = body(make_message(text=fits))
    assert (made.text, codes) == (fits, [])
    made, codes = body(make_message(text=fits + unit))
    assert len(made.text.encode()) <= BODY_BYTES
    assert made.text.endswith("…")
    assert made.kept == (Role.TEXT,)
    assert codes == ["body.too_large"]


def test_cut_stands_at_the_end_of_a_line():
    """A long text is cut between lines where it has any."""
    made, _ = body(make_message(text="0123456789\n" * 100), limit=500)
    assert made.text.endswith("0123456789\n…")


def test_html_too_large_gives_way_to_the_text():
    """The text alternative is whole where the HTML would not be; the HTML becomes a file."""
    made, codes = body(make_message(text="short", html="<p>" + "x" * 2_000), limit=1_000)
    assert (made.text, made.content_type, made.kept) == ("short", "text/plain", (Role.HTML,))
    assert codes == ["body.alternative", "body.too_large"]


def test_html_too_large_without_text_is_made_text():
    """Styles and pictures make most HTML large; its words mostly fit."""
    made, codes = body(make_message(html=f"<style>{'x' * 2_000}</style><p>words"), limit=1_000)
    assert (made.text, made.kept) == ("words", (Role.HTML,))
    assert codes == ["body.to_text", "body.too_large"]


def test_both_too_large_keeps_both():
    """What does not fit in either form is cut, and both are files."""
    made, _ = body(make_message(text="t" * 2_000, html="<p>" + "x" * 2_000), limit=1_000)
    assert set(made.kept) == {Role.TEXT, Role.HTML}
    assert len(made.text.encode()) <= 1_000


def test_body_that_the_parser_cut_is_kept():
    """Past the parser's own limit the text in hand is not all; the whole becomes a file."""
    message = replace(make_message(text="begins"), defects=(Defect.BODY_TOO_LONG,))
    made, codes = body(message)
    assert made.kept == (Role.TEXT,)
    assert codes == ["body.too_large"]


def test_pictures_go_in_while_they_fit():
    """A picture that the HTML shows stands in it; the one that does not fit is left to the files."""
    small = make_part(b"s" * 90, name="s.png", content_type="image/png", content_id="small")
    large = make_part(b"l" * 9_000, name="l.png", content_type="image/png", content_id="large")
    html = '<img src="cid:small"><img src="cid:large">'
    made, codes = body(make_message(html=html, attachments=[large, small]), limit=1_000)
    assert made.inlined == {1}
    assert made.shown == {0, 1}
    assert codes == ["image.not_inlined", "image.inlined"]
    assert 'src="cid:large"' in made.text


def test_last_rung_is_plain_and_short():
    """The last rung holds no HTML, nothing invisible, and what a flow can read."""
    made, codes = body(make_message(html="<p>a\u200bb\x07c</p>"), rung=Rung.TEXT)
    assert (made.text, made.content_type) == ("abc", "text/plain")
    assert codes == ["body.to_text", "body.cleaned"]
    made, _ = body(make_message(text="x" * 100_000), rung=Rung.TEXT)
    assert len(made.text.encode()) <= STORED_CONTENT_BYTES


def test_last_rung_of_invisible_text_is_the_empty_body():
    """Text that vanishes at the last rung is replaced like none at all."""
    made, codes = body(make_message(text="\u200e\u200f"), rung=Rung.TEXT)
    assert made.text == "(no text)"
    assert "body.empty" in codes


@pytest.mark.slow
def test_millions_of_tags_cost_no_more_than_a_moment():
    """HTML without end is read as far as our effort goes; the whole becomes a file."""
    import time

    begun = time.process_time()
    made, codes = body(make_message(html="<br>x" * 3_000_000))
    assert time.process_time() - begun < 5
    assert made.kept == (Role.HTML,)
    assert codes == ["body.to_text", "body.too_large"]
