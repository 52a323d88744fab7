"""Files that are not what their names say."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from factory import make_message, make_part
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.risk.archives import is_rar_protected, is_seven_zip_protected, read_zip
from relay.contact.risk.files import find_file_risks
from relay.message.sniff import detect_type

PROGRAM = b"MZ" + b"\0" * 58 + b"\x40\0\0\0PE\0\0"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504


def make_zip(*names, sealed=False):
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    found = bytearray(octets.getvalue())
    if sealed:  # APPNOTE §4.4.4: bit 0 of the flags, in both headers of the last file
        found[found.rindex(b"PK\x03\x04") + 6] |= 1
        found[found.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(found)


def make_number(number):
    octets = b""
    while number > 127:
        octets += bytes([number & 127 | 128])
        number >>= 7
    return octets + bytes([number])


def make_rar_five(*blocks):
    return b"Rar!\x1a\x07\x01\x00" + b"".join(b"\0\0\0\0" + make_number(len(each)) + each for each in blocks)


def make_seven_zip(header):
    return (
        b"7z\xbc\xaf\x27\x1c\0\4\0\0\0\0" + (3).to_bytes(8, "little") + len(header).to_bytes(8, "little")
        + b"\0\0\0\0xyz" + header
    )  # fmt: skip


def judge(octets, name, **more):
    part = make_part(octets, name=name, detected_type=detect_type(octets), **more)
    return [(risk.code, risk.detail) for risk in find_file_risks(make_message(attachments=[part]))]


@pytest.mark.parametrize(
    ("octets", "name", "detail"),
    [
        (PROGRAM, "invoice.pdf", "invoice.pdf is application/vnd.microsoft.portable-executable"),
        (PROGRAM, None, "a file without a name is application/vnd.microsoft.portable-executable"),
        (b"\x7fELF\1\1", "photo.jpg", "photo.jpg is application/x-elf"),
        (b"#!/bin/sh\n", "letter.txt", "letter.txt is text/x-script"),
        (PROGRAM, "invoice.pdf.exe", "invoice.pdf.exe ends in .exe"),
        (b"x", "invoice.pdf.js", "invoice.pdf.js ends in .js"),
        (b"x", "invoice.pdf   .scr", '"invoice.pdf   .scr" ends in .scr'),
        (b"x", "invoice         .exe", '"invoice         .exe" ends in .exe'),
        (b"x", "invoice\u202efdp.exe", '"invoice?fdp.exe" ends in .exe'),
        (make_zip("read.me", "run.exe"), "invoice.zip", "invoice.zip holds run.exe"),
        (make_zip("a/b/invoice.pdf.lnk"), "invoice.zip", "invoice.zip holds a/b/invoice.pdf.lnk"),
    ],
)
def test_program_behind_a_harmless_name(octets, name, detail):
    """A program is told by its content, its two extensions, its turned name, or its place in an archive."""
    assert judge(octets, name) == [("file.executable", detail)]


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (PROGRAM, "setup.exe"),
        (b"#!/bin/sh\n", "run.sh"),
        (b"%PDF-1.7", "invoice.pdf"),
        (b"x", "invoice.2024.pdf"),
        (b"x", "Jane Doe.docx"),
        (make_zip("main.js", "lib.dll"), "source.zip"),
        (make_zip("word/document.xml"), "letter.docx"),
        (b"PK\x03\x04", "broken.zip"),
        (b"", "empty.zip"),
    ],
)
def test_honest_files(octets, name):
    """A program that is called one, and what is none, are not told."""
    assert judge(octets, name) == []


@pytest.mark.parametrize(
    ("octets", "name", "told"),
    [
        (make_zip("word/document.xml", "word/vbaProject.bin"), "letter.docx", True),
        (make_zip("word/document.xml", "word/vbaProject.bin"), "letter.docm", False),
        (OLE + "_VBA_PROJECT".encode("utf-16-le"), "letter.doc", True),
        (OLE + "WordDocument".encode("utf-16-le"), "letter.doc", False),
        (make_zip("mimetype", "Basic/Standard/Module1.xml"), "letter.odt", True),
    ],
)
def test_macros(octets, name, told):
    """A document with macros is told where its name does not say so."""
    assert judge(octets, name) == ([("file.macro", name)] if told else [])


def test_macros_across_chunks():
    """The name of the macros' stream is found though a chunk ends in it."""
    octets = OLE + "_VBA_PROJECT".encode("utf-16-le")
    for cut in range(8, len(octets)):
        part = make_part(octets, name="a.doc")
        part = replace(part, chunks=lambda cut=cut: iter((octets[:cut], octets[cut:])))
        assert [risk.code for risk in find_file_risks(make_message(attachments=[part]))] == ["file.macro"]


RAR_FILE = b"\x02\x03\x04\x00" + b"name"


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (make_zip("a.txt", sealed=True), "a.zip"),
        (make_zip("a.txt", "b.txt", sealed=True), "a.zip"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "a.docx"),
        (make_seven_zip(b"\x01\x04\x06\x00\x01\x09\x24\x06\xf1\x07\x01"), "a.7z"),
        (make_rar_five(b"\x04\x00\x00\x00\x0f"), "a.rar"),
        (make_rar_five(b"\x01\x00\x00", b"\x02\x01\x04\x00\x00xx\x03\x01\x00\x00"), "a.rar"),
        (b"Rar!\x1a\x07\x00" + b"\0\0\x73\x80\0\x0d\0" + b"\0" * 6, "a.rar"),
        (b"Rar!\x1a\x07\x00" + b"\0\0\x73\0\0\x0d\0" + b"\0" * 6 + b"\0\0\x74\4\0\x20\0\0\0\0\0", "a.rar"),
    ],
)
def test_password(octets, name):
    """An archive or a document that a password protects is told."""
    assert judge(octets, name) == [("file.password", name)]


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (make_zip("a.txt"), "a.zip"),
        (make_seven_zip(b"\x01\x04\x06\x00\x01\x09\x24\x03\x01\x01"), "a.7z"),
        (make_rar_five(b"\x01\x00\x00", RAR_FILE), "a.rar"),
        (b"Rar!\x1a\x07\x00" + b"\0\0\x73\0\0\x0d\0" + b"\0" * 6, "a.rar"),
    ],
)
def test_no_password(octets, name):
    """An archive without a password is not told."""
    assert judge(octets, name) == []


def test_files_of_attached_messages():
    """Files inside an attached message are judged, too."""
    inner = make_message(attachments=[make_part(PROGRAM, name="a.pdf", detected_type=detect_type(PROGRAM))])
    outer = make_message(
        attachments=[make_part(name="m.eml", content_type="message/rfc822")], embedded=[(0, inner)]
    )
    assert [risk.code for risk in find_file_risks(outer)] == ["file.executable"]


@given(st.sampled_from([b"PK\x03\x04", b"Rar!\x1a\x07\x01\x00", b"Rar!\x1a\x07\x00", b"7z\xbc\xaf\x27\x1c", OLE]),
       st.lists(st.binary(max_size=40) | st.sampled_from([b"PK\x01\x02", b"PK\x05\x06", b"\xff" * 20])))  # fmt: skip
def test_any_archive(start, pieces):
    """No octets raise."""
    octets = start + b"".join(pieces)
    for name in ("a.zip", "a.exe", None):
        for _, detail in judge(octets, name):
            assert detail.isprintable()
    read_zip(octets[:50], octets[10:], len(octets))
    is_rar_protected(octets)
    is_seven_zip_protected(octets, octets, len(octets))
