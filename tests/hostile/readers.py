"""Every function that reads octets or text of strangers, each with the octets that mean something to it.

A reader is called with a long run of them; where it needs something around the run to get at it (the quote
that is
never closed, the field's name), that is a context: what stands before, and what stands behind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from contact.factory import make_config, make_context, make_message, make_part, make_route

from relay.contact.addresses import fit_recipients
from relay.contact.bounce import read_bounce, tell_bounce
from relay.contact.candidates import collect_candidates
from relay.contact.cards import redact, redact_html
from relay.contact.characters import clean_line, clean_text, cut_utf8, cut_utf16, strip_invisible
from relay.contact.fit import fit
from relay.contact.html_text import make_text
from relay.contact.inline import find_references
from relay.contact.invitation import render_invitation
from relay.contact.joined import weave_html, weave_text
from relay.contact.names import clean_name, complete_extension, cut_name, make_unique
from relay.contact.promotion import promote
from relay.contact.refusal import refusals
from relay.contact.request import build_request
from relay.contact.subject import fit_subject
from relay.domains import encode_domain, normalise_address, normalise_domain
from relay.message.addresses import parse_addresses
from relay.message.charset import decode, detect
from relay.message.classify import classify
from relay.message.concealed import reveal
from relay.message.dates import parse_date
from relay.message.flowed import unflow
from relay.message.headers import FieldFinder, header_block, parse_header
from relay.message.hops import find_hops
from relay.message.identifiers import (
    find_message_id,
    parse_identifiers,
    parse_message_id,
)
from relay.message.identifiers import (
    find_references as find_referenced,
)
from relay.message.likeness import find_codec, find_wide
from relay.message.markup import (
    append_fragment,
    join_html,
    read_attributes,
    shows_something,
    shows_words,
    uncover,
    unescape,
)
from relay.message.octets import whole
from relay.message.parameters import parse_content_disposition, parse_content_type
from relay.message.parse import parse_message
from relay.message.rtf import decompress_rtf, rtf_words
from relay.message.smime import is_sealed, is_signed, signed_content
from relay.message.sniff import detect_type, measure_picture
from relay.message.tnef import SIGNATURE, parse_tnef
from relay.message.transfer import (
    TransferEncoding,
    decoded_chunks,
    decoded_uu_lines,
    looks_like_base64,
    parse_transfer_encoding,
)
from relay.message.uuencode import find_files, without_files
from relay.message.words import decode_words, header_text, one_line, raw_text
from relay.routes import RouteTable
from relay.smtp.auth import begin_auth
from relay.smtp.data import parse_bdat
from relay.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters
from relay.smtp.paths import PathLimits, parse_path
from relay.smtp.proxy import parse_proxy, wanted
from relay.smtp.xclient import parse_xclient
from relay.spool.duplicates import normalise_reverse_path
from relay.terminal import write_out
from relay.vocabulary import Rung

Context = tuple[bytes, bytes]

_CONFIG = make_config()
_REJECTING = make_config(disallowed_types="reject")
_ROUTES = RouteTable(_CONFIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A function of octets, the units whose runs it is fed, and what stands around them."""

    read: Callable[[bytes], object]
    units: tuple[bytes, ...]
    contexts: tuple[Context, ...] = ((b"", b""),)


def _of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda octets: read(octets.decode("utf-8", "replace"))


def _drain(chunks: Iterator[bytes]) -> int:
    return sum(map(len, chunks))


def understand(octets: bytes, *, rungs: tuple[Rung, ...] = (Rung.FULL,), **route: object) -> None:
    """A mail parsed and fitted, its request built: all that an attempt computes."""
    config = make_config(**route) if route else _CONFIG
    message = parse_message(octets)
    for rung in rungs:
        plan = fit(message, make_context(), make_route(config), config, rung=rung)
        urls = ["https://s3.example/x" for file in plan.files if file.attached]
        build_request(plan, urls, client_token="t")
    refusals(message, make_route(_REJECTING), _REJECTING)


def _field(name: bytes) -> Callable[[bytes], object]:
    return lambda octets: understand(name + b": " + octets.replace(b"\n", b"\n ") + b"\r\n\r\nx")


def _typed(header: bytes) -> Callable[[bytes], object]:
    return lambda octets: understand(header + b"\r\n\r\n" + octets)


def _fitted(**route: str) -> Callable[[bytes], object]:
    def read(octets: bytes) -> None:
        text = octets.decode("utf-8", "replace")
        message = make_message(
            subject=text, author=text, name=text, to=(text, "b@c.example"), reply_to=(text,), html=text
        )
        message = replace(message, message_id=text, references=(text, *text[:1_000]), text=text, date=None)
        config = make_config(**route) if route else _CONFIG
        for rung in Rung:
            fit(message, make_context(reverse_path=text or None), make_route(config), config, rung=rung)
        classify(message, null_reverse_path=True)

    return read


def _woven(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    message = make_message(text="x", html="y")
    lone = (make_part(octets, content_type="text/html"),)
    weave_html(message, text, lone)
    weave_text(message, text, (make_part(octets, content_type="text/plain"),))


def _promoted(octets: bytes) -> None:
    for kind in ("text/plain", "text/html", "text/rtf", "text/enriched", "application/octet-stream"):
        promote(make_message(attachments=[make_part(octets, name="a.html", content_type=kind)]))


def _bounced(octets: bytes) -> None:
    report = make_part(octets, name=None, content_type="message/delivery-status")
    header = make_part(octets, name=None, content_type="text/rfc822-headers")
    text = octets.decode("utf-8", "replace")
    for message in (
        make_message(attachments=[report, header]),
        make_message(text=text),
        make_message(html=text, subject=text),
    ):
        tell_bounce(read_bounce(message))


def _many_names(octets: bytes) -> None:
    taken: dict[str, int] = {}
    for number in range(len(octets) // 80):
        name = clean_name(octets[: number % 7 + 1].decode("utf-8", "replace") * 40)
        make_unique(
            cut_name(complete_extension(name, declared="text/plain", detected=None, allowed=frozenset())),
            taken,
        )


def _names(octets: bytes) -> None:
    name = clean_name(octets.decode("utf-8", "replace"))
    cut_name(
        complete_extension(
            name, declared="text/plain", detected="application/pdf", allowed=frozenset({"pdf"})
        )
    )


def _attached(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    inner = make_message(subject=text, text=text, to=(text,))
    parts = [make_part(name=text, content_type=text), make_part(name=None, content_type="message/rfc822")]
    collect_candidates(make_message(attachments=parts, embedded=((1, inner),)))


def _noted(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    config = make_config(connect={"allowed_extensions": ("pdf",)})
    parts = [make_part(name=text + ".exe", content_type="x/y")]
    fit(make_message(html=text, attachments=parts), make_context(), make_route(config), config)


def _referring(octets: bytes) -> None:
    parts = [make_part(content_type="image/png", content_location="http://x.example/a", content_id="a")]
    find_references(octets.decode("utf-8", "replace"), parts, base="http://x.example/b/")
    find_references("<img src=a>", parts, base=octets.decode("utf-8", "replace"))


def _property(kind: int, identifier: int, octets: bytes) -> bytes:
    return struct.pack("<HHI", kind, identifier, 0xFFFFFFFF) + octets


_BLANKS = (b" ", b"\t", b"\r\n", b"\n", b"\r", "\u00a0".encode())
_LETTERS = (b"a", b"=", b"\xff", b"\x1b", b"\0", "\u0301".encode(), "\U0001f600".encode())
_TNEF = SIGNATURE + b"\0\0"
_MESSAGE_PROPERTIES = struct.pack("<BII", 1, 0x00069003, 0x7FFFFFFF) + struct.pack("<I", 0xFFFFFFFF)
_SIGNED = bytes.fromhex("308006092a864886f70d010702a0803080020101")
_ENCAPSULATED = _SIGNED + bytes.fromhex("3100308006092a864886f70d010701a080")
_LZFU = struct.pack("<II4sI", 0, 0xFFFFFFFF, b"LZFu", 0)
_MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"

_LABELS = (
    "iso-2022-jp",
    "utf-8",
    "utf-16",
    "utf-32",
    "gb18030",
    "windows-1253",
    "iso-8859-8",
    "shift_jis",
    "hz",
    "iso-2022-kr",
    "johab",
    "utf-7",
    "koi8-r",
)


def _at_the_door(octets: bytes) -> None:
    fields = FieldFinder(header_block(octets))
    find_hops(fields, hostname="mx1.example.com")
    find_message_id(fields)
    find_referenced(fields)


def _uudecode(octets: bytes) -> None:
    files = list(find_files(whole(octets)))
    _drain(decoded_uu_lines(whole(octets)))
    _drain(decoded_chunks(whole(octets), TransferEncoding.UUENCODE))
    without_files(octets.decode("utf-8", "replace"))
    assert len(files) <= 200


def _proxied(octets: bytes) -> None:
    if wanted(octets) == 0:
        try:
            parse_proxy(octets)
        except ValueError:
            return


def _domain(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    normalise_domain(text)
    normalise_address(f"a@{text}")
    encode_domain(text)


READERS: dict[str, Reader] = {
    "domains": Reader(
        read=_domain,
        units=(b"a", b".", b"xn--", "\u0301".encode(), "\u00df".encode(), "\u00b7".encode(), "\u05d0".encode(), b"0", "\u200d".encode(), b"-"),
        contexts=((b"", b""), (b"x@", b""), (b"xn--", b"-abc")),
    ),
    "reverse-paths": Reader(
        read=_of_text(normalise_reverse_path),
        units=(b"=", b"SRS0=", b"SRS1=", b"prvs=", b"btv1==", b"a", b"@", b"+", b"-", b"."),
        contexts=((b"", b"@x.example"), (b"SRS0=", b"@x.example"), (b"prvs=", b"=a@x.example")),
    ),
    "a terminal's words": Reader(
        read=_of_text(write_out), units=(b"a", b"\x1b[", b"\r", "\u202e".encode(), b"\0", b"\n", b" ", b"\\")
    ),
    "addresses": Reader(
        read=_of_text(parse_addresses),
        units=(b'"', b"<", b">", b"(", b")", b",", b";", b":", b"\\", b"@", b".", b" ", b"\t", b"a", b"=?x?q?", b"?="),
        contexts=((b"", b""), (b'"', b'x" a @b.example'), (b"<", b">"), (b'<"\\', b""), (b"a", b"<>"), (b"(", b") a@b.c")),
    ),
    "addresses of units": Reader(
        read=_of_text(parse_addresses),
        units=(b'"a" a@b ', b"=?x?q?;", b"=?x?q?;?=", b"(a@b)", b"[", b'<"\\"', b'<,"\\"', b'"<"', b"a@b,", b"a,", b'"a@b"', b"(\\", b"a:;", b"=?utf-8?q?a=40b?=", b" @ .", b"<>"),
    ),
    "words": Reader(
        read=_of_text(lambda text: (decode_words(text), one_line(text))),
        units=(b"=?", b"?=", b"?", b"=", b"a", b" ", b"=?utf-8?b?", b"=?iso-2022-jp?q?", b"=?x*y?q?", b"=3F", b"_", b"\t"),
        contexts=((b"", b""), (b"=?utf-8?q?", b""), (b"=?utf-8?b?", b"?="), (b"=?a?q?", b" ?=")),
    ),
    "raw field bodies": Reader(
        read=lambda octets: (raw_text(octets), raw_text(octets, "iso-2022-jp"), header_text(octets)),
        units=(*_BLANKS, *_LETTERS, b"\x1b$B", b"\x1b(B", b"\xe3\x81", b"=?a?q?", b"=?a?q?\xff", b"?="),
    ),
    "parameters": Reader(
        read=_of_text(lambda text: (parse_content_type(text), parse_content_disposition(text))),
        units=(b";", b"=", b'"', b"\\", b"(", b")", b"/", b" ", b"a", b"*", b"'", b"%", b",", b"a=b ", b";a*0*=", b'="', b"=?"),
        contexts=((b"", b""), (b"text/plain; a=", b""), (b'text/plain; a="', b""), (b"text/plain; a*1*=u''", b""), (b"text", b"/")),
    ),
    "dates": Reader(
        read=_of_text(parse_date),
        units=(b"1", b":", b" ", b"-", b"+", b"Jan", b"a", b",", b".", b"T", b"AM", "\u0663".encode(), b"(", b"1 "),
        contexts=((b"", b""), (b"Mon, 1 Jan 2024 00:00", b""), (b"1 Jan", b" 2024 00:00:00 +9999"), (b"9999-12-31 23:59", b"")),
    ),
    "ids": Reader(
        read=_of_text(lambda text: (parse_identifiers(text), parse_message_id(text))),
        units=(b"<", b">", b" ", b"a", b"@", b"=?", b"\t", b"<a>"),
    ),
    "header at the door": Reader(
        read=_at_the_door,
        units=(*_BLANKS, b"received:", b"message-id:", b"references: <", b" by ", b"by x", b">", b":", b"in-reply-to:", b"<a>"),
        contexts=((b"", b""), (b"Received: by", b""), (b"Message-ID: ", b"\r\n\r\n"), (b"References: ", b"")),
    ),
    "headers": Reader(
        read=lambda octets: parse_header(whole(octets), 1 << 20),
        units=(*_BLANKS, b":", b"a", b"From:", b"x\n", b" y\n", b"a=b\n", b"From x\n", b"\xff", b"X-A: b\r\n"),
        contexts=((b"", b""), (b"A: b\r\n", b""), (b"x\r\n", b"From: y"), (b"A", b": b")),
    ),
    "transfer encodings": Reader(
        read=_of_text(parse_transfer_encoding),
        units=(b"x-uu", b"quoted", b"-", b"_", b" ", b'"', b"a", b"8bit"),
    ),
    "base64": Reader(
        read=lambda octets: (_drain(decoded_chunks(whole(octets), TransferEncoding.BASE64)), looks_like_base64(octets)),
        units=(b"A", b"=", b"eA==\r\n", b"eA=", b"-", b" ", b"\r\n", b"\xff", b"====A", b"A B ", b"-- \r\n", b"A" * 60 + b"\r\n"),
        contexts=((b"", b""), (b"eA==", b""), (b"QUJD", b"="), (b"eA==\r\neA", b"")),
    ),
    "quoted-printable": Reader(
        read=lambda octets: _drain(decoded_chunks(whole(octets), TransferEncoding.QUOTED_PRINTABLE)),
        units=(b"=", b"= ", b"=\t", b"=\n", b"=\r\n", b" ", b"=3", b"=3D", b"\xff", b"\r"),
        contexts=((b"", b""), (b"=", b"\n"), (b"=", b"x")),
    ),
    "uuencode": Reader(
        read=_uudecode,
        units=(b"begin 644 A\n", b"begin 644 a\n#0V%T\n", b"end\n", b"`\n", b"\n", b"\r", b"#0V%T\n", b"!", b" ", b"a", b"begin "),
        contexts=((b"", b""), (b"begin 644 a\n", b""), (b"begin 644 a\n#0V%T\n", b"\nend\n")),
    ),
    "charsets": Reader(
        read=lambda octets: [decode(octets, label) for label in _LABELS],
        units=(
            b"\x1b", b"\x1b$B", b"\x1b(B", b"\x1b$(D", b"!", b"\n", b"\xff", b"\x80", b"\xd8\0", b"~{", b"\x0e", b"\xa1", b"a",
            b"+", b"-", b"+2AA-", b"\xc3\xbc",
        ),
        contexts=((b"", b""), (b"\x1b$B", b"\xff"), (b"\xff\xfe", b""), (b"\xef\xbb\xbf", b"\xff")),
    ),
    "concealed HTML": Reader(
        read=_of_text(reveal),
        units=(b"<!--[if", b"]>", b"<![endif]-->", b"-->", b"<xml", b"</xml>", b"<template", b">", b" ", b"a", b"<!--[if a]>"),
    ),
    "likenesses": Reader(
        read=lambda octets: (find_codec(octets), find_wide(octets)),
        units=(b"\0", b"a\0", b"\xa4\xa2", b"\x82\xa0", b"\xc7\xc4\xc5 ", b"\xc3", b" ", b"a", b"\x95\x5c", b"\xcf\xf0"),
    ),
    "charset detection": Reader(
        read=lambda octets: (decode(octets), detect(octets)),
        units=(b"\xe9", b"\xff", b"\x80", b"a", b"\x1b", b"\xe3\x81\x82", b" ", b"\xd0"),
    ),
    "HTML": Reader(
        read=_of_text(
            lambda text: (make_text(text), shows_something(text), append_fragment(text, "x"), unescape(text), read_attributes(text))
        ),
        units=(
            b"<", b">", b"<a", b"</a>", b"<!--", b"-->", b"<!", b"=", b'"', b"'", b"&", b"&#", b";", b"1", b"<pre>", b"<p>",
            b"<style>", b"</style", b"<textarea>", b"\n", b" ", b"a", b"/", b"='>'", b'="',
        ),
        contexts=((b"", b""), (b"<a ", b'="'), (b"<pre>", b""), (b"<a href='", b""), (b"<style>", b""), (b"x<!--", b"")),
    ),
    "card numbers of mails": Reader(
        read=lambda octets: understand(octets, sensitive={"card": "redact"}),
        units=(
            b"Content-Type: message/rfc822\r\n\r\n", b"4111 1111 1111 1111 ", b"4111111111111111\r\n",
            b"begin 644 a.txt\n#-#$Q\n`\nend\n", b"--b\r\nContent-Type: text/csv; name=4111111111111111.csv\r\n\r\n4111111111111111\r\n",
        ),
        contexts=((b"", b""), (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b--"), (b"Subject: 4111111111111111\r\n\r\n", b"")),
    ),
    "card numbers": Reader(
        read=_of_text(lambda text: (redact(text), redact_html(text))),
        units=(
            b"1", b"4", b"1 ", b"4111 1111 1111 1112 ", b"4111 1111 1111 1111 ", b"4111-", b"<", b"<b>", b"<a", b"&#5", b"&", b"+", b"/",
            b"DE89 3704 0044 0532 0130 01 ", b"\n", b"x/",
        ),
        contexts=((b"", b""), (b"http://", b""), (b"4111", b"1111")),
    ),
    "HTML uncovered": Reader(
        read=_of_text(lambda text: (uncover(text), shows_words(text), join_html([text, text]))),
        units=(b"<title/>", b"<style>", b"</style>", b"<!--", b"-->", b"<script>", b"<p>", b"a", b"<img src=x>", b"<body", b"<iframe>", b"<"),
        contexts=((b"", b""), (b"<style>", b""), (b"", b"<title/>"), (b"<img style='", b"'>"), (b"<img width='", b"'>")),
    ),
    "words of files": Reader(
        read=_promoted,
        units=(b"<", b"<p>", b"{", b"\\par", b"a", b" ", b"\n", b"\xff", b"\0", b"<title/>", b"BEGIN:VCALENDAR\n", b"<param>"),
        contexts=((b"", b""), (b"{\\rtf1 ", b""), (b"<style>", b"")),
    ),
    "bounces": Reader(
        read=_bounced,
        units=(
            b"\n", b" ", b"\n x", b":", b";", b"a@b", b"<a@b>:\n", b"550 ", b"5.1.1 ", b"Final-Recipient: x;a@b\n", b"\n\n", b"!",
            b"References: <a>\n", b"\n <a>", b"undeliverable to ", b"Action: a\n",
        ),
        contexts=((b"", b""), (b"Final-Recipient: rfc822;", b""), (b"References: <a>", b"")),
    ),
    "S/MIME by its octets": Reader(
        read=lambda octets: (is_signed(octets), is_sealed(octets), measure_picture(octets)),
        units=(b"\x30", b"\x80", b"\x06\x09", b"\xff\xd8", b"\xff\xc0", b"\x08", b"GIF89a", b"\0"),
        contexts=((b"", b""), (b"\xff\xd8", b"")),
    ),
    "HTML of units": Reader(
        read=_of_text(lambda text: (make_text(text), append_fragment(text, "x"))),
        units=(b"<a ='>' ", b'<a =">" ', b"<b a='", b'<b a="', b"<blockquote>", b"<img alt=a>", b"<a href=http://x>y", b"<li>", b"<br>"),
        contexts=((b"", b""), (b"", b'="'), (b"", b"='"), (b"<pre>", b"")),
    ),
    "references to pictures": Reader(
        read=_referring,
        units=(b"src=", b"cid:", b"=cid:a", b"url(", b'"', b"'", b" ", b"a", b"../", b"src=a ", b"/", b"[", b"%", b"href="),
        contexts=((b"", b""), (b"src=", b""), (b"=cid:", b""), (b"http://", b"")),
    ),
    "HTML and text woven": Reader(read=_woven, units=(b"<body", b">", b"<", b"&", b"a", b"\r", b"\n", b"\0", b" ")),
    "charset of HTML": Reader(
        read=_typed(b"Content-Type: text/html"),
        units=(b"<meta", b"charset", b"=", b" ", b'"', b"'", b"<?xml", b"encoding", b"a", b"<meta charset="),
        contexts=((b"", b""), (b"<meta charset=", b""), (b"<?xml encoding=", b"")),
    ),
    "enriched": Reader(
        read=_typed(b"Content-Type: text/enriched"),
        units=(b"<", b"<<", b">", b"a", b"<a>", b"</", b"-", b"\n", b"\r", b"<param>", b"</param>"),
    ),
    "flowed": Reader(
        read=_of_text(lambda text: (unflow(text), unflow(text, delete_space=True))),
        units=(b">", b" ", b"\n", b"> ", b"a", b"-- \n", b">\n", b" \n", b"> \n"),
    ),
    "flowed parts": Reader(
        read=_typed(b"Content-Type: text/plain; format=flowed; delsp=yes"),
        units=(b">", b" ", b"\n", b"\r", b"\r\r\n", b"a", b"-- \n", b"> \n"),
    ),
    "RTF": Reader(
        read=rtf_words,
        units=(b"{", b"}", b"\\", b"\\u1", b"\\'", b"\\*", b"\\par", b"a", b"\r", b"\\uc9", b"-", b"1", b"\\htmltag", b"{}", b"\\~"),
        contexts=((b"{\\rtf1\\fromhtml ", b""), (b"{\\rtf1\\ansicpg932 ", b""), (b"\\u", b"")),
    ),
    "RTF, compressed": Reader(
        read=decompress_rtf,
        units=(b"\0", b"\xff", b"\xff\0\x1f", b"\x01\0\x0f", b"a", b"\xaa", b"\x0c\xf0"),
        contexts=((_LZFU, b""), (_LZFU.replace(b"LZFu", b"MELA"), b"")),
    ),
    "TNEF": Reader(
        read=parse_tnef,
        units=(
            b"\0", b"\xff", b"\x01", struct.pack("<BIIH", 1, 0x00069003, 0, 0), struct.pack("<BIIH", 2, 0x00069002, 0, 0),
            struct.pack("<BII4sH", 1, 0x00069003, 4, b"\xff" * 4, 0), struct.pack("<BIIIHHIIH", 1, 0x69003, 16, 9, 0x101F, 1, -1 & 0xFFFFFFFF, 0, 0),
            struct.pack("<HHII", 0x1E, 0x3001, 1, 0), struct.pack("<HHI", 0x1003, 1, 0), struct.pack("<HHI", 3, 1, 0), struct.pack("<I", 0),
            struct.pack("<BIIH", 2, 0x0006800F, 0, 0), struct.pack("<BII", 1, 0x0002800C, 0xFFFF), SIGNATURE, b"a\0",
        ),
        contexts=(
            (_TNEF, b""), (_TNEF + _MESSAGE_PROPERTIES, b""), (_TNEF + _MESSAGE_PROPERTIES + _property(0x101E, 0x3001, b""), b""),
            (_TNEF + _MESSAGE_PROPERTIES + _property(0x1102, 0x9000, b""), b""), (_TNEF + struct.pack("<BII", 1, 0x2800C, 1 << 30), b""),
        ),
    ),
    "TNEF in a mail": Reader(
        read=_typed(b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: quoted-printable"),
        units=(struct.pack("<BIIHBIIH", 2, 0x00069002, 0, 0, 2, 0x0006800F, 0, 0).replace(b"\n", b"\r"), b"\0", b"\xff", b"a"),
        contexts=((_TNEF, b""),),
    ),
    "S/MIME": Reader(
        read=signed_content,
        units=(b"\0", b"\xff", b"\x30\x80", b"\x24\x80", b"\x04\x01x", b"\x04\0", b"\x30\0", b"\x06\x82", b"\x81", b"\x1f", b"\x80", b"\xa0\x80"),
        contexts=((b"", b""), (_SIGNED, b""), (_SIGNED + b"\x31\x80", b""), (_ENCAPSULATED, b""), (_ENCAPSULATED + b"\x24\x80", b"\0" * 14)),
    ),
    "calendar": Reader(
        read=lambda octets: render_invitation(make_part(octets, content_type="text/calendar")),
        units=(b"\n", b"\r\n ", b":", b";", b'"', b"\\", b"\\n", b"BEGIN:VEVENT\n", b"SUMMARY:a\n", b"a", b",", b"TZID=", b"DTSTART:2"),
        contexts=((b"", b""), (b"BEGIN:VEVENT\nDESCRIPTION:", b""), (b'BEGIN:VEVENT\nDTSTART;TZID="', b":20240101T000000")),
    ),
    "file types": Reader(
        read=detect_type,
        units=(b" ", b"<!--", b"-->", b"\n", b"a", b"<", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\0"),
        contexts=((b"", b""), (b"<!--", b"<html"), (b"PK\x03\x04" + b"\0" * 26 + b"mimetype", b""), (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"")),
    ),
    "file names": Reader(
        read=_names,
        units=(b".", b"/", b"\\", b" ", b"a", "\u0301".encode(), "\u0316".encode(), "\u202e".encode(), b"\0", b"-", "\U0001f600".encode(), b"con"),
        contexts=((b"", b""), (b"", b".pdf"), (b"a.", b"")),
    ),
    "file names alike": Reader(read=_many_names, units=(b"a", b"A.pdf", b"a-2", b".a", b"-", "\u0130".encode(), b"a.", b"1")),
    "characters": Reader(
        read=_of_text(
            lambda text: (
                clean_line(text), clean_text(text), strip_invisible(text), cut_utf8(text, 100), cut_utf16(text, 100),
                cut_utf16(text, len(text)), fit_subject(text, plain=True),
            )
        ),
        units=(*_BLANKS, *_LETTERS, "\u2028".encode(), "\u200b".encode()),
    ),
    "attributes, thread and people": Reader(
        read=_fitted(), units=(b"a", b"@", b".", b" ", b"<", b">", b"\n", b"a@b.c", "\U0001f600".encode(), b"\0", b'"', b"&", "\u00e9.".encode())
    ),
    "the same as text": Reader(read=_fitted(prefer="text"), units=(b"a", b"<", b"<b>", b"\n", b" ", b"\0", b"&lt;", "\u00e9".encode())),
    "recipients": Reader(
        read=lambda octets: fit_recipients(
            make_message(to=octets.decode("utf-8", "replace").split(",")), make_context(), _CONFIG
        ),
        units=(b"a@b.c,", "\u00e9@\u00e9.c,".encode(), b"a@example.com,", b".", b"a", b"@"),
        contexts=((b"a@", b""), (b"", b"")),
    ),
    "routes": Reader(
        read=_of_text(lambda text: (RouteTable(_CONFIG).match(text), _ROUTES.knows_domain(text), _ROUTES.is_ours(text))),
        units=(b"a", b".", b"@", b"+", b"*", "\u00df".encode(), "\u0301".encode(), "\u3002".encode(), b"xn--", b"-"),
        contexts=((b"", b""), (b"a@", b""), (b"a@", b".example.com"), (b"", b"@example.com")),
    ),
    "attached messages": Reader(read=_attached, units=(b"a", b"/", b" ", b"\n", b"<", b".", b"\0", "\u0301".encode())),
    "notes": Reader(read=_noted, units=(b"a", b"<", b"&", b" ", b"<!--", b".", b"\0", b"</body>", b"\n")),
    "paths": Reader(
        read=lambda octets: [parse_path(b"FROM:" + octets, b"FROM:", lenient=lenient, limits=PathLimits(1 << 20, 1 << 20)) for lenient in (True, False)],
        units=(b"<", b">", b"@", b".", b",", b":", b'"', b"\\", b" ", b"a", b"[", b"]", b"\xff", b"@a,", b"a.", b"="),
        contexts=((b"", b""), (b"<", b">"), (b'<"', b'"@a>'), (b"<@a", b":a@b>"), (b"<a@", b">"), (b"<a@b> ", b"")),
    ),
    "parameters of SMTP": Reader(
        read=lambda octets: (
            parse_mail_parameters(octets), parse_rcpt_parameters(octets), parse_xclient(octets), parse_bdat(octets), begin_auth(octets)
        ),
        units=(b"A", b"=", b"1", b" ", b"+", b"+41", b"SIZE=", b"ADDR=", b"PORT=", b";", b",", b"\xff", b":", b"PLAIN "),
        contexts=(
            (b"", b""), (b"SIZE=", b""), (b"ORCPT=a;", b""), (b"ENVID=", b""), (b"PORT=", b""), (b"ADDR=", b""), (b"NOTIFY=", b""),
            (b"LOGIN ", b""), (b"PLAIN ", b""), (b"ADDR=IPV6:", b""),
        ),
    ),
    "PROXY": Reader(
        read=_proxied,
        units=(b" ", b"1", b".", b":", b"\xff", b"TCP4", b"\0", b"%", b"a"),
        contexts=((b"PROXY ", b"\r\n"), (b"PROXY TCP4 ", b" 1 1\r\n"), (b"PROXY TCP6 ::1 ::1 ", b" 1\r\n"), (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b"")),
    ),
    "multiparts": Reader(
        read=understand,
        units=(b"--b\r\n", b"--b--\r\n", b"--", b"\r\n", b"-", b"b", b" ", b"--c\r\nContent-Type: a/b\r\n\r\n", b"--b\n\n", b"\r", b"Content-A:"),
        contexts=((_MIXED, b""), (_MIXED + b"--b", b""), (_MIXED.replace(b"boundary=b", b"a=b"), b""), (_MIXED.replace(b"=b", b"=-"), b"--x")),
    ),
    "long boundaries": Reader(
        read=lambda octets: understand(_MIXED.replace(b"boundary=b", b'boundary="' + octets.replace(b'"', b"") + b'"') + b"--" + octets),
        units=(b"-", b"a", b".", b"(", b" ", b"\\"),
    ),
    "multiparts within": Reader(
        read=understand,
        units=(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"Content-Type: message/rfc822\r\n\r\n",
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n", b"--b\r\n\r\n",
            b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n--b\r\n",
        ),
    ),
    "mail with text": Reader(
        read=partial(understand, rungs=tuple(Rung), prefer="text"),
        units=(*_BLANKS, *_LETTERS, b"<", b">", b"begin 644 a\n"),
        contexts=((b"\r\n", b""), (b"Content-Type: text/html\r\n\r\n<pre>", b""), (b"Content-Type: text/html\r\n\r\n<p>x</p>", b"")),
    ),
    "From": Reader(read=_field(b"From"), units=(b'"', b"<", b"@", b",", b" ", b"=?utf-8?q?", b"\n", b"\xff", b"a@b.c,")),
    "Subject": Reader(read=_field(b"Subject"), units=(*_BLANKS, *_LETTERS, b"=?utf-8?b?", b"?=", b"Re: ")),
    "Content-Type": Reader(read=_field(b"Content-Type"), units=(b";", b"=", b"a=b;", b'"', b"(", b"/", b" ", b"\n", b"\xff", b"*0=")),
    "Content-Disposition": Reader(read=_field(b"Content-Disposition"), units=(b";", b"filename*0*=a;", b"%", b"'", b'"', b" ", b"\n")),
}  # fmt: skip
