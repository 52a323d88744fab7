"""HTML in pieces, in linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.message.markup import (
    Kind,
    Scanner,
    find_closer,
    join_html,
    read_attributes,
    shows_something,
    shows_words,
    uncover,
    unescape,
)


def tokens(source):
    return [(token.kind.name, token.name, token.value) for token in Scanner(source).tokens()]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a", [("TEXT", "", "a")]),
        ("<P Class=x>a</P >", [("OPEN", "p", " Class=x"), ("TEXT", "", "a"), ("CLOSE", "p", "")]),
        ('<a title="1 > 0">', [("OPEN", "a", ' title="1 > 0"')]),
        ("<a title=it's>x", [("OPEN", "a", " title=it's"), ("TEXT", "", "x")]),
        ("1 < 2 <3", [("TEXT", "", "1 < 2 <3")]),
        ("<!-- <p> -->b", [("HIDDEN", "", ""), ("TEXT", "", "b")]),
        ("<!-->b", [("HIDDEN", "", ""), ("TEXT", "", "b")]),
        ("<!doctype html><?xml?>b", [("HIDDEN", "", ""), ("HIDDEN", "", ""), ("TEXT", "", "b")]),
        ("<style>p > a{}</STYLE>b", [("OPEN", "style", ""), ("HIDDEN", "style", "p > a{}"), ("CLOSE", "style", ""), ("TEXT", "", "b")]),
        ("<textarea><b></textarea>", [("OPEN", "textarea", ""), ("TEXT", "textarea", "<b>"), ("CLOSE", "textarea", "")]),
        ("a<br", [("TEXT", "", "a"), ("TEXT", "", "<br")]),
        ('<a href="x>b</a>c', [("OPEN", "a", ' href="x'), ("TEXT", "", "b"), ("CLOSE", "a", ""), ("TEXT", "", "c")]),
    ],
)  # fmt: skip
def test_tokens(source, expected):
    """Tags, comments, raw elements and stray characters are told apart as browsers do."""
    assert tokens(source) == expected


@pytest.mark.parametrize(
    ("source", "closer"),
    [
        ("<p>well</p>", ""),
        ("<p>open", ""),
        ("<!-- never ends", "-->"),
        ("<style>p{}", "</style>"),
        ("<SCRIPT>x</script", "</script>"),
        ("<p class=a", ">"),
        ('<p class="a', '">'),
        ("<!doctype", ">"),
    ],
)
def test_closer(source, closer):
    """What is left open at the end is known, so that what follows can be seen."""
    assert find_closer(source) == closer
    note = Kind.TEXT, "NOTE"
    seen = [(token.kind, token.value) for token in Scanner(source + find_closer(source) + "<p>NOTE").tokens()]
    assert seen[-1] == note


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        ("<html><body><p>&nbsp;</p><br>\u200b</body></html>", False),
        ("<style>p{color:red}</style><title>x</title><!-- y -->", False),
        ("<p>a</p>", True),
        ('<img src="cid:x">', True),
        ("<textarea>typed</textarea>", True),
        ("<div></div>", False),
    ],
)
def test_shows_something(source, shows):
    """A body of blanks, styles and comments shows nothing."""
    assert shows_something(source) is shows


def test_attributes():
    """Values come unescaped, with or without quotes, the first of two alike."""
    assert read_attributes(""" href="a&amp;b" ALT='it is' width=5 alt=no """) == {
        "href": "a&b",
        "alt": "it is",
        "width": "5",
    }


def test_impossible_references():
    """A character reference of five thousand digits is no error."""
    assert unescape("&#" + "9" * 5_000 + ";&amp;&#x" + "f" * 5_000 + ";") == "\ufffd&\ufffd"
    assert unescape("&#65;&eacute;&unknown;") == "Aé&unknown;"


@pytest.mark.parametrize(
    "unit",
    [
        "<!--",
        "<a ",
        '<a "',
        '<a b="',
        "<a b='x",
        "<style>",
        "</style",
        "<",
        "&",
        "&#",
        "<!",
        "<p>",
        "<a b = ",
        "</a",
        "<a/",
        "-->",
        '="',
    ],
)
def test_linear_time(unit):
    """A megabyte of any broken beginning costs no more than a moment."""
    source = unit * (1_000_000 // len(unit))
    begun = time.process_time()
    find_closer(source)
    assert time.process_time() - begun < 3


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("<html><head><title/><body><p>words", "<html><head><title/></title><body><p>words"),
        ("<style>p{}<body><p>words", "<style>p{}</style><body><p>words"),
        ("<title>x<style>y</style><p>words", "<title>x<style>y</style></title><p>words"),
        ("a<!-- b <p>words", "a<!-- b --><p>words"),
        ("<iframe/><p>words", "<iframe/></iframe><p>words"),
        ("<title>x</title><style>p{}</style><p>words", "<title>x</title><style>p{}</style><p>words"),
        ("<style>p{}", "<style>p{}"),
    ],
)
def test_what_hides_words_is_closed(source, shown):
    """A title, style or comment without its end is closed before the words; sound HTML is left alone."""
    assert uncover(source) == shown


def test_html_does_not_hide_the_next():
    """What one piece leaves open is closed before the next begins."""
    assert join_html(["<style>p{", "", "<p>b"]) == "<style>p{</style>\n<p>b"
    assert join_html(["<p>a\n", "<p>b"]) == "<p>a\n<p>b"
    assert join_html(["<style>p{"]) == "<style>p{"


@pytest.mark.parametrize(
    ("source", "something", "words"),
    [
        ("<p>words", True, True),
        ("<img src=cid:a>", True, False),
        ("<img src=cid:a>words", True, True),
        ("<img src=https://x.example/banner.png>", True, False),
        ("<img src=https://x.example/p.gif width=1 height='1'>", False, False),
        ('<img src=x style="width: 1px; height:1px">', False, False),
        ('<img src=x style="display: none">', False, False),
        ("<img src=x width=1 height=400>", True, False),
        ("<p>&nbsp;\u200b</p>", False, False),
        ('<div style="display: none">a<div>b</div>c</div>', True, False),
        ('<div style="display: none">a<div>b</div>c</div>d', True, True),
        ("<span hidden>a</span><p>&nbsp;", True, False),
        ('<div style="display:block">a</div>', True, True),
        ('<p title="hidden">a</p>', True, True),
    ],
)
def test_a_pixel_shows_nothing(source, something, words):
    """A picture that only counts readers is none, and no picture is words."""
    assert (shows_something(source), shows_words(source)) == (something, words)


@given(st.text(alphabet=st.sampled_from(list("<>/!-\"'= abpstyle&#;")), max_size=120))
@example("<style")
@example("<textarea a='")
def test_any_soup_is_cut_and_closed(soup):
    """No soup raises, and after its closer a text is always seen."""
    # No token is empty, and the closer opens nothing.
    closed = soup + find_closer(soup) + "<p>NOTE"
    assert [token.value for token in Scanner(closed).tokens()][-1] == "NOTE"


@given(
    st.lists(
        st.sampled_from(
            [
                "<b>",
                "</p ",
                "<a b='",
                'c="',
                "=",
                ">",
                "'",
                '"',
                "<style",
                "</style>",
                "<!--",
                "-->",
                "<",
                "x",
                " ",
            ]
        ),
        max_size=40,
    ).map("".join)
)
@example('<a b="' + "c" * 201 + '"><style>')
@example("<a b='<style>")
def test_the_short_way_to_a_closer_finds_the_same(soup):
    """Tokens that leave nothing open may be passed over: what is left open stays the same."""
    every, few = Scanner(soup), Scanner(soup)
    assert len(list(every.tokens())) >= len(list(few.tokens(plain=False)))
    assert (every.closer, every.hidden_from) == (few.closer, few.hidden_from)
