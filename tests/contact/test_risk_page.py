"""Words of HTML that a reader sees, and those that are hidden."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.risk.page import read_page
from relay.contact.risk.styles import parse_colour, read_declarations, read_sheet


def hidden(source):
    return "".join(words for _, words in read_page(source).hidden).split()


@pytest.mark.parametrize(
    ("style", "way"),
    [
        ("display:none", "not displayed"),
        ("DISPLAY : NONE !important", "not displayed"),
        ("visibility:hidden", "not displayed"),
        ("font-size:0", "of no size"),
        ("font-size:1px", "of no size"),
        ("font-size:0.0em;color:red", "of no size"),
        ("font:0/0 a", "of no size"),
        ("opacity:0", "transparent"),
        ("opacity:.01", "transparent"),
        ("color:transparent", "transparent"),
        ("color:rgba(0,0,0,0)", "transparent"),
        ("color:#0000", "transparent"),
        ("max-height:0;overflow:hidden", "of no size"),
        ("height:1px;width:1px;overflow:hidden", "of no size"),
        ("transform:scale(0)", "of no size"),
        ("position:absolute;left:-9999px", "off the page"),
        ("text-indent:-1000px", "off the page"),
        ("clip:rect(0 0 0 0);position:absolute", "of no size"),
        ("clip-path:inset(50%)", "of no size"),
        ("color:#fff;background:#fefefe", "in the colour of the background"),
        ("color:white", "in the colour of the background"),
        ("display:/* x */none", "not displayed"),
    ],
)
def test_hidden_by_style(style, way):
    """Words with such a style are hidden, and the way is told."""
    page = read_page(f'<p>seen</p><div style="{style}"><b>not seen</b></div><p>again</p>')
    assert page.hidden == [(way, "not seen")]
    assert "".join(page.shown) == "seenagain"


@pytest.mark.parametrize(
    "source",
    [
        '<td style="font-size:0"><div style="font-size:14px">words</div></td>',
        '<div style="visibility:hidden"><b style="visibility:visible">words</b></div>',
        '<div style="background:#fff"><a style="color:#fff;background:#00f">words</a></div>',
        '<table bgcolor="#000"><td style="color:#fff">words</td></table>',
        '<style>.x td{display:none} @media (max-width:9px){.y{display:none}}</style><p class="y">words</p>',
        '<p style="display:none"><p>words</p>',
        '<div style="display:none"></div>words',
        '<div style="max-height:0">words</div>',
        '<div style="height:1px">words</div>',
        '<span style="font-size:90%">words</span>',
        '<span style="opacity:0.9">words</span>',
        '<a href="https://x.example/?hidden=1">words</a>',
        '<div style="background-image:url(x);color:white">words</div>',
    ],
)
def test_seen(source):
    """Words that are seen are not taken for hidden ones."""
    page = read_page(source)
    assert page.hidden == []
    assert "".join(page.shown).strip() == "words"


@pytest.mark.parametrize(
    "source",
    [
        "<div hidden>words</div>",
        '<div hidden="">words</div>',
        "<style>.x{display:none}</style><p class='a x'>words</p>",
        "<p id=q>words</p><style>#q{color:red;font-size:0}</style>",
        "<style>p.x, b{display:none}</style><p class=x>words",
        "<template>words</template>",
        '<div style="display:none"><div><p>words</p></div>',
        '<font color="#FFFFFF">words</font>',
        '<td bgcolor="white"><font color="white">words</font></td>',
        '<div style="font-size:0"><span style="font-size:2em">words</span></div>',
    ],
)
def test_hidden(source):
    """Attributes, style sheets, elements that are never shown: each hides words."""
    assert hidden(source) == ["words"]


def test_aside():
    """Comments, titles and descriptions are kept apart from hidden words."""
    page = read_page('<title>a</title><!-- b --><img alt="c"><style>d{}</style><!-- e')
    assert [words.strip() for words in page.aside] == ["a", "c", "b", "e"]
    assert page.hidden == []


def test_links():
    """A link has its target and the words that are seen for it, without end, too."""
    page = read_page('<a href="u"><b>one</b> two</a> <a href="v">three<a href=w>four')
    assert [(link.target, link.text) for link in page.links] == [
        ("u", "one two"),
        ("v", "three"),
        ("w", "four"),
    ]


def test_sheet():
    """Simple rules are read; those of compound selectors and of some screens only are not."""
    sheet = "a{b:c}/* x{y:z} */ .d,#e{f:g} h i{j:k} @media x{l{m:n}} o:hover{p:q} r{s:t"
    assert list(read_sheet(sheet)) == [("a", "b:c"), (".d", "f:g"), ("#e", "f:g")]


def test_words_of_styles():
    """Declarations and colours are read in any case; what is none is left out."""
    assert read_declarations("A: B c ; d:E!important;f") == {"a": "b c", "d": "e", "f": ""}
    assert parse_colour(" #FFF") == parse_colour("white") == parse_colour("rgb(255, 255, 255)")
    assert parse_colour("var(--x)") is None


PIECES = [
    "<p>",
    "</p>",
    "<div style='font-size:0'>",
    "</div>",
    "<a href=x>",
    "</a>",
    "<style>a{",
    "}",
    "</style>",
]
PIECES += [
    "<!--",
    "-->",
    "x",
    "&nbsp;",
    '"',
    "<td class='b' hidden",
    ">",
    "rgb(",
    "/*",
    "*/",
    "<p style='color:#",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=40).map("".join))
def test_any_html(source):
    """No HTML raises, and each word goes to one place at most."""
    page = read_page(source)
    assert sum(map(len, page.shown)) + sum(len(words) for _, words in page.hidden) <= len(source) * 2


@pytest.mark.parametrize(
    "piece",
    ["<div>", "<p><b>", "<style>", "<!--", "<a href=", "<p style='", "/*", "/*a", "{", "a{}", "<i></b>", "x"],
)
@pytest.mark.parametrize("start", ["", "<style>"])
@pytest.mark.slow
def test_time_is_linear(piece, start):
    """Twice as much of any mark costs less than four times the time, or hardly any."""
    costs = []
    for size in (100_000, 200_000):
        source = start + piece * (size // len(piece))
        begun = time.process_time()
        read_page(source)
        costs.append(time.process_time() - begun)
    assert costs[1] < max(4 * costs[0], 0.4)


@pytest.mark.parametrize(
    "source",
    [
        "<div>Hello <b>you</b> &amp; all<br/>Bye</div>",
        '<html><body dir="ltr"><p>Hello</p> <P>you</P>&amp; allBye</body></html>',
        "Hello you & allBye",
    ],
)
def test_page_without_attributes_is_read_as_any_other(source):
    """The short way for what most programs write shows the words that the walk shows, and hides none."""
    walked = read_page(f'<i title="">{source}</i>')
    short = read_page(source)
    assert [text for text in short.list_shown() if text.strip()] == [
        text for text in walked.shown if text.strip()
    ]
    assert (
        (short.hidden, short.links, short.aside)
        == (walked.hidden, walked.links, walked.aside)
        == ([], [], [])
    )
