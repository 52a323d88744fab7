"""Attachments within their limits."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from factory import FOLDER, make_config, make_hollow, make_message, make_part

from relay.contact.candidates import collect_candidates
from relay.contact.files import Choice, choose_files
from relay.contact.inline import image_type
from relay.message.parse import parse_message
from relay.vocabulary import Rung

MIB = 1_048_576
#: A program for Windows, as far as its first octets go.
PROGRAM = b"MZ\x90\0".ljust(60, b"\0") + b"\x40\0\0\0PE\0\0" + bytes(64)


def build(octets, name):
    """A mail whose one attachment this is."""
    head = (
        b'Content-Type: application/octet-stream; name="%b"\r\nContent-Disposition: attachment\r\n'
        % name.encode()
    )
    return head + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(octets)


def choose(message, *, rung=Rung.FULL, refused=(), inlined=(), shown=(), room=25 * MIB, **connect):
    choice = Choice(
        config=make_config(connect=connect),
        folder=FOLDER,
        rung=rung,
        refused=frozenset(refused),
        inlined=frozenset(inlined),
        shown=frozenset(shown),
        room=room,
    )
    files = choose_files(collect_candidates(message), choice)
    left = {file.name: str(code) for file, code in files.left}
    return [file.name for file in files.attached], left, [str(change.code) for change in files.changes]


def mail(*parts, **more):
    return make_message(attachments=parts, **more)


def test_ordinary_files_go_as_they_are():
    """Allowed files are attached in their order, under keys that are numbers."""
    message = mail(make_part(name="b.pdf"), make_part(name="a.docx"))
    assert choose(message) == (["b.pdf", "a.docx"], {}, [])
    choice = Choice(
        config=make_config(), folder=FOLDER, rung=Rung.FULL, refused=frozenset(), inlined=frozenset(), shown=frozenset(), room=99
    )  # fmt: skip
    files = choose_files(collect_candidates(message), choice)
    assert [file.key for file in files.attached] == [f"{FOLDER}1", f"{FOLDER}2"]
    assert b"".join(files.attached[0].chunks()) == b"content"


def test_reasons_to_store():
    """Type, size and emptiness each have their code."""
    message = mail(
        make_part(name="x.zip", content_type="application/zip"),
        make_hollow(20 * MIB + 1, name="large.pdf"),
        make_part(b"", name="void.pdf"),
        make_hollow(20 * MIB, name="fits.pdf"),
    )
    assert choose(message) == (
        ["fits.pdf"],
        {
            "x.zip": "attachment.type_not_allowed",
            "large.pdf": "attachment.too_large",
            "void.pdf": "attachment.empty",
        },
        ["attachment.type_not_allowed", "attachment.too_large", "attachment.empty"],
    )


@pytest.mark.parametrize(
    "first", [PROGRAM, b"\x7fELF\2\1\1", b"\xcf\xfa\xed\xfe\7", b"#!/bin/sh\n", b"L\0\0\0\1\x14\2\0"]
)
@pytest.mark.parametrize(
    "name", ["invoice.pdf", "Letter.DOCX", "photo.exe.jpg", "data.csv", "x.zip", "note.txt"]
)
def test_program_under_the_name_of_a_document_is_told(first, name):
    """Whatever a machine would execute is told when its name says something else, attached or only stored."""
    (part,) = parse_message(build(first, name)).attachments
    assert choose(mail(part))[2].count("file.content_contradicts_name") == 1


@pytest.mark.parametrize(
    ("first", "name"),
    [(PROGRAM, "setup.exe"), (PROGRAM, "lib.dll"), (PROGRAM, "setup"), (b"#!/bin/sh\n", "run.sh"), (b"%PDF-1.7\n", "a.pdf"), (b"#!AMR\n", "a.amr")],
)  # fmt: skip
def test_name_that_says_what_it_is_is_not_told(first, name):
    """A program under a program's name, and a document under a document's, contradict nothing."""
    (part,) = parse_message(build(first, name)).attachments
    assert "file.content_contradicts_name" not in choose(mail(part))[2]


def test_program_is_no_picture():
    """A program that calls itself a picture is not shown inline: it is a file, and told."""
    part = make_part(
        name="a.png", content_type="image/png", detected_type="application/x-elf", content_id="x"
    )
    message = make_message(html='<img src="cid:x">', attachments=[part])
    assert image_type(part) is None
    assert "image.inlined" not in choose(message)[2]


def test_instance_decides_the_types():
    """The configured list of extensions holds, not ours."""
    message = mail(make_part(name="x.zip"), make_part(name="y.pdf"))
    assert choose(message, allowed_extensions=("zip",))[0] == ["x.zip"]


def test_invoice_is_never_displaced_by_a_logo():
    """When too many files come, the documents go and the pictures of the signature stay."""
    logos = [
        make_part(name=f"image{n:03}.png", content_type="image/png", disposition="inline")
        for n in range(1, 13)
    ]
    attached, left, _ = choose(mail(*logos, make_part(name="invoice.pdf")))
    assert "invoice.pdf" in attached
    assert len(attached) == 10
    assert set(left.values()) == {"attachments.too_many"}
    assert attached == sorted(attached)  # the order of the mail is kept


def test_sum_is_shared_with_the_body():
    """What the body leaves of 25 MB is all that files have."""
    message = mail(make_hollow(15 * MIB, name="a.pdf"), make_hollow(10 * MIB, name="b.pdf"))
    assert choose(message)[0] == ["a.pdf", "b.pdf"]
    assert choose(message, room=25 * MIB - 1)[1] == {"b.pdf": "attachments.too_large"}


def test_smaller_file_goes_where_a_larger_did_not():
    """A file that finds no room does not keep those behind it out."""
    message = mail(
        make_hollow(15 * MIB, name="a.pdf"), make_hollow(15 * MIB, name="b.pdf"), make_part(name="c.pdf")
    )
    assert choose(message)[0] == ["a.pdf", "c.pdf"]


def test_fifty_where_configured():
    """AWS raised the number of attachments; the configuration says what holds in this Region."""
    message = mail(*(make_part(name=f"{n}.pdf") for n in range(60)))
    assert len(choose(message)[0]) == 10
    assert len(choose(message, max_attachments=50)[0]) == 50
    assert choose(message, max_attachments=0)[0] == []


def test_refused_files_are_left_at_the_second_rung():
    """By name or key; a refusal that names none of ours leaves all, since the next request must differ."""
    message = mail(make_part(name="a.pdf"), make_part(name="b.pdf"))
    assert choose(message, rung=Rung.TRIMMED, refused=["a.pdf"])[0] == ["b.pdf"]
    assert choose(message, rung=Rung.TRIMMED, refused=[f"{FOLDER}2"])[0] == ["a.pdf"]
    assert choose(message, rung=Rung.TRIMMED)[0] == []
    assert choose(message, rung=Rung.TRIMMED, refused=["of another mail"])[0] == []
    assert choose(message, rung=Rung.TEXT)[1] == {
        "a.pdf": "attachment.refused",
        "b.pdf": "attachment.refused",
    }
    assert choose(message, refused=["a.pdf"])[0] == ["a.pdf", "b.pdf"]


def test_names_are_fitted_and_unique():
    """Equal names differ in the end, and each change is recorded with both."""
    message = mail(
        make_part(name="a.pdf"), make_part(name="a.pdf"), make_part(name=None), make_part(name="\u202e.pdf")
    )
    attached, _, codes = choose(message)
    assert attached == ["a.pdf", "a-2.pdf", "attachment.pdf", "attachment-2.pdf"]
    assert codes == ["attachment.renamed", "attachment.named", "attachment.renamed"]


def test_names_do_not_depend_on_what_is_inlined():
    """A file keeps its name from rung to rung, so that a refusal can be matched."""
    message = mail(
        make_part(name="a.png", content_type="image/png"), make_part(name="a.png", content_type="image/png")
    )
    assert choose(message, inlined=[1])[0] == ["a-2.png"]
    assert choose(message)[0] == ["a.png", "a-2.png"]


def test_attached_message_is_shown_as_text():
    """The .eml is stored, its text and its own files are attached."""
    inner = make_message(subject="Inner", text="words", attachments=[make_part(name="deep.pdf")])
    message = mail(make_part(name=None, content_type="message/rfc822"), embedded=[(0, inner)])
    attached, left, codes = choose(message)
    assert attached == ["Inner.txt", "deep.pdf"]
    assert left == {"Inner.eml": "attachment.rendered"}
    assert codes == ["attachment.named", "attachment.rendered"]


def test_attached_message_goes_whole_where_the_instance_takes_it():
    """With "eml" allowed there is nothing to lift."""
    inner = make_message(subject="Inner", text="words", attachments=[make_part(name="deep.pdf")])
    message = mail(make_part(name=None, content_type="message/rfc822"), embedded=[(0, inner)])
    assert choose(message, allowed_extensions=("eml", "pdf", "txt"))[:2] == (["Inner.eml"], {})


def test_message_under_a_foreign_name_is_still_a_message():
    """Outlook names a forwarded mail after what is in it: "Contract.docx" would not open."""
    part = make_part(name="Contract.docx", content_type="message/rfc822")
    attached, left, _ = choose(mail(part, embedded=[(0, make_message(subject="Contract", text="x"))]))
    assert attached == ["Contract.txt"]
    assert left == {"Contract.docx.eml": "attachment.rendered"}


def test_malformed_type_is_not_passed_to_s3():
    """A content type that is no token pair is stored as octets."""
    message = mail(make_part(name="a.pdf", content_type="päd/x y"))
    choice = Choice(
        config=make_config(), folder=FOLDER, rung=Rung.FULL, refused=frozenset(), inlined=frozenset(), shown=frozenset(), room=99
    )  # fmt: skip
    assert (
        choose_files(collect_candidates(message), choice).attached[0].content_type
        == "application/octet-stream"
    )


def test_unspecific_refusal_of_more_than_ten_leaves_the_best_ten():
    """Where more than ten were sent, the Region may take no more than ten; the rung after that sends none."""
    message = mail(*(make_part(name=f"{n}.pdf") for n in range(30)))
    assert len(choose(message, rung=Rung.TRIMMED, max_attachments=50)[0]) == 10
    assert len(choose(message, rung=Rung.TRIMMED, max_attachments=50, refused=["3.pdf"])[0]) == 29
    assert choose(message, rung=Rung.TRIMMED)[0] == []


def test_opened_container_is_stored_and_its_content_attached():
    """The files of a winmail.dat go in its place, whatever the instance thinks of ".dat"."""
    outer = make_part(name="winmail.dat", content_type="application/ms-tnef")
    message = mail(outer)
    inner = make_part(name="offer.pdf", path=(1, 0, 1), origin="tnef")
    message = replace(message, parts=(*message.parts, inner), attachments=(*message.attachments, inner))
    expected = (["offer.pdf"], {"winmail.dat": "attachment.unpacked"}, ["attachment.unpacked"])
    assert choose(message) == expected
    assert choose(message, allowed_extensions=("dat", "pdf")) == expected
    assert choose(mail(outer), allowed_extensions=("dat",))[0] == ["winmail.dat"]
