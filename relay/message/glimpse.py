"""A bounded look at the head of a mail that could not be understood: its people, ids and readable words.

Owns *glimpse*. Reads the first 64 KiB and nothing else, in linear time, and shares with the parser only what
is small: encoded words and ids of a few kilobytes, each behind a guard. Never raises, whatever the octets
are; what is found is not checked: an address may be no address, a text no text. Follows RFC 5322 and RFC 2045
as far as one pass over lines goes.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from relay.message.identifiers import parse_identifiers, parse_message_id
from relay.message.model import Mailbox, Message
from relay.message.octets import Buffer
from relay.message.words import header_text, one_line

T = TypeVar("T")

#: Octets of the mail that are looked at.
GLIMPSE_BYTES = 65_536
#: Octets of one field's value: the longest Subject that Connect takes fits, in encoded words.
_VALUE = 8_192
_FIELDS = 200
_MAILBOXES = 50
#: Message-IDs: those longer than a line (RFC 5322 §2.1.1), or not in printable ASCII, are left out.
_ID = re.compile(r"<[!-;=?-~]{1,996}>")
_IDS = 20

_NAME = re.compile(rb"[!-9;-~]{1,80}")
_ADDRESS = re.compile(rb"[A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,255}")
_QUOTED = re.compile(rb'"[^"]*+"')
_ANGLED = re.compile(rb"<([^<>]*+)>")
_CHARSET = re.compile(rb"charset\s{0,8}=\s{0,8}[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
)
#: Lines of base64 that no header announced; they are left out, because they tell a reader nothing.
_ENCODED = re.compile(r"(?:^[A-Za-z0-9+/=]{60,76}\n){3,}+", re.MULTILINE)
_TAG = re.compile(r"<[^<>]*+>")
_BREAK = re.compile(r"<(?:/p|br|/div|/tr|/h[1-6]|/li)\b[^<>]*+>", re.IGNORECASE)
_HIDDEN = re.compile(r"<(?:style|script|head)\b", re.IGNORECASE)
_SHOWN = re.compile(r"</(?:style|script|head)\b", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*+\n){2,}+")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": " ", "&amp;": "&"}
#: Charsets whose decoders are simple and fast; other text is read as UTF-8, or else as windows-1252.
_CODECS = {
    b"iso-8859-1": "cp1252", b"windows-1252": "cp1252", b"iso-8859-15": "iso8859-15", b"iso-8859-2": "iso8859-2",
    b"windows-1250": "cp1250", b"windows-1251": "cp1251", b"koi8-r": "koi8-r", b"shift_jis": "cp932",
    b"iso-2022-jp": "iso2022_jp", b"euc-jp": "euc_jp", b"gb2312": "gb18030", b"gbk": "gb18030", b"gb18030": "gb18030",
    b"big5": "big5hkscs", b"euc-kr": "cp949", b"ks_c_5601-1987": "cp949",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Section:
    """The lines under one header: the mail's own, or a part's."""

    fields: Mapping[str, list[bytes]]
    lines: list[bytes] = field(default_factory=list)

    def first(self, name: str) -> bytes:
        """The first value of a field; b"" when absent."""
        return self.fields.get(name, [b""])[0]

    @property
    def content_type(self) -> bytes:
        """The media type as declared, in lower case; text when none is."""
        return self.first("content-type").partition(b";")[0].strip().lower() or b"text/plain"


def glimpse_message(raw: Buffer) -> Message:
    """The mail as far as its first 64 KiB show it: without parts and attachments, its `text` at a guess."""
    head = bytes(raw[:GLIMPSE_BYTES])
    fields, body = _split(head)
    return Message(
        subject=_text(fields.get("subject", [b""])[0]),
        author=_authors(fields, "from"),
        sender=_authors(fields, "sender"),
        reply_to=_authors(fields, "reply-to"),
        to=_recipients(fields, "to"),
        cc=_recipients(fields, "cc"),
        message_id=_message_id(fields),
        in_reply_to=_ids(fields, "in-reply-to"),
        references=_ids(fields, "references"),
        headers=tuple((name, _plain_line(value)) for name, values in fields.items() for value in values),
        text=_read(fields, body),
    )


def glimpse_header(raw: Buffer) -> Message:
    """The same of the header alone, of which the octets at hand may be a part."""
    head = bytes(raw[:GLIMPSE_BYTES]).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    end = head.find(b"\n\n")
    return glimpse_message(head + b"\n\n" if end < 0 else head[: end + 2])


def _split(head: bytes) -> tuple[dict[str, list[bytes]], bytes]:
    """The fields of the header, and the octets behind it; where no header can be seen, the whole head is
    body.
    """
    head = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    end = 0 if head.startswith(b"\n") else head.find(b"\n\n")
    fields = _fields(head if end < 0 else head[:end])
    return fields, head[end:].lstrip(b"\n") if fields and end >= 0 else head


def _fields(block: bytes) -> dict[str, list[bytes]]:
    """The first fields of a header by lower-case name, unfolded and cut."""
    found: dict[str, list[bytes]] = {}
    count, last = 0, None
    for line in block.split(b"\n"):
        if line.startswith((b" ", b"\t")):
            if last is not None and len(last[-1]) < _VALUE:
                last[-1] = (last[-1] + line)[:_VALUE]
            continue
        name, colon, value = line.partition(b":")
        last = None
        if colon and _NAME.fullmatch(name.rstrip(b" \t")) and count < _FIELDS:
            count += 1
            last = found.setdefault(name.rstrip(b" \t").lower().decode("ascii"), [])
            last.append(value.strip()[:_VALUE])
    return found


def _text(value: bytes) -> str:
    """The value as a person would read it, or as it stands where it cannot be decoded."""
    return _guarded(lambda: header_text(value)[0], _plain_line(value))


def _plain_line(value: bytes) -> str:
    return one_line(value.decode("utf-8", "replace"))


def _guarded(function: Callable[[], T], otherwise: T) -> T:
    """The result of a reader that the parser uses too, or `otherwise` where that reader fails: it may be what
    defeated the parser.
    """
    try:
        return function()
    except Exception:  # noqa: BLE001 - this mail has broken some reader already
        return otherwise


def _authors(fields: Mapping[str, list[bytes]], name: str) -> tuple[Mailbox, ...]:
    """The first mailbox of a field; its text as the address where no mailbox can be read."""
    value = fields.get(name, [b""])[0]
    if not value:
        return ()
    bare = _QUOTED.sub(b" ", value)
    angled = next((inside for inside in map(_ADDRESS.search, _ANGLED.findall(bare)) if inside), None)
    found = angled or _ADDRESS.search(bare)
    if found is None:
        return (Mailbox(address=_text(value)[:300]),)
    shown = _text(value.partition(b"<")[0]).strip('" ') if angled else ""
    return (Mailbox(address=found[0].decode("ascii"), name=shown),)


def _recipients(fields: Mapping[str, list[bytes]], name: str) -> tuple[Mailbox, ...]:
    found = [one for value in fields.get(name, ()) for one in _ADDRESS.findall(value)]
    return tuple(Mailbox(address=one.decode("ascii")) for one in found[:_MAILBOXES])


def _message_id(fields: Mapping[str, list[bytes]]) -> str | None:
    value = _plain_line(fields.get("message-id", [b""])[0])
    found = _guarded(lambda: parse_message_id(value), None)
    return found if found and _ID.fullmatch(found) else None


def _ids(fields: Mapping[str, list[bytes]], name: str) -> tuple[str, ...]:
    """The newest ids of a field."""
    value = _plain_line(b" ".join(fields.get(name, ()))[-_VALUE:])
    none: tuple[str, ...] = ()
    found = _guarded(lambda: parse_identifiers(value), none)
    return tuple(filter(_ID.fullmatch, found))[-_IDS:]


def _read(fields: Mapping[str, list[bytes]], body: bytes) -> str:
    """The words of the mail: its plain text, or else its HTML without tags; files are named by their type."""
    plain: list[str] = []
    marked: list[str] = []
    for section in _sections(fields, body):
        kind = section.content_type
        if kind.startswith(b"multipart/") or kind == b"message/rfc822":
            continue
        if not kind.startswith(b"text/"):
            plain.append(f"[{_plain_line(kind)[:80]}: see the original]")
            continue
        text = _decode(section)
        if kind == b"text/html":
            marked.append(_strip_markup(text))
        else:
            plain.append(_ENCODED.sub("[encoded data: see the original]\n", text))
    if not any(text.strip() and not text.startswith("[") for text in plain):
        plain = [*marked, *plain]
    return "\n\n".join(text for text in plain if text.strip())


def _sections(fields: Mapping[str, list[bytes]], body: bytes) -> Iterator[_Section]:
    """The parts of the body: a cut where a line of two dashes is followed by a line of a part's header (RFC
    2046 §5.1).
    """
    section = _Section(fields=fields)
    lines = body.split(b"\n")
    boundaries: set[bytes] = set()
    header: list[bytes] | None = None
    for number, line in enumerate(lines):
        bare = line.rstrip()
        following = lines[number + 1][:8].lower() if number + 1 < len(lines) else b""
        if bare.startswith(b"--") and (following == b"content-" or bare.removesuffix(b"--") in boundaries):
            yield section
            boundaries.add(bare)
            section, header = _Section(fields={}), []
        elif header is None:
            section.lines.append(line)
        elif bare:
            header.append(line)
        else:
            section, header = _Section(fields=_fields(b"\n".join(header))), None
    yield section


def _decode(section: _Section) -> str:
    octets = b"\n".join(section.lines)
    encoding = section.first("content-transfer-encoding").strip().lower()
    if encoding == b"base64":
        octets = _guarded(lambda: _from_base64(octets), octets)
    elif encoding == b"quoted-printable":
        octets = _guarded(lambda: binascii.a2b_qp(octets), octets)
    named = _CHARSET.search(section.first("content-type"))
    codec = _CODECS.get(named[1].lower()) if named else None
    if codec is None:
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError as exc:
            # The cut at 64 KiB may have gone through the last character.
            codec = "utf-8" if exc.start > len(octets) - 4 else "cp1252"
    chosen = codec
    text = _guarded(lambda: octets.decode(chosen, "replace"), octets.decode("latin-1"))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_base64(octets: bytes) -> bytes:
    letters = octets.translate(None, _NOT_BASE64).partition(b"=")[0]
    return binascii.a2b_base64(letters[: len(letters) // 4 * 4] + _rest(letters))


def _rest(letters: bytes) -> bytes:
    """The octets of the last base64 letters, padded to four; a single letter gives none."""
    left = letters[len(letters) // 4 * 4 :]
    return left + b"=" * (-len(left) % 4) if len(left) > 1 else b""


def _strip_markup(source: str) -> str:
    """The words of some HTML, without tags and what browsers do not show; entities but the five common ones
    stay.
    """
    pieces: list[str] = []
    at = 0
    while (hidden := _HIDDEN.search(source, at)) is not None:
        pieces.append(source[at : hidden.start()])
        shown = _SHOWN.search(source, hidden.end())
        at = hidden.end() if shown is None else shown.start()
        if shown is None:
            break
    pieces.append(source[at:])
    text = _TAG.sub("", _BREAK.sub("\n", "".join(pieces)))
    for entity, char in _ENTITIES.items():
        text = text.replace(entity, char)
    return _BLANK_LINES.sub("\n\n", text).strip()
