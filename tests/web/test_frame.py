"""The document of a mail's HTML: known elements, nothing that runs or fetches, bounded."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_values import PNG

from relay.web.frame import MOST_CHARACTERS, build_frame, content_ids

DATA = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
ELSEWHERE = "http://127.0.0.1:9/x"
#: Attributes of our own document whose values may be an address.
HEAD = '<base target="_blank">'


class Reader(HTMLParser):
    """The tags and attributes of a document, as a parser that is not ours reads them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text, self.deepest = [], 0, "", 0

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(source, **pictures):
    built = build_frame(source, pictures=pictures)
    reader = Reader()
    reader.feed(built.document)
    return reader, built


HOSTILE = [
    "<script>alert(1)</script>",
    f"<script src={ELSEWHERE}></script>",
    f'<img src="{ELSEWHERE}" srcset="{ELSEWHERE} 2x" onerror=alert(1)>',
    f'<img src="//127.0.0.1:9/x"><img/src="{ELSEWHERE}"/onload=alert(1)>',
    f'<link rel=stylesheet href="{ELSEWHERE}"><link rel=dns-prefetch href="//evil.example">',
    f'<style>@import "{ELSEWHERE}";p{{background:url({ELSEWHERE})}}</style>',
    f'<p style="background:url({ELSEWHERE})">x',
    f'<p style="background:\\75rl({ELSEWHERE})">x',
    f'<meta http-equiv=refresh content="0;url={ELSEWHERE}">',
    f"<form action={ELSEWHERE}><input type=image src={ELSEWHERE}><button>b</button></form>",
    f'<svg><image href="{ELSEWHERE}"/><script>alert(1)</script></svg>',
    f"<iframe src={ELSEWHERE}></iframe><object data={ELSEWHERE}></object><embed src={ELSEWHERE}>",
    f"<video src={ELSEWHERE} autoplay></video><audio src={ELSEWHERE}></audio><source srcset={ELSEWHERE}>",
    f'<base href="{ELSEWHERE}"><body background="{ELSEWHERE}" onload=alert(1)>',
    '<a href="javascript:alert(1)">a</a><a href="&#106;ava&#10;script:alert(1)">b</a><a href="data:text/html,x">c</a>',
    f'<a ping="{ELSEWHERE}" target=_top href="https://example.org/">x</a>',
    f"<textarea><img src={ELSEWHERE}></textarea><xmp><img src={ELSEWHERE}></xmp><plaintext><img src={ELSEWHERE}>",
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src={ELSEWHERE}&gt;">',
    f'<img src="data:image/svg+xml,<svg><image href={ELSEWHERE} /></svg>">',
    f"<![CDATA[<img src={ELSEWHERE}>]]><?xml-stylesheet href={ELSEWHERE}?><!--><img src={ELSEWHERE}>-->",
]


@pytest.mark.parametrize("source", [*HOSTILE, "".join(HOSTILE)])
def test_hostile_html_runs_and_fetches_nothing(source):
    """No element is left that runs or fetches, no attribute that handles or leads elsewhere, but links."""
    reader, _ = read(source)
    own = {"html", "head", "meta", "base", "title"}
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "form", "input", "svg", "iframe", "object", "embed", "video"}
        assert not [name for name in attributes if name.startswith("on")]
        assert not {
            "srcset",
            "background",
            "action",
            "ping",
            "srcdoc",
            "target",
            "http-equiv",
        } & attributes.keys() - ({"target"} if tag == "base" else set())
        if tag not in own:
            assert attributes.get("src", "data:image/png").startswith("data:image/png")
            assert attributes.get("href", "https://").startswith(("https://", "http://", "mailto:", "tel:"))
        assert "url(" not in attributes.get("style", "")


HTML = st.lists(
    st.sampled_from([
        *"<>\"'=/ &;-!\0\\",
        "<a href=", "<img src=", "<style>", "</style>", "<table>", "<td>", "</td>", "<p", "<!--", "-->", "onload=x",
        "cid:a", "javascript:", "http://e", "data:image/png;base64,", "&#106;", "<svg", "<title>", "\u0301", "x", "url(",
    ]),
    max_size=60,
).map("".join)  # fmt: skip


@given(HTML | st.text())
def test_any_html_becomes_known_elements_only(source):
    """Whatever stands in the HTML, another parser than ours finds known elements and safe attributes only."""
    reader, _ = read(source)
    assert HEAD in build_frame(source, pictures={}).document
    for tag, attributes in reader.tags:
        assert tag not in {"script", "svg", "link", "form", "iframe", "object", "embed"}
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/")
        assert attributes.get("href", "http:").startswith(("http:", "https:"))
    assert [tag for tag, _ in reader.tags].count("body") == 1


def test_a_picture_of_the_mail_is_drawn():
    """A picture that HTML names by its Content-ID stands in the document; others are left out and counted."""
    source = f'<img src="cid:Logo@x" width=80><img src="cid:none"><img src={ELSEWHERE} alt="shop">'
    assert content_ids(source) == {"logo@x", "none"}
    reader, built = read(source, **{"logo@x": DATA})
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert pictures == [{"width": "80", "src": DATA}, {}, {"alt": "shop"}]
    assert built.remote == 1


def test_a_link_opens_a_tab_that_knows_nothing_of_us():
    """A link keeps its address, loses its target, and says neither opener nor referrer."""
    reader, _ = read('<a target="_self" href="HTTPS://example.org/a?b=1&amp;c=%22">x</a>')
    (link,) = [attributes for tag, attributes in reader.tags if tag == "a"]
    assert link == {"href": "HTTPS://example.org/a?b=1&c=%22", "rel": "noopener noreferrer"}


def test_the_look_of_a_mail_stays():
    """Tables, lists, colours and style sheets are as the sender made them."""
    source = (
        '<style>.a{color:red}</style><table bgcolor="#eee"><tr><td colspan=2>1<td>2<tr><td>3</table>'
        "<ul><li>a<li>b</ul><p>one<p>two<font color=red>x</font>"
    )
    document = build_frame(source, pictures={}).document
    assert document.endswith(
        '<style>.a{color:red}</style><table bgcolor="#eee"><tr><td colspan="2">1</td><td>2</td></tr>'
        "<tr><td>3</td></tr></table><ul><li>a</li><li>b</li></ul><p>one</p><p>two"
        '<font color="red">x</font></p></body></html>'
    )


@pytest.mark.parametrize(
    "source",
    ["<p>word " * 700_000, "<div>" * 500_000, "<b><i>" * 300_000, "W" * 5_000_000, "<a href='" * 400_000],
    ids=["paragraphs", "deep", "misnested", "word", "unclosed"],
)
def test_five_megabytes_become_a_bounded_document(source):
    """HTML of any size gives a document that a browser draws at once, and says that it is cut."""
    built = build_frame(source[:5_000_000], pictures={})
    assert built.cut
    assert len(built.document) < 1.5 * MOST_CHARACTERS
    depth = deepest = 0
    for piece in built.document.split("<")[1:]:
        depth += (
            -1 if piece.startswith("/") else not piece.startswith(("br", "hr", "img", "meta", "base", "!"))
        )
        deepest = max(deepest, depth)
    assert deepest < 170


def test_marks_are_limited():
    """A letter carries six marks at most, so that none reaches over the lines around it."""
    assert build_frame("e" + "\u0301" * 90_000 + "x", pictures={}).document.count("\u0301") == 6


def test_pictures_inside_html_count_by_themselves():
    """HTML with megabytes of pictures is shown to its end; a picture too large to be drawn is left out."""
    large = base64.b64encode(PNG + bytes(3_000_000)).decode()
    bomb = base64.b64encode(PNG[:16] + b"\0\0\xff\xff" * 2 + PNG[24:]).decode()
    source = (
        f'<img src="data:image/png;base64,{large}"><img src="data:image/jpeg;base64,{bomb}">'
        f'<img src="data:image/gif;base64,{base64.b64encode(b"<svg/>").decode()}"><p>the end'
    )
    built = build_frame(source, pictures={})
    assert not built.cut
    assert built.document.count("src=") == 1
    assert "the end</p>" in built.document
