"""The words of a mail that has none of its own."""

from __future__ import annotations

import pytest
from factory import make_config, make_context, make_message, make_part, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.fit import fit
from relay.contact.html_text import make_text
from relay.contact.promotion import promote

_TEXT = {"name": None, "content_type": "text/plain", "disposition": "inline"}


def plan(message, **connect):
    config = make_config(connect=connect or None)
    return fit(message, make_context(), make_route(config), config)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (make_part(b"words", **_TEXT), "words"),
        (make_part(b"words", name="a.txt", content_type="text/plain"), "words"),
        (make_part(b"words", name="a.txt", content_type="application/octet-stream"), "words"),
        (make_part(b"<p>words", name="a.htm", content_type="application/octet-stream"), "<p>words"),
        (make_part(b"<p>words", name=None, content_type="text/html"), "<p>words"),
        (make_part(b"<title/><p>words", name=None, content_type="text/html"), "<title/></title><p>words"),
        (make_part(b"{\\rtf1 words}", name="a.rtf", content_type="text/rtf"), "words"),
        (make_part(b"{\\rtf1 words}", name=None, content_type="application/rtf"), "words"),
        (make_part(b"<html>words", name=None, content_type="text/x-html"), "<html>words"),
        (
            make_part(
                b"name=Ann+L%C3%A9e&q=where+is+it%3F",
                name="POSTDATA.ATT",
                content_type="application/x-www-form-urlencoded",
            ),
            "name: Ann Lée\nq: where is it?\n",
        ),
        (make_part(b'{"words": 1}', name=None, content_type="application/json"), '{"words": 1}'),
        (make_part(b"<x>words</x>", name=None, content_type="text/enriched"), "words"),
        (make_part("Grüße".encode("latin-1"), name="a.txt", content_type="text/plain"), "Grüße"),
        (make_part(b"words", name=None, content_type="application/octet-stream"), "words"),
        (make_part(b"words", name="body.dat", content_type="application/x-unknown"), "words"),
        (make_part(b"words", name=None, content_type="message/partial"), "words"),
        (make_part(b"FN:Ann Lee", name="a.vcf", content_type="text/vcard"), "FN:Ann Lee"),
        (make_part(b"<a>words</a>", name="a.xml", content_type="application/xml"), "<a>words</a>"),
        (make_part(b"Status: 5.1.1", name=None, content_type="message/delivery-status"), "Status: 5.1.1"),
    ],
)
@pytest.mark.parametrize("own", [{}, {"text": " \n"}, {"text": "\u200b\u00a0"}, {"html": "<p>&nbsp;</p>"}])
def test_no_mail_shows_as_empty_while_a_leaf_has_words(part, words, own):
    """The words of any text leaf stand in the body, whatever its disposition, name and place."""
    pdf = make_part(name="b.pdf")
    for attachments in ([part, pdf], [pdf, part]):
        made = plan(make_message(attachments=attachments, **own))
        assert words in made.body
        assert "body.from_file" in [change.code for change in made.adaptations]
        assert "b.pdf" in [file.name for file in made.files]


@pytest.mark.parametrize(
    ("octets", "name"),
    [(b"\x00\x01words", None), (b"a\x08", "a.bin"), (b"key", "a.pem"), (b" \r\n", None)],
)
def test_octets_that_are_no_text_are_no_words(octets, name):
    """A leaf without a type is shown only where all of it can be read."""
    part = make_part(octets, name=name, content_type="application/octet-stream")
    assert plan(make_message(attachments=[part])).body.startswith("(no text)")


@pytest.mark.parametrize("kind", ["text/csv", "application/pdf", "image/png", "application/zip"])
def test_files_by_their_kind_are_no_words(kind):
    """A table, a document and a picture stay files, and the body says that there is no text."""
    assert plan(make_message(attachments=[make_part(b"a;b", content_type=kind)])).body.startswith("(no text)")


def test_own_words_are_never_replaced():
    """A file is a file where the mail has words of its own."""
    part = make_part(b"of the file", name="a.txt", content_type="text/plain")
    message = make_message(text="own", attachments=[part])
    assert promote(message).message == message
    assert plan(message).body == "own"


def test_inline_text_goes_before_a_file_and_all_of_it():
    """Disposition decides between candidates: the inline texts are joined, the file stays a file."""
    inline = [make_part(word, **{**_TEXT, "name": f"{word.decode()}.txt"}) for word in (b"one", b"two")]
    file = make_part(b"file", name="a.txt", content_type="text/plain")
    made = plan(make_message(attachments=[file, *inline]))
    assert made.body == "one\n\ntwo\n"
    assert "a.txt" in [one.name for one in made.files if one.attached]


def test_a_file_that_the_instance_takes_stays_a_file():
    """Text that stands in the body goes as a file, too, if it has a name; HTML is not told as lost."""
    text = plan(make_message(attachments=[make_part(b"words", name="a.txt", content_type="text/plain")]))
    page = plan(make_message(attachments=[make_part(b"<p>words", name="a.html", content_type="text/html")]))
    assert [file.name for file in text.files if file.attached] == ["a.txt"]
    assert (page.files, "Not attached" in page.body) == ((), False)


def test_html_that_may_not_go_goes_as_text_beside_it():
    """A page is rendered where the instance does not take HTML, and goes whole where it does."""
    page = make_part(b"<h1>Offer</h1><p>9 EUR", name="page.html", content_type="text/html")
    message = make_message(text="see", attachments=[page])
    rendered = plan(message)
    assert [file.name for file in rendered.files if file.attached] == ["page.txt"]
    assert b"".join(rendered.files[0].chunks()) == b"Offer\n\n9 EUR\n"
    whole = plan(message, allowed_extensions=("html", "txt"))
    assert [file.name for file in whole.files] == ["page.html"]


@given(
    st.binary(max_size=60), st.sampled_from(["text/plain", "text/html", "text/rtf", "text/enriched", "x/y"])
)
def test_any_leaf_is_read_without_an_error(octets, kind):
    """Whatever a leaf holds, the mail becomes a contact with a body."""
    assert plan(make_message(attachments=[make_part(octets, name="a.rtf", content_type=kind)])).body


def test_text_that_is_one_encrypted_block_is_told():
    """A block of PGP that is the whole text is told to be encrypted; words beside it are words."""
    block = "-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----\n"
    made = plan(make_message(text=block))
    assert made.body.startswith("This mail is encrypted.")
    assert block.strip() in made.body
    assert [change.code for change in made.adaptations] == ["body.encrypted"]
    assert plan(make_message(text=f"Hello\n{block}")).adaptations == ()


@pytest.mark.parametrize(
    ("html", "code"),
    [
        ("<html><body><template><p>words</p></template></body></html>", "body.revealed"),
        ("<TEMPLATE id=a><template>words</template></TEMPLATE >", "body.revealed"),
        ("<!--[if mso]><p>words</p><![endif]-->", "body.revealed"),
        (
            "<p>&nbsp;</p><!--[if gte mso 9]><xml><o:a>96</o:a></xml><![endif]--><!--[if (mso)|(IE)]>words<![endif]-->",
            "body.revealed",
        ),
        ("<!--[if mso]>words", "body.revealed"),
        ("<!--[if mso]><!-->\n<div>words</div>\n<!--<![endif]-->", None),  # which every browser shows
    ],
)
def test_words_for_one_program_are_shown_where_there_are_no_others(html, code):
    """A template, or a comment for Outlook, is taken out where it has all words of the HTML, be it the body
    or the only file.
    """
    page = make_part(html.encode(), name="a.htm", content_type="text/html")
    made, attached = plan(make_message(html=html)), plan(make_message(attachments=[page]))
    assert make_text(made.body).strip() == make_text(attached.body).strip() == "words"
    assert [change.code for change in made.adaptations] == ([code] if code else [])
    assert "body.from_file" in [change.code for change in attached.adaptations]


@pytest.mark.parametrize(
    "html",
    [
        "<p>Hello</p><!--[if mso]>words<![endif]-->",
        "<p>Hello</p><template>words</template>",
        "<!--[if gte mso 9]><xml><o:PixelsPerInch>96</o:PixelsPerInch></xml><![endif]-->",
        "<!--[if mso]><style>p { color: red }</style><![endif]-->",
    ],
)
def test_words_for_one_program_stay_where_there_are_others(html):
    """HTML that shows anything goes as it is, and settings of Outlook are no words."""
    made = plan(make_message(html=html))
    assert "body.revealed" not in [change.code for change in made.adaptations]
    assert "96" not in made.body
