"""Whole mails made to cost or to break their readers: name -> octets, each under 1.2 MB, all made here.

`SHAPES` has one mail for each idea, made when it is called with the octets that its run shall have: `SMALL`
of them
give the suite, `GREAT` of them the mails of 25 MB, one for each reader. A daemon that is fed with them owes a
contact
for each.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable
from functools import partial

from message.mail_helpers import compressed_rtf, signed_data, tnef, tnef_property

Make = Callable[[int], bytes]

#: Octets of a shape's run; header, encoding and what stands around it come on top.
SMALL = 1_100_000
GREAT = 25 << 20
_HEAD = b"From: ann@author.example\r\nTo: support@example.com\r\nSubject: hostile\r\nMIME-Version: 1.0\r\n"


def run(unit: bytes, size: int) -> bytes:
    """A run of a unit, about so many octets long."""
    return unit * (size // len(unit))


def _field(name: bytes, before: bytes, unit: bytes, behind: bytes, size: int) -> bytes:
    others = b"".join(line for line in _HEAD.splitlines(keepends=True) if not line.startswith(name + b":"))
    folded = b"\r\n ".join(run(unit, 900) for _ in range(max(1, size // 900)))
    return others + name + b": " + before + folded + behind + b"\r\n\r\nwords\r\n"


def _unfolded(name: bytes, before: bytes, unit: bytes, behind: bytes, size: int) -> bytes:
    others = b"".join(line for line in _HEAD.splitlines(keepends=True) if not line.startswith(name + b":"))
    return others + name + b": " + before + run(unit, size) + behind + b"\r\n\r\nwords\r\n"


def _body(header: bytes, before: bytes, unit: bytes, behind: bytes, size: int) -> bytes:
    return _HEAD + header + b"\r\n\r\n" + before + run(unit, size) + behind + b"\r\n"


def _encoded(header: bytes, octets: bytes) -> bytes:
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return _HEAD + header + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body


def _parts(header: bytes, body: bytes, size: int, kind: bytes = b"mixed") -> bytes:
    part = b"--b\r\n" + header + b"\r\n\r\n" + body + b"\r\n"
    return (
        _HEAD + b"Content-Type: multipart/" + kind + b"; boundary=b\r\n\r\n" + run(part, size) + b"--b--\r\n"
    )


def _nested(entity: bytes, levels: int, size: int) -> bytes:
    return _HEAD + (entity * levels) + run(b"words and words\r\n", size)


def _multiparts_within(levels: int, size: int, more: bytes = b"") -> bytes:
    octets = b""
    for level in range(levels):
        name = b"b%d" % level
        octets += b"Content-Type: multipart/mixed; boundary=" + name + more + b"\r\n\r\n--" + name + b"\r\n"
    return _HEAD + octets + b"\r\n" + run(b"words\r\n", size)


def _base64_of_base64(levels: int, size: int) -> bytes:
    octets = b"Subject: inner\r\n\r\n" + run(b"words\r\n", int(size * 0.73**levels))
    for _ in range(levels):
        inner = base64.encodebytes(octets)
        octets = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + inner
    return _HEAD + octets


def _tnef_values(size: int) -> bytes:
    one = (
        struct.pack("<BII", 1, 0x00069003, 12) + struct.pack("<IHHI", 1, 0x1003, 0x3001, 0xFFFFFFFF) + b"\0\0"
    )
    return tnef() + run(one, int(size * 0.72))


def _tnef_attachments(size: int) -> bytes:
    one = struct.pack("<BIIH", 2, 0x00069002, 0, 0) + struct.pack("<BII", 2, 0x0006800F, 1) + b"x\0\0"
    return tnef() + run(one, int(size * 0.72))


def _tnef_within(levels: int, size: int) -> bytes:
    stream = tnef([("a.txt", run(b"x", int(size * 0.7)))])
    for _ in range(levels):
        stream = tnef(within=stream)
    return stream


def _tnef_text(identifier: int, kind: int, octets: bytes) -> bytes:
    return tnef(properties=[tnef_property(kind, identifier, octets)])


def _tnef_rtf(rtf: bytes) -> bytes:
    return _tnef_text(0x1009, 0x102, compressed_rtf(rtf))


def _repeated_rtf(size: int) -> bytes:
    """Compressed RTF whose every two octets are seventeen of `{}`."""
    octets = b"\0{}{}{}{}" + run(b"\xff" + b"\x0c\xff" * 8, int(size * 0.72))
    return _tnef_text(0x1009, 0x102, struct.pack("<II4sI", len(octets) + 12, 0x7FFFFFFF, b"LZFu", 0) + octets)


def _quoted_tnef(size: int) -> bytes:
    files = [(f"{number}.txt", run(b"x", size // 1_200)) for number in range(1_000)]
    lines = binascii.b2a_qp(tnef(files), istext=False)[: int(size * 0.97)]
    return (
        _HEAD
        + b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + lines
    )


def _indefinite(piece: bytes, size: int) -> bytes:
    begin = bytes.fromhex("308006092a864886f70d010702a08030800201013100308006092a864886f70d010701a0802480")
    return begin + run(piece, int(size * 0.72)) + b"\0" * 14


def _messages(size: int, header: bytes) -> bytes:
    part = b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + header + b"\r\n\r\nwords\r\n"
    return _HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + run(part, size) + b"--b--\r\n"


def _related(html: bytes, size: int, place: bytes = b"http://x.example/a/") -> bytes:
    head = (
        _HEAD
        + b"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Location: "
        + place
    )
    picture = b"\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <a>\r\nContent-Location: b.png\r\n\r\n\x89PNG\r\n\x1a\n\r\n--b--\r\n"
    return head + b"\r\n\r\n" + run(html, size) + picture


def _named(names: Callable[[int], bytes], count: int) -> bytes:
    parts = b"".join(
        b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="'
        + names(number)
        + b'"\r\n\r\n%PDF\r\n'
        for number in range(count)
    )
    return _HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"


def _words(charset: bytes, encoding: bytes, content: bytes) -> bytes:
    return b"=?" + charset + b"?" + encoding + b"?" + content + b"?= "


_HTML = b"Content-Type: text/html; charset=utf-8"
_TEXT = b"Content-Type: text/plain; charset="
_OUTLOOK = b"Content-Type: application/ms-tnef; name=winmail.dat"
_SIGNED = b"Content-Type: application/pkcs7-mime; smime-type=signed-data"

#: reader -> what is run: (field's name, before, unit, behind).
_FIELDS: dict[str, tuple[bytes, bytes, bytes, bytes]] = {
    "blanks in a quoted name": (b"From", b'"', b" ", b'x" a @b.example'),
    "tabs in a quoted name": (b"From", b'"', b"\t", b'x" a @b.example'),
    "blanks before the sender's at": (b"Sender", b'"', b" ", b'x" a @b.example'),
    "blanks in Reply-To": (b"Reply-To", b'"', b" ", b'x" a @b.example'),
    "blanks in Cc": (b"Cc", b'"', b" ", b'x" a . b @ c.example'),
    "a name without end": (b"From", b"", b"a", b" <>"),
    "quotes within brackets": (b"From", b"", b'<"\\"', b""),
    "quotes and commas within brackets": (b"To", b"", b'<,"\\"', b""),
    "open brackets": (b"From", b"", b"<", b""),
    "open quotes": (b"From", b"", b'"', b""),
    "backslashes": (b"From", b'"', b"\\", b""),
    "open comments": (b"From", b"", b"(", b""),
    "nested comments": (b"From", b"a@b.example ", b"(", b")"),
    "comments": (b"From", b"", b"(x)", b" a@b.example"),
    "colons": (b"To", b"", b":", b";"),
    "groups": (b"To", b"", b"a:b@c.d;", b""),
    "commas": (b"To", b"", b",", b""),
    "names and commas": (b"To", b"", b"a,", b""),
    "addresses": (b"To", b"", b"a@b.c,", b""),
    "addresses of ours": (b"Cc", b"", b"support@example.com,", b""),
    "addresses of our domain": (b"Cc", b"", b"a@example.com,", b""),
    "mailboxes in quotes": (b"To", b"", b'"a@b.c",', b""),
    "words in addresses": (b"To", b"", b"=?utf-8?q?a=40b.c?=,", b""),
    "ats": (b"From", b"", b"@", b""),
    "dots": (b"From", b"a@", b".", b""),
    "routes": (b"From", b"<", b"@a,", b":a@b.example>"),
    "openings of words": (b"Subject", b"", b"=?", b""),
    "words without end": (b"Subject", b"", b"=?utf-8?q?a", b""),
    "empty words": (b"Subject", b"", b"=?utf-8?b??= ", b""),
    "words of Japanese": (b"Subject", b"", _words(b"iso-2022-jp", b"q", b"=1B$B!="), b""),
    "words of an unknown charset": (b"Subject", b"", _words(b"uu_codec", b"b", b"eA=="), b""),
    "words of punycode": (b"Subject", b"", _words(b"punycode", b"q", b"9-999999999"), b""),
    "words of unicode escapes": (b"Subject", b"", _words(b"unicode_escape", b"q", b"=5CN{"), b""),
    "words of utf-7": (b"Subject", b"", _words(b"utf-7", b"q", b"+ADw-"), b""),
    "words of other charsets": (
        b"Subject",
        b"",
        _words(b"big5", b"b", b"/w==") + _words(b"hz", b"q", b"~{"),
        b"",
    ),
    "a word with question marks": (b"Subject", b"=?utf-8?q?", b"?=3F", b""),
    "accents": (b"Subject", b"", "\u0301\u0316".encode(), b""),
    "invalid octets": (b"Subject", b"", b"\xff", b""),
    "escapes of Japanese": (b"Subject", b"", b"\x1b$B!", b""),
    "separators": (b"Subject", b"", "\u2028".encode(), b"x"),
    "references": (b"References", b"", b"<a@b> ", b""),
    "open references": (b"References", b"", b"<", b""),
    "an endless identifier": (b"Message-ID", b"<", b"a", b">"),
    "blanks in an identifier": (b"Message-ID", b"<", b"a ", b">"),
    "answers": (b"In-Reply-To", b"", b"<>", b""),
    "a date of digits": (b"Date", b"", b"1", b""),
    "a date of blanks": (b"Date", b"1 Jan", b" ", b"2024"),
    "a date in Arabic digits": (b"Date", b"", "\u0663".encode(), b":00"),
    "parameters": (b"Content-Type", b"text/plain; ", b"a=b; ", b""),
    "forgotten semicolons": (b"Content-Type", b"text/plain; ", b"aa=b ", b""),
    "open quotes of parameters": (b"Content-Type", b"text/plain; ", b'a="\\', b""),
    "pieces of a parameter": (b"Content-Disposition", b"attachment; ", b"filename*9999*=%; ", b""),
    "comments of parameters": (b"Content-Disposition", b"attachment", b" (", b""),
    "a type of slashes": (b"Content-Type", b"text", b"/", b""),
    "a type of blanks": (b"Content-Type", b"text", b" ", b"/plain"),
    "an endless boundary": (b"Content-Type", b'multipart/mixed; boundary="', b"-", b'"'),
    "an endless charset": (b"Content-Type", b'text/plain; charset="', b"a", b'"'),
    "an endless encoding": (b"Content-Transfer-Encoding", b"", b"x-uu", b""),
    "an endless content id": (b"Content-ID", b"<", b"a ", b">"),
    "an endless location": (b"Content-Location", b"http://", b"a/", b""),
    "hops": (b"Received", b"", b" by x", b""),
    "an endless subject of a bounce": (b"Subject", b"", b"mail delivery ", b""),
    "an endless automatic reply": (b"Auto-Submitted", b"auto-", b"generated", b""),
    "an endless list": (b"List-Id", b"<", b".", b">"),
}

#: reader -> a body: (header, before, unit, behind).
_BODIES: dict[str, tuple[bytes, bytes, bytes, bytes]] = {
    "line feeds": (_TEXT + b"utf-8", b"", b"\n", b""),
    "carriage returns": (_TEXT + b"utf-8", b"", b"\r", b""),
    "doubled returns": (_TEXT + b"utf-8", b"", b"\r\r\r\n", b""),
    "NUL": (_TEXT + b"utf-8", b"", b"\0", b""),
    "blanks": (_TEXT + b"utf-8", b"", b" ", b""),
    "invalid utf-8": (_TEXT + b"utf-8", b"", b"\xff", b""),
    "surrogates in utf-8": (_TEXT + b"utf-8", b"", b"\xed\xa0\x80", b""),
    "surrogates in utf-16": (_TEXT + b"utf-16", b"\xff\xfe", b"\0\xd8", b""),
    "code points beyond Unicode": (_TEXT + b"utf-32", b"", b"\xff", b""),
    "escapes of iso-2022-jp": (_TEXT + b"iso-2022-jp", b"", b"\x1b$B", b""),
    "shifts of iso-2022-jp": (_TEXT + b"iso-2022-jp", b"", b"\x1b$B\x1b(B", b""),
    "lines of iso-2022-jp": (_TEXT + b"iso-2022-jp", b"\xff", b"\x1b$B!\n", b""),
    "supplements of iso-2022-jp": (_TEXT + b"iso-2022-jp", b"", b"\x1b$(D\xff", b""),
    "kana of iso-2022-jp": (_TEXT + b"iso-2022-jp", b"", b"\x1b(I\xff\n", b""),
    "undeclared iso-2022-jp": (b"X: y", b"\x1b$B", b"\x1b$B!\n", b"\xff"),
    "shifts of hz": (_TEXT + b"hz", b"", b"~{", b""),
    "shifts of iso-2022-kr": (_TEXT + b"iso-2022-kr", b"\x1b$)C", b"\x0e\x0f", b""),
    "holes of windows-1253": (_TEXT + b"windows-1253", b"", b"\xd2", b""),
    "holes of iso-8859-8": (_TEXT + b"iso-8859-8", b"", b"\xff", b""),
    "holes of gb18030": (_TEXT + b"gb18030", b"", b"\x81\x30\xff", b""),
    "holes of Shift_JIS": (_TEXT + b"shift_jis", b"", b"\x81\x20", b""),
    "a charset that is a program": (_TEXT + b"zlib_codec", b"", b"x\x9c", b""),
    "utf-7": (_TEXT + b"utf-7", b"", b"+ADw-", b""),
    "accents in text": (_TEXT + b"utf-8", b"a", "\u0301\u0316".encode(), b""),
    "invisible text": (_TEXT + b"utf-8", b"", "\u200b".encode(), b""),
    "astral text": (_TEXT + b"utf-8", b"", "\U0001f600".encode(), b""),
    "flowed breaks": (_TEXT + b"utf-8; format=flowed", b"", b" \n", b""),
    "flowed quotations": (_TEXT + b"utf-8; format=flowed; delsp=yes", b"", b">", b""),
    "flowed depths": (_TEXT + b"utf-8; format=flowed", b"", b"> \n>> \n", b""),
    "signature lines": (_TEXT + b"utf-8; format=flowed", b"", b"-- \n", b""),
    "enriched brackets": (b"Content-Type: text/enriched", b"", b"<", b""),
    "enriched tags": (b"Content-Type: text/enriched", b"", b"<a>", b""),
    "HTML of open tags": (_HTML, b"", b"<a ", b""),
    "HTML of quotes": (_HTML, b"", b"<a ='>' ", b'="'),
    "HTML of other quotes": (_HTML, b"", b'<a =">" ', b"='"),
    "HTML of unclosed quotes": (_HTML, b"", b"<b a='", b""),
    "HTML of brackets": (_HTML, b"", b"<", b""),
    "HTML of comments": (_HTML, b"", b"<!--", b""),
    "HTML of declarations": (_HTML, b"", b"<!", b""),
    "HTML of tags": (_HTML, b"", b"<b>", b"x"),
    "HTML of empty tags": (_HTML, b"", b"<p>", b""),
    "HTML of quotations": (_HTML, b"", b"<blockquote>", b"x"),
    "HTML of breaks": (_HTML, b"<blockquote>" * 10, b"<br>", b"x"),
    "HTML of lines in pre": (_HTML, b"<blockquote>" * 10 + b"<pre>x", b"\n", b""),
    "HTML of links": (_HTML, b"", b"<a href=http://x>y</a>", b""),
    "HTML of one attribute": (_HTML, b"<a ", b"a", b"=b>x</a>"),
    "HTML of attributes": (_HTML, b"<a ", b"a=b ", b">x</a>"),
    "HTML of half attributes": (_HTML, b"<img ", b"a='", b'">'),
    "HTML of references": (_HTML, b"", b"&#", b""),
    "HTML of digits": (_HTML, b"&#", b"9", b";"),
    "HTML of names": (_HTML, b"", b"&abcdefghijklmnopqrstuvwxyzabcdef", b""),
    "HTML of styles": (_HTML, b"", b"<style></style>", b""),
    "HTML of an endless style": (_HTML, b"<style>", b"</styl", b""),
    "HTML of text areas": (_HTML, b"", b"<textarea>", b""),
    "HTML of blanks": (_HTML, b"<p>", b" ", b"x</p>"),
    "HTML of nothing": (_HTML, b"", b"&nbsp;", b""),
    "HTML of metas": (b"Content-Type: text/html", b"", b"<meta charset=", b""),
    "HTML of a meta of blanks": (b"Content-Type: text/html", b"<meta charset=", b" ", b""),
    "HTML of bodies": (_HTML, b"", b"<body ", b""),
    "HTML of urls": (_HTML, b"", b"url(", b""),
    "begin lines": (_TEXT + b"utf-8", b"", b"begin 644 A\n", b""),
    "small uuencoded files": (_TEXT + b"utf-8", b"", b"begin 644 a\n#0V%T\n`\nend\n", b""),
    "an endless uuencoded file": (_TEXT + b"utf-8", b"begin 644 a\n#0V%T\n", b"!\n", b""),
    "a uuencoded part of empty lines": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode", b"begin 644 a\n", b"\n", b""),
    "a uuencoded part of short lines": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode", b"begin 644 a\n", b"!!\n", b"end"),
    "base64 of padded lines": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64", b"", b"eA==\r\n", b""),
    "base64 of padding": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64", b"eA", b"=", b"A"),
    "base64 of lone letters, a calendar": (b"Content-Type: text/calendar\r\nContent-Transfer-Encoding: base64", b"", b"A===", b""),
    "base64 of blocks of all lengths": (b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64", b"", b"AA==AAA=A===", b""),
    "base64 of padded text": (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", b"", b"eA==\r\n", b"e"),
    "base64 of junk": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64", b"QUJD", b"-_!", b"="),
    "base64 of single letters": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64", b"", b"A=", b""),
    "quoted-printable of marks": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable", b"", b"=", b""),
    "quoted-printable of blanks": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable", b"=", b" ", b"x"),
    "quoted-printable of marks and blanks": (b"Content-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable", b"", b"= ", b""),
    "quoted-printable of breaks": (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable", b"", b"=\r\n", b""),
    "boundaries": (b"Content-Type: multipart/mixed; boundary=b", b"", b"--b\r\n", b""),
    "closing boundaries": (b"Content-Type: multipart/mixed; boundary=b", b"--b\r\n", b"--b--\r\n", b""),
    "boundaries that are none": (b"Content-Type: multipart/mixed; boundary=b", b"--b\r\n\r\n", b"--bb\r\n", b""),
    "other boundaries": (b"Content-Type: multipart/mixed; boundary=b", b"--b--\r\n", b"--c\r\nContent-Type: a/b\r\n\r\nx\r\n", b""),
    "undeclared boundaries": (b"Content-Type: multipart/mixed", b"", b"--c\r\nContent-Type: a/b\r\n\r\nx\r\n", b""),
    "hyphens": (b"Content-Type: multipart/mixed; boundary=-", b"", b"-", b""),
    "lines of hyphens": (b"Content-Type: multipart/mixed", b"", b"\r\n--", b""),
    "a multipart of nothing": (b"Content-Type: multipart/alternative; boundary=b", b"", b"\r\n", b""),
    "a calendar of lines": (b"Content-Type: text/calendar", b"BEGIN:VEVENT\r\n", b"\n", b"SUMMARY:x"),
    "a calendar of folds": (b"Content-Type: text/calendar", b"BEGIN:VEVENT\r\nDESCRIPTION:", b"\r\n ", b"x"),
    "a calendar of quotes": (b"Content-Type: text/calendar", b"BEGIN:VEVENT\r\nDTSTART;TZID=", b'"', b":20240101T000000"),
    "a calendar of events": (b"Content-Type: text/calendar", b"", b"BEGIN:VEVENT\r\nSUMMARY:x\r\n", b""),
    "a calendar of escapes": (b"Content-Type: text/calendar", b"BEGIN:VEVENT\r\nDESCRIPTION:", b"\\n\\", b""),
    "a delivery report": (b"Content-Type: multipart/report; boundary=b", b"--b\r\nContent-Type: message/delivery-status\r\n\r\n", b"Status: 5\r\n\r\n", b""),
    "a card": (b"Content-Type: text/vcard", b"BEGIN:VCARD\r\n", b"N:;", b""),
}  # fmt: skip

_SPECIAL: dict[str, Callable[[int], bytes]] = {
    "no octets": lambda _: b"",
    "one line end": lambda _: b"\r\n",
    "nothing but blanks": lambda size: run(b" ", size),
    "nothing but line feeds": lambda size: run(b"\n", size),
    "nothing but returns": lambda size: run(b"\r", size),
    "nothing but colons": lambda size: run(b":", size),
    "nothing but NUL": lambda size: run(b"\0", size),
    "nothing but high octets": lambda size: run(b"\xff", size),
    "a header of empty fields": lambda size: run(b"A:\r\n", size),
    "a header of folds": lambda size: b"A: b\r\n" + run(b" \r\n", size),
    "a header of words": lambda size: b"A: b\r\n" + run(b"x\r\nFrom: y\r\n", size),
    "a header of lost folds": lambda size: b"A: b\r\n" + run(b"ab=c\r\n", size),
    "a header of long names": lambda size: run(b"a" * 300 + b"\r\n", size),
    "a header without line feeds": lambda size: run(b"A: b\r", size),
    "a header of From": lambda size: run(b"From: a@b.c\r\n", size),
    "a header of To with quotes": lambda size: run(b'To: "\r\n', size),
    "a mailbox file": lambda size: run(b"From x\r\n", size),
    "an encoded multipart": lambda size: _encoded(b"Content-Type: multipart/mixed; boundary=b", run(b"--b\r\n\r\nx\r\n", int(size * 0.7))),
    "empty parts": lambda size: _parts(b"X: y", b"", size),
    "parts of text": lambda size: _parts(b"Content-Type: text/plain", b"x", size),
    "parts of HTML": lambda size: _parts(b"Content-Type: text/html", b"<b>x", size),
    "parts of HTML tags": lambda size: _parts(b"Content-Type: text/html", b"<b>" * 10_000, size),
    "parts of text in strange charsets": lambda size: _parts(b"Content-Type: text/plain; charset=x", b"\xe9\xe8\xf6 " * 2_000, size),
    "parts of iso-2022-jp": lambda size: _parts(b"Content-Type: text/plain; charset=iso-2022-jp", b"\xff" + b"\x1b$B!\n" * 40_000, size),
    "parts of long types": lambda size: _parts(b'Content-Type: multipart/mixed; boundary="' + b"-" * 990 + b'"', b"x", size),
    "parts of long parameters": lambda size: _parts(b"Content-Type: text/plain; " + b"aa=b " * 3_000, b"x", size),
    "parts of parameters in quotes": lambda size: _parts(b'Content-Type: text/plain; a="' + b'\\"' * 8_000, b"x", size),
    "parts of long ids": lambda size: _parts(b"Content-ID: <" + b"a" * 16_000 + b">", b"x", size),
    "alternatives": lambda size: _parts(b"Content-Type: text/html", b"<p>x", size, b"alternative"),
    "pictures": lambda size: _parts(b"Content-Type: image/png; name=a.png", b"\x89PNG\r\n\x1a\n", size),
    "a digest": lambda size: _parts(b"", b"Subject: x\r\n\r\nx", size, b"digest"),
    "messages": lambda size: _messages(size, b"Subject: x"),
    "messages of addresses": lambda size: _messages(size, b"To: " + b"a@b.c," * 10_000),
    "messages of blanks": lambda size: _messages(size, b'From: "' + b" " * 60_000 + b'x" a @b.example'),
    "messages of HTML": lambda size: _messages(size, b"Content-Type: text/html\r\n\r\n" + b"<b>" * 20_000),
    "messages of dates": lambda size: _messages(size, b"Date: 31 Dec 9999 23:59:59 -2359"),
    "messages within messages": lambda size: _nested(b"Content-Type: message/rfc822\r\n\r\n", 200, size),
    "messages of base64 within": lambda size: _base64_of_base64(20, size),
    "multiparts within multiparts": lambda size: _multiparts_within(200, size),
    "multiparts within, quoted": lambda size: _multiparts_within(60, size, b"\r\nContent-Transfer-Encoding: quoted-printable"),
    "multiparts of one boundary": lambda size: _nested(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 200, size),
    "signed parts": lambda size: _parts(b"Content-Type: multipart/signed; boundary=c", b"--c\r\n\r\nx\r\n--c--", size),
    "related pictures by id": lambda size: _related(b"<img src=cid:a>", size),
    "related pictures by place": lambda size: _related(b"<img src=c.png>", size),
    "related pictures far away": lambda size: _related(b"<img src=../c>", size, b"http://x.example/" + b"a/" * 40_000),
    "related pictures of no place": lambda size: _related(b"<img src=//[>", size),
    "names alike": lambda size: _named(lambda _: b"a.pdf", 1_500 * size // SMALL),
    "long names alike": lambda size: _named(lambda number: b"a" * 248 + b"%04d.pdf" % (number // 2), 1_500 * size // SMALL),
    "names with numbers": lambda size: _named(lambda number: b"a-%d.pdf" % number if number < 700 else b"a.pdf", 1_500 * size // SMALL),
    "names of accents": lambda size: _named(lambda _: "\u0316\u0301".encode() * 250, 900 * size // SMALL),
    "names of blanks": lambda size: _named(lambda _: b" " * 700, 1_200 * size // SMALL),
    "names of dots": lambda size: _named(lambda _: b"." * 700, 1_200 * size // SMALL),
    "names of paths": lambda size: _named(lambda _: b"../" * 250, 1_200 * size // SMALL),
    "names of words": lambda size: _named(lambda _: b"=?utf-8?q?a?= " * 50, 1_200 * size // SMALL),
    "winmail.dat of counts": lambda size: _encoded(_OUTLOOK, _tnef_values(size)),
    "winmail.dat of files": lambda size: _encoded(_OUTLOOK, _tnef_attachments(size)),
    "winmail.dat of zeros": lambda size: _encoded(_OUTLOOK, tnef() + run(b"\0", int(size * 0.7))),
    "winmail.dat of ones": lambda size: _encoded(_OUTLOOK, tnef() + run(b"\x01", int(size * 0.7))),
    "winmail.dat within winmail.dat": lambda size: _encoded(_OUTLOOK, _tnef_within(12, size)),
    "winmail.dat of many values": lambda size: _encoded(
        _OUTLOOK, tnef(properties=[struct.pack("<HHI", 0x101E, 0x3001, 0xFFFFFFFF) + run(b"\0\0\0\0", int(size * 0.7))])
    ),
    "winmail.dat of a body of NUL": lambda size: _encoded(
        _OUTLOOK, tnef() + struct.pack("<BII", 1, 0x0002800C, int(size * 0.7)) + run(b"\0", int(size * 0.7))
    ),
    "winmail.dat of HTML": lambda size: _encoded(_OUTLOOK, _tnef_text(0x1013, 0x102, run(b"<a ='>' ", int(size * 0.7)) + b'="')),
    "winmail.dat of plain text": lambda size: _encoded(_OUTLOOK, _tnef_text(0x1000, 0x1F, run(b"\0\xd8", int(size * 0.7)))),
    "winmail.dat quoted-printable": _quoted_tnef,
    "RTF of braces": lambda size: _encoded(_OUTLOOK, _tnef_rtf(b"{\\rtf1 " + run(b"{}", int(size * 0.6)))),
    "RTF of open braces": lambda size: _encoded(_OUTLOOK, _tnef_rtf(b"{\\rtf1 " + run(b"{", int(size * 0.6)))),
    "RTF of letters": lambda size: _encoded(_OUTLOOK, _tnef_rtf(b"{\\rtf1 " + run(b"\\u55357?", int(size * 0.6)))),
    "RTF of hexadecimals": lambda size: _encoded(_OUTLOOK, _tnef_rtf(b"{\\rtf1\\ansicpg932 " + run(b"\\'81", int(size * 0.6)))),
    "RTF of HTML": lambda size: _encoded(_OUTLOOK, _tnef_rtf(b"{\\rtf1\\fromhtml1 " + run(b"{\\*\\htmltag <b>}", int(size * 0.6)))),
    "RTF that grows": lambda size: _encoded(_OUTLOOK, _repeated_rtf(size)),
    "S/MIME of pieces": lambda size: _encoded(_SIGNED, _indefinite(b"\x04\x01x", size)),
    "S/MIME of empty pieces": lambda size: _encoded(_SIGNED, _indefinite(b"\x04\0", size)),
    "S/MIME of open elements": lambda size: _encoded(_SIGNED, _indefinite(b"\x24\x80", size)),
    "S/MIME of a long number": lambda size: _encoded(_SIGNED, b"\x30\x80\x06\x83\x0c\0\0" + run(b"\x81", int(size * 0.7))),
    "S/MIME of a long tag": lambda size: _encoded(_SIGNED, b"\x3f" + run(b"\xff", int(size * 0.7))),
    "S/MIME within S/MIME": lambda size: _signed_within(40, size),
    "S/MIME of a multipart": lambda size: _encoded(_SIGNED, signed_data(_multiparts_within(60, int(size * 0.5)))),
    "S/MIME of nothing": lambda _: _encoded(_SIGNED, b""),
}  # fmt: skip


def _signed_within(levels: int, size: int) -> bytes:
    octets = b"Content-Type: text/plain\r\n\r\n" + run(b"words\r\n", size // 2)
    for _ in range(levels):
        octets = b"Content-Type: application/pkcs7-mime\r\n\r\n" + signed_data(octets)
    return _HEAD + octets


def _all() -> dict[str, Make]:
    shapes: dict[str, Make] = {}
    for name, parts in _FIELDS.items():
        shapes[f"field: {name}"] = partial(_field, *parts)
    for name, parts in list(_FIELDS.items())[:26]:
        shapes[f"unfolded: {name}"] = partial(_unfolded, *parts)
    for name, parts in _BODIES.items():
        shapes[f"body: {name}"] = partial(_body, *parts)
    return {**shapes, **_SPECIAL}


SHAPES: dict[str, Make] = _all()

#: Those of the shapes that are asked for at `GREAT` octets too: one for each reader.
GREAT_SHAPES = (
    "field: addresses", "field: words of Japanese", "field: forgotten semicolons", "field: references", "field: a date of digits",
    "body: boundaries", "body: base64 of padded lines", "body: quoted-printable of marks and blanks", "body: a uuencoded part of short lines",
    "body: shifts of iso-2022-jp", "body: lines of iso-2022-jp", "body: surrogates in utf-16", "body: holes of windows-1253",
    "body: line feeds", "body: carriage returns", "body: flowed breaks", "body: enriched tags", "body: HTML of quotes", "body: HTML of tags",
    "body: HTML of links", "body: HTML of lines in pre", "body: a calendar of lines", "body: small uuencoded files", "parts of iso-2022-jp",
    "parts of HTML tags", "parts of text", "messages of addresses", "messages of HTML", "messages within messages",
    "multiparts within, quoted", "winmail.dat of counts", "winmail.dat of files", "RTF of braces", "RTF that grows", "S/MIME of pieces",
    "S/MIME within S/MIME", "related pictures by place", "a header of empty fields",
)  # fmt: skip
