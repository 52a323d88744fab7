"""Everything in a mail that could become a file."""

from __future__ import annotations

from dataclasses import replace

from factory import make_message, make_part

from relay.contact.candidates import Role, collect_bodies, collect_candidates, default_name, is_picture
from relay.message.model import Defect


def nested():
    deepest = make_message(subject="Deepest", text="z", attachments=[make_part(b"3", name="c.pdf")])
    inner = make_message(
        subject="Re: in/ner",
        text="the words",
        attachments=[
            make_part(b"2", name="b.pdf"),
            make_part(b"raw", name=None, content_type="message/rfc822"),
        ],
        embedded=[(1, deepest)],
    )
    return make_message(
        text="outer",
        attachments=[
            make_part(b"eml", name=None, content_type="message/rfc822"),
            make_part(b"1", name="a.pdf"),
        ],
        embedded=[(0, inner)],
    )


def test_walk_numbers_everything_once():
    """An attached message is followed by its text, then by what is lifted out of it, at any depth."""
    found = collect_candidates(nested())
    assert [(one.number, one.role, one.name, one.parent) for one in found] == [
        (1, Role.MESSAGE, "Re: in_ner.eml", None),
        (2, Role.RENDERED, "Re: in_ner.txt", 1),
        (3, Role.LIFTED, "b.pdf", 1),
        (4, Role.MESSAGE, "Deepest.eml", 1),
        (5, Role.RENDERED, "Deepest.txt", 4),
        (6, Role.LIFTED, "c.pdf", 4),
        (7, Role.ATTACHMENT, "a.pdf", None),
    ]


def test_rendered_message_holds_what_a_reader_wants():
    """Headers, text and the names of the attachments."""
    rendered = collect_candidates(nested())[1]
    text = b"".join(rendered.chunks()).decode()
    assert text.startswith(
        "From: Jane Doe <jane@customer.example>\nTo: support@example.com\nSubject: Re: in/ner\n"
    )
    assert "\nthe words\n" in text
    assert "- b.pdf (1 bytes)" in text
    assert rendered.size == len(text.encode())


def test_body_files_have_numbers_of_their_own():
    """The number of a body's file does not depend on which bodies are kept."""
    message = make_message(text="täxt", html="<p>")
    (html,) = collect_bodies(message, (Role.HTML,), count=4, most_bytes=1_000_000)
    text, other = collect_bodies(message, (Role.TEXT, Role.HTML), count=4, most_bytes=1_000_000)
    assert (text.number, html.number, other.number) == (5, 6, 6)
    assert b"".join(text.chunks()) == "täxt".encode()
    assert (html.name, html.content_type) == ("message.html", "text/html")


def test_body_that_the_parser_cut_is_kept_as_it_came():
    """Where the decoded text is not all there is, the part itself becomes the file."""
    message = replace(make_message(text="cut"), defects=(Defect.BODY_TOO_LONG,))
    (file,) = collect_bodies(message, (Role.TEXT,), count=0, most_bytes=1_000_000)
    assert (file.number, file.sha256) == (3, message.bodies[0].sha256)
    assert collect_bodies(message, (), count=0, most_bytes=1_000_000) == ()


def test_default_names():
    """A nameless part is called after its kind."""
    names = [
        default_name(
            collect_candidates(make_message(attachments=[make_part(name=None, content_type=kind)]))[0]
        )
        for kind in (
            "application/pdf",
            "image/png",
            "application/x-unknown",
            "message/delivery-status",
            "text/calendar",
        )
    ]
    assert names == ["attachment.pdf", "image.png", "attachment.bin", "delivery-status.txt", "invite.ics"]


def test_pictures_are_known_by_content_declaration_or_name():
    """A picture is one whatever its declaration says."""
    parts = [
        make_part(name="x", content_type="image/png"),
        make_part(name="x", content_type="application/octet-stream", detected_type="image/jpeg"),
        make_part(name="x.JPG", content_type="application/octet-stream"),
        make_part(name="x.pdf"),
    ]
    found = collect_candidates(make_message(attachments=parts))
    assert [is_picture(one) for one in found] == [True, True, True, False]
