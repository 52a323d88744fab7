"""The text that HTML gives."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.html_text import make_text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("a<br>b<br><br>c", "a\nb\n\nc"),
        ("a  \n\t b", "a b"),
        ("<b>bold</b> <i>and</i> more", "bold and more"),
        ("<b>a </b><i>b</i>", "a b"),
        ("un<b>broken</b>", "unbroken"),
        ("<ul><li>one<li>two</ul>after", "- one\n- two\n\nafter"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ('<a href="https://x.example/?a=1&amp;b=2">here</a>', "here <https://x.example/?a=1&b=2>"),
        ('<a href="https://x.example/">https://x.example</a>', "https://x.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="javascript:x()">click</a>', "click"),
        ('<img src="x" alt="Our logo">', "[Our logo]"),
        ("<blockquote>one<br>two</blockquote>three", "> one\n> two\n\nthree"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("5 &lt; 6 &amp; 7&nbsp;&euro;", "5 < 6 & 7 €"),
        ("<style>p{}</style><script>x</script><title>t</title>a<!-- b -->", "a"),
        ("a<hr>b", "a\n----\nb"),
        ("<h1>Title</h1>text", "Title\n\ntext"),
    ],
)
def test_make_text(source, expected):
    """Text as a person would copy it out."""
    assert make_text(source) == expected


@pytest.mark.parametrize(
    "unit",
    [
        "<blockquote>",
        "<b>",
        "<a href='http://x'>y",
        "<li>",
        "<pre>\n",
        "<table><tr><td>",
        "&nbsp;",
        "x ",
        "<br>",
    ],
)
@pytest.mark.slow
def test_linear_time(unit):
    """A megabyte of nesting costs no quadratic time and no recursion."""
    begun = time.process_time()
    make_text(unit * (1_000_000 // len(unit)))
    assert time.process_time() - begun < 5


@given(st.text(max_size=200))
def test_any_text_gives_text(source):
    """Nothing raises, and no blank lines surround the result."""
    assert make_text(source) == make_text(source).strip("\n")


@given(
    st.lists(st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=8), max_size=20)
)
def test_words_survive_any_markup(words):
    """Each word of the mail is in its text, in order."""
    source = "".join(
        f"<p>{word}</p>" if index % 3 else f"<td><b>{word}</b> " for index, word in enumerate(words)
    )
    assert make_text(source).split() == words
