"""Text and HTML that are two pieces of one mail."""

from __future__ import annotations

import pytest
from factory import make_config, make_route

from relay.contact.body import make_body
from relay.contact.limits import BODY_BYTES
from relay.message.parse import parse_message
from relay.vocabulary import Rung

TEXT, HTML = "text/plain", "text/html"


def multipart(kind, *parts, boundary="b"):
    """A multipart entity of others, or of (content type, words)."""
    entities = [
        part if isinstance(part, str) else f"Content-Type: {part[0]}; charset=utf-8\r\n\r\n{part[1]}"
        for part in parts
    ]
    lines = "".join(f"--{boundary}\r\n{entity}\r\n" for entity in entities)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\r\n\r\n{lines}--{boundary}--\r\n"


def mail(kind, *parts):
    return parse_message(multipart(kind, *parts).encode())


def body(message, **route):
    config = make_config(**route)
    made = make_body(message, make_route(config), config, rung=Rung.FULL, limit=BODY_BYTES)
    return made.text, [change.code for change in made.changes]


@pytest.mark.parametrize("kind", ["mixed", "signed"])
def test_footer_deep_in_a_mail_is_seen(kind):
    """What stands beside the HTML in a mixed is seen also when the mixed lies within another multipart."""
    inner = multipart("mixed", (HTML, "<p>hello</p>"), (TEXT, "To unsubscribe"), boundary="i")
    text, codes = body(mail(kind, inner, ("application/pgp-signature", "x")))
    assert "To unsubscribe" in text
    assert codes == ["body.joined"]


def test_alternative_is_no_piece():
    """Text that says the same as the HTML stands in it once."""
    assert body(mail("alternative", (TEXT, "hello"), (HTML, "<p>hello</p>"))) == (
        "<p>hello</p>",
        ["body.alternative"],
    )


def test_text_before_html_is_seen():
    """A customer's text before a gateway's HTML disclaimer stands at the top of the body."""
    message = mail(
        "mixed", (TEXT, "I <cancel>\nnow"), (HTML, "<html><body class=x><p>Legal</p></body></html>")
    )
    text, codes = body(message)
    assert text == (
        '<html><body class=x><div style="white-space: pre-wrap">I &lt;cancel&gt;\nnow</div>\n<p>Legal</p></body></html>'
    )
    assert codes == ["body.joined"]


def test_footer_after_html_is_seen():
    """A list's footer in text follows the HTML, inside the document."""
    message = mail(
        "mixed",
        multipart("alternative", (TEXT, "hello"), (HTML, "<p>hello</p></body></html>"), boundary="i"),
        (TEXT, "To unsubscribe"),
    )
    text, codes = body(message)
    assert text == '<p>hello</p><div style="white-space: pre-wrap">To unsubscribe</div>\n</body></html>'
    assert codes == ["body.joined", "body.alternative"]


def test_html_beside_text_is_seen_where_text_is_preferred():
    """The words of a lone HTML piece stand in the text, in its place."""
    message = mail("mixed", (TEXT, "Hello"), (HTML, "<p>Best <b>regards</b></p>"))
    assert body(message, prefer="text") == ("Hello\n\nBest regards", ["body.joined"])


def test_blank_piece_changes_nothing():
    """The empty line that many programs put after an attachment is no piece."""
    message = mail("mixed", (HTML, "<p>hello</p>"), (TEXT, "\n\n"))
    assert body(message) == ("<p>hello</p>", ["body.alternative"])
