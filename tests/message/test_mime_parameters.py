"""Content-Type, Content-Disposition and their parameters."""

from __future__ import annotations

import time

import pytest

from relay.message.parameters import parse_content_disposition, parse_content_type


@pytest.mark.parametrize(
    ("text", "word", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("Text/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (
            'text/plain; charset="utf-8"; name="a;b.txt"',
            "text/plain",
            {"charset": "utf-8", "name": "a;b.txt"},
        ),
        ("text/plain;; charset = utf-8 ;", "text/plain", {"charset": "utf-8"}),
        ("text/plain charset=utf-8", "text/plain", {"charset": "utf-8"}),
        ("text/plain; charset=utf-8 format=flowed", "text/plain", {"charset": "utf-8", "format": "flowed"}),
        ("text/plain; (a comment) charset=utf-8 (more)", "text/plain", {"charset": "utf-8"}),
        ("application/pdf; name=my file.pdf", "application/pdf", {"name": "my file.pdf"}),
        ('application/pdf; name="never closed', "application/pdf", {"name": "never closed"}),
        ('application/pdf; name="a\\"b\\\\c"', "application/pdf", {"name": 'a"b\\c'}),
        ('application/pdf; name="C:\\dir\\a.pdf"', "application/pdf", {"name": "C:\\dir\\a.pdf"}),
        ("a/b; name==?utf-8?q?=C3=A9?=.pdf", "a/b", {"name": "é.pdf"}),
        ("a/b; name*=utf-8''%C3%A9.pdf; name=e.pdf", "a/b", {"name": "é.pdf"}),
        ("a/b; name*1=b.pdf; name*0*=iso-8859-1'de'%E9", "a/b", {"name": "éb.pdf"}),
        ("a/b; name*0=x; name*1*=%41; name*2=y", "a/b", {"name": "xAy"}),
        ("a/b; name*=%C3%A9", "a/b", {"name": "é"}),
        ("a/b; name=one; name=two", "a/b", {"name": "one"}),
        ("a/b; name='my; file.pdf'; x=1", "a/b", {"name": "my; file.pdf", "x": "1"}),
        ("a/b; name='n' or 'm'.pdf", "a/b", {"name": "'n' or 'm'.pdf"}),
        ("multipart/mixed; boundary='x'", "multipart/mixed", {"boundary": "'x'"}),
        ('a/b; name="M%C3%A4rz%202025.pdf"', "a/b", {"name": "M\u00e4rz 2025.pdf"}),
        ("a/b; name=%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf", "a/b", {"name": "\u8acb\u6c42\u66f8.pdf"}),
        ('a/b; name="%90%BF%8B%81%8F%91.pdf"', "a/b", {"name": "\u8acb\u6c42\u66f8.pdf"}),
        ("a/b; name=100%25.pdf", "a/b", {"name": "100%25.pdf"}),
        ('a/b; name="50% off %20.pdf"', "a/b", {"name": "50% off %20.pdf"}),
        ("a/b; name=%2E%2E%2Fx%20y", "a/b", {"name": "%2E%2E%2Fx%20y"}),
        ("a/b; name=a%0D%0Ab%20c", "a/b", {"name": "a%0D%0Ab%20c"}),
        ("a/b; name=%E4%20.pdf", "a/b", {"name": "%E4%20.pdf"}),
        ("text", "text/plain", {}),
        ("multipart; boundary=x", "multipart/mixed", {"boundary": "x"}),
        ("nonsense", "", {}),
        ("", "", {}),
        ("; charset=utf-8", "", {"charset": "utf-8"}),
    ],
)
def test_content_types_are_read_as_meant(text, word, parameters):
    """Well written or not, the type and its parameters come out."""
    read = parse_content_type(text)
    assert (read.word, read.parameters) == (word, parameters)


@pytest.mark.parametrize(
    ("text", "word", "name"),
    [
        ("inline", "inline", None),
        ("ATTACHMENT; filename=a.pdf", "attachment", "a.pdf"),
        ('form-data; name="f"; filename="a.pdf"', "attachment", "a.pdf"),
        ('attachment filename="a.pdf"', "attachment", "a.pdf"),
        ("attachment filename=a.pdf; size=3", "attachment", "a.pdf"),
        ("attachment, filename=a.pdf", "attachment", "a.pdf"),
        ("attachment: filename=a.pdf", "attachment", "a.pdf"),
        ('"attachment"; filename=a.pdf', "attachment", "a.pdf"),
        ('form-data; name="f"', "", None),
        ("filename=a.pdf", "", None),
        ("", "", None),
    ],
)
def test_unknown_dispositions_are_attachments(text, word, name):
    """RFC 2183 §2.8; a field of parameters only says nothing."""
    read = parse_content_disposition(text)
    assert (read.word, read.parameters.get("filename") if word else None) == (word, name)


@pytest.mark.parametrize("piece", [";", "(", '"', "a=x ", ";n*1=a", "\\", " ", ";a=", "=", "a=(b)"])
def test_hostile_parameters_are_read_in_linear_time(piece):
    """A hundred thousand of any mark take no second."""
    begun = time.thread_time()
    parse_content_type("text/plain;" + piece * 100_000)
    assert time.thread_time() - begun < 5
