"""Files that are not what their names say, or that no scanner can look into.

Owns the extensions by which a person takes a file for harmless. Never unpacks, runs or keeps anything; the
octets of a file are read once, and only where its first ones show an archive or a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from relay.auth.words import show
from relay.contact.names import get_extension
from relay.contact.risk.archives import (
    HEAD_BYTES,
    TAIL_BYTES,
    Table,
    is_rar_protected,
    is_seven_zip_protected,
    read_zip,
)
from relay.contact.risk.codes import Risk, RiskCode
from relay.message.model import Message, Part
from relay.message.sniff import EXECUTABLES

#: Extensions whose files a machine executes when they are opened.
_RUN = frozenset({
    "exe", "scr", "com", "bat", "cmd", "pif", "js", "jse", "vbs", "vbe", "wsf", "wsh", "hta", "msi",
    "msp", "ps1", "lnk", "cpl", "jar", "reg", "scf", "inf", "gadget", "application", "appref-ms", "xll",
    "sct", "msc", "dll", "sys", "apk", "app", "desktop", "command", "url", "chm", "hlp",
})  # fmt: skip
#: Those of programs in a language, which nobody takes for a letter, either.
_HONEST = _RUN | frozenset({
    "sh", "bash", "py", "pyw", "pl", "rb", "php", "lua", "psm1", "class", "wasm", "dex", "elf", "bin",
    "run", "so", "dylib", "o",
})  # fmt: skip
#: Names in an archive that count: what is common in archives of source code is left out.
_IN_ARCHIVE = _RUN - frozenset(
    ["js", "dll", "sys", "app", "command", "url", "reg", "inf", "com", "application", "desktop", "chm", "hlp"]
)
_HARMLESS = frozenset({
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "rtf", "txt", "csv", "jpg",
    "jpeg", "png", "gif", "bmp", "tif", "tiff", "svg", "heic", "mp3", "mp4", "mov", "wav", "avi", "zip",
    "rar", "7z", "htm", "html", "xml", "eml", "msg", "ics", "dat",
})  # fmt: skip
_MACRO_NAMES = frozenset(
    ["docm", "dotm", "xlsm", "xltm", "xlsb", "xlam", "pptm", "potm", "ppsm", "ppam", "sldm", "xla", "xlt"]
)
_ARCHIVES = frozenset([
    "application/zip", "application/vnd.rar", "application/x-7z-compressed",
])  # fmt: skip
_TURNED = regex.compile(r"[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_GAP = re.compile(r"\s{5,}")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_VBA = "_VBA_PROJECT".encode("utf-16-le")
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_MOST_FILES = 1_000


@dataclass(frozen=True, slots=True)
class _Look:
    """The signs that a file's octets show."""

    table: Table
    macros: bool = False


def find_file_risks(message: Message) -> Iterator[Risk]:
    """The risks of the files of a mail, and of the messages in it."""
    for number, part in enumerate(_all_files(message)):
        if number >= _MOST_FILES:
            return
        yield from _judge(part)


def _all_files(message: Message) -> Iterator[Part]:
    yield from message.attachments
    for inner in message.embedded:
        yield from _all_files(inner.message)


def _judge(part: Part) -> Iterator[Risk]:
    name = part.name or ""
    plain = _TURNED.sub("", name).strip(" .")
    extension, shown = get_extension(plain), show(name) if name else "a file without a name"
    if part.detected_type in EXECUTABLES and extension not in _HONEST:
        yield Risk(code=RiskCode.EXECUTABLE, detail=f"{shown} is {part.detected_type}")
    elif extension in _RUN and _is_disguised(name, plain):
        yield Risk(code=RiskCode.EXECUTABLE, detail=f"{shown} ends in .{extension}")
    look = _look(part)
    if part.detected_type in _ARCHIVES and extension not in _HONEST:
        inside = next((each for each in look.table.names if get_extension(each.strip()) in _IN_ARCHIVE), None)
        if inside is not None:
            yield Risk(code=RiskCode.EXECUTABLE, detail=f"{shown} holds {show(inside)}")
    if look.macros and extension not in _MACRO_NAMES:
        yield Risk(code=RiskCode.MACRO, detail=shown)
    if look.table.protected:
        yield Risk(code=RiskCode.PASSWORD, detail=shown)


def _is_disguised(name: str, plain: str) -> bool:
    """Returns whether a name that ends like a program's looks like another file's."""
    stem = plain[: plain.rfind(".")].rstrip()
    turned = _TURNED.search(name) is not None
    return turned or _GAP.search(name) is not None or get_extension(stem) in _HARMLESS


def _look(part: Part) -> _Look:
    """A look at the octets of a file that may be an archive or hold macros."""
    front = part.look()
    is_ole, is_zip = front.startswith(_OLE), front.startswith(b"PK\x03\x04")
    if not (is_ole or is_zip or front.startswith((b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"))):
        return _Look(table=Table())
    chunks = part.chunks()
    first = next(chunks, b"")
    tail, size, macros, sealed = b"", 0, False, False
    chunk = first
    while chunk:
        size += len(chunk)
        window = tail[-64:] + chunk if is_ole else b""
        macros |= is_ole and _VBA in window
        sealed |= is_ole and _ENCRYPTED in window
        tail = (tail + chunk)[-TAIL_BYTES:]
        chunk = next(chunks, b"")
    if is_ole:
        return _Look(table=Table(protected=sealed), macros=macros)
    if is_zip:
        table = read_zip(first[:HEAD_BYTES], tail, size)
        names = [each.lower() for each in table.names]
        macros = any(each.endswith("vbaproject.bin") or each.startswith("basic/standard/") for each in names)
        return _Look(table=table, macros=macros)
    if first.startswith(b"Rar!"):
        return _Look(table=Table(protected=is_rar_protected(first[:HEAD_BYTES])))
    return _Look(table=Table(protected=is_seven_zip_protected(first, tail, size)))
