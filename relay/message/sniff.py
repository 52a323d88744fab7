"""The type of a file by its first octets.

Owns the table of signatures: the kinds that mail carries and a contact centre looks at. Never guesses beyond
it.
"""

from __future__ import annotations

import re
from typing import Literal

_PE = "application/vnd.microsoft.portable-executable"
_MACH_O = "application/x-mach-binary"
#: Types of files that a machine executes when a person opens them.
EXECUTABLES = frozenset({
    _PE, _MACH_O, "application/x-dosexec", "application/x-elf", "application/java-vm", "application/wasm",
    "application/x-dex", "application/x-ms-shortcut", "text/x-script",
})  # fmt: skip

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"{\\rtf", "application/rtf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR", "audio/amr"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
    (b"\xfe\xed\xfa\xce", _MACH_O),
    (b"\xfe\xed\xfa\xcf", _MACH_O),
    (b"\xce\xfa\xed\xfe", _MACH_O),
    (b"\xcf\xfa\xed\xfe", _MACH_O),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),  # or Mach-O for several processors: a program, either way
    (b"\x00asm", "application/wasm"),
    (b"dex\n", "application/x-dex"),
    (
        b"L\x00\x00\x00\x01\x14\x02\x00",
        "application/x-ms-shortcut",
    ),  # [MS-SHLLINK] §2.1: a shortcut starts its target
    (b"#!", "text/x-script"),  # behind "#!AMR" above
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"%!PS", "application/postscript"),
    (b"BEGIN:VCARD", "text/vcard"),
    (b"-----BEGIN PGP", "application/pgp"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"<?xml", "application/xml"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__substg1.0_", "application/vnd.ms-outlook"),
)
_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_ZIP_ENTRIES = (
    (b"word/document", _OPEN_XML + "wordprocessingml.document"),
    (b"xl/workbook", _OPEN_XML + "spreadsheetml.sheet"),
    (b"ppt/presentation", _OPEN_XML + "presentationml.presentation"),
)
_BRANDS = {
    b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic", b"hevc": "image/heic", b"avif": "image/avif",
    b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"3gp4": "video/3gpp", b"3gp5": "video/3gpp",
}  # fmt: skip
_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3]..\x08(.{4})", re.DOTALL)
#: RFC 5545 §3.4; names are compared without case (§2), and some programs put a byte order mark before it.
_CALENDAR = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]{0,16}BEGIN:VCALENDAR\b", re.IGNORECASE)
_HTML = re.compile(
    rb"\s*(?:<!--.{0,200}-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)


def measure_picture(octets: bytes) -> tuple[int, int] | None:
    """The width and height of a GIF, PNG, BMP or JPEG. Returns None for other octets."""
    if octets.startswith((b"GIF87a", b"GIF89a")):
        return _pair(octets[6:10], "little")
    if octets.startswith(b"\x89PNG\r\n\x1a\n"):
        return _pair(octets[16:24], "big")
    if octets.startswith(b"BM") and len(octets) >= 26:
        return _pair(octets[18:26], "little")
    if octets.startswith(b"\xff\xd8"):
        # ITU-T T.81 §B.2.2: the frame's header has the height first.
        frame = _JPEG_FRAME.search(octets)
        return None if frame is None else _pair(frame[1], "big")
    return None


def _pair(octets: bytes, order: Literal["little", "big"]) -> tuple[int, int] | None:
    half = len(octets) // 2
    if not half:
        return None
    return int.from_bytes(octets[:half], order), int.from_bytes(octets[half:], order)


def detect_type(first: bytes) -> str | None:
    """The media type that the first octets (at most a chunk) show. Returns None for an unknown signature."""
    start = first[:8]
    if start.startswith(b"PK\x03\x04"):
        return _detect_zip(first)
    if first.startswith(_OLE):
        return next((kind for name, kind in _OLE_STREAMS if name.encode("utf-16-le") in first), None)
    if first[4:8] == b"ftyp":
        return _BRANDS.get(first[8:12], "video/mp4")
    if start[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(first[8:12])
    if start[:2] == b"BM" and first[6:10] == b"\0\0\0\0":
        return "image/bmp"
    if start[:2] in (b"MZ", b"ZM") and b"\0" in first[2:64]:  # text that begins so has no NUL
        return _detect_dos(first)
    if start[:1] == b"\xff" and len(start) > 1 and start[1] & 0xE6 == 0xE2:
        return "audio/mpeg"
    for signature, kind in _SIGNATURES:
        if first.startswith(signature):
            return kind
    return _detect_text(first)


def _detect_text(first: bytes) -> str | None:
    if _CALENDAR.match(first) is not None:
        return "text/calendar"
    return "text/html" if _HTML.match(first, 0, 512) else None


def _detect_dos(first: bytes) -> str:
    """The type of a program: Windows where the header at e_lfanew says so (PE format, "MS-DOS stub"), else
    DOS or older Windows.
    """
    at = int.from_bytes(first[60:64], "little")
    # A header that lies beyond the octets we see still belongs to a Windows program.
    return _PE if first[at : at + 4] == b"PE\0\0" or at > len(first) - 4 else "application/x-dosexec"


def _detect_zip(first: bytes) -> str:
    # ODF and EPUB state their type in the first, stored entry (OASIS ODF 1.2 part 3 §3.3).
    if first[30:38] == b"mimetype":
        stated = re.match(rb"[a-z]+/[a-z0-9.+-]{1,80}", first[38:130])
        if stated is not None:
            return stated[0].split(b"PK")[0].decode("ascii")
    return next((kind for name, kind in _ZIP_ENTRIES if name in first), "application/zip")
