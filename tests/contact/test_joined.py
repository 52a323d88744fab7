"""Text and HTML that are two pieces of one mail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factory import make_config, make_message, make_part, make_route

from relay.contact.body import BODY_LIMIT, make_body
from relay.contact.joined import find_lone
from relay.contact.plan import Rung


def mail(kind, *bodies):
    """A message whose bodies are (path, content type, words)."""
    parts = tuple(
        make_part(words.encode(), name=None, content_type=content_type, path=path, charset="utf-8")
        for path, content_type, words in bodies
    )
    message = make_message(
        text="\n".join(words for _, content_type, words in bodies if content_type == "text/plain"),
        html="".join(words for _, content_type, words in bodies if content_type == "text/html"),
    )
    return replace(message, bodies=parts, headers=(("Content-Type", kind),))


def body(message, **route):
    config = make_config(**route)
    made = make_body(message, make_route(config), config, rung=Rung.FULL, limit=BODY_LIMIT)
    return made.text, [change.code for change in made.changes]


MIXED = "multipart/mixed; boundary=x"


@pytest.mark.parametrize(
    ("kind", "bodies", "lone"),
    [
        ("multipart/alternative", [((0,), "text/plain", "a"), ((1,), "text/html", "b")], []),
        (MIXED, [((0,), "text/plain", "a"), ((1,), "text/html", "b")], [(0,)]),
        (MIXED, [((0, 0), "text/plain", "a"), ((0, 1), "text/html", "b")], []),
        (MIXED, [((0, 0), "text/plain", "a"), ((0, 1), "text/html", "b"), ((1,), "text/plain", "c")], [(1,)]),
        (MIXED, [((0, 0), "text/plain", "a"), ((0, 1, 0), "text/html", "b")], []),
        (MIXED, [((0,), "text/plain", "a")], [(0,)]),
    ],
)
def test_find_lone(kind, bodies, lone):
    """A text is alone when no HTML lies in the same branch of a mixed mail."""
    assert [part.path for part in find_lone(mail(kind, *bodies), html=False)] == lone


def test_text_before_html_is_seen():
    """A customer's text before a gateway's HTML disclaimer stands at the top of the body."""
    message = mail(
        MIXED,
        ((0,), "text/plain", "I <cancel>\nnow"),
        ((1,), "text/html", "<html><body class=x><p>Legal</p></body></html>"),
    )
    text, codes = body(message)
    assert text == (
        '<html><body class=x><div style="white-space: pre-wrap">I &lt;cancel&gt;\nnow</div>\n<p>Legal</p></body></html>'
    )
    assert codes == ["body.joined"]


def test_footer_after_html_is_seen():
    """A list's footer in text follows the HTML, inside the document."""
    message = mail(
        MIXED,
        ((0, 0), "text/plain", "hello"),
        ((0, 1), "text/html", "<p>hello</p></body></html>"),
        ((1,), "text/plain", "To unsubscribe"),
    )
    text, codes = body(message)
    assert text == '<p>hello</p><div style="white-space: pre-wrap">To unsubscribe</div>\n</body></html>'
    assert codes == ["body.joined", "body.alternative"]


def test_html_beside_text_is_seen_where_text_is_preferred():
    """The words of a lone HTML piece stand in the text, in its place."""
    message = mail(MIXED, ((0,), "text/plain", "Hello"), ((1,), "text/html", "<p>Best <b>regards</b></p>"))
    assert body(message, prefer="text") == ("Hello\n\nBest regards", ["body.joined"])


def test_blank_piece_changes_nothing():
    """The empty line that many programs put after an attachment is no piece."""
    message = mail(MIXED, ((0,), "text/html", "<p>hello</p>"), ((1,), "text/plain", "\n\n"))
    assert body(message) == ("<p>hello</p>", ["body.alternative"])
