r"""The file names that Connect is given: cleaned, with an extension, unique.

Owns cleaning, extensions and uniqueness of names. Never does I/O, and never makes an S3 key of a name.
FileName of the service model: 1 to 256 characters, pattern `^\P{C}*$`: no control, invisible, private,
unassigned character. Names come from strangers: paths, reserved words and look-alike endings are undone.
"""

from __future__ import annotations

import re
import unicodedata

from relay.contact.characters import count_utf16, cut_utf16, is_category_c
from relay.contact.limits import FILE_NAME_CHARACTERS

# A path rather than a name with a slash in it ("C:\Users\..." from Outlook Express, "../../etc/passwd").
_PATH = re.compile(r"^(?:[A-Za-z]:[\\/]|[\\/]|\.{1,2}[\\/])")
_SEPARATORS = re.compile(r"[\\/]+")
_SPACES = re.compile(r"\s+")
_EXTENSION = re.compile(r"\.([A-Za-z0-9_-]{1,10})$")
# Device names of Windows, which cannot be saved there, with or without an extension.
_DEVICE = re.compile(r"(?i)^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)")

# Characters of a name that are cleaned, far more than are kept; the middle of a longer name is dropped
# unseen.
_LONGEST = 1_024

#: The usual extension of a type. The first group is declared by senders, and recognised by content.
EXTENSION_OF_TYPE = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/calendar": "ics",
    "text/vcard": "vcf",
    "text/x-vcard": "vcf",
    "text/xml": "xml",
    "application/xml": "xml",
    "application/json": "json",
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
    "application/gzip": "gz",
    "application/ms-tnef": "dat",
    "application/pkcs7-signature": "p7s",
    "application/x-pkcs7-signature": "p7s",
    "application/pkcs7-mime": "p7m",
    "application/x-pkcs7-mime": "p7m",
    "application/pgp-signature": "asc",
    "application/pgp-keys": "asc",
    "message/rfc822": "eml",
    "message/global": "eml",
    "message/delivery-status": "txt",
    "message/disposition-notification": "txt",
    "message/feedback-report": "txt",
    "text/rfc822-headers": "txt",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/pjpeg": "jpg",
    "image/png": "png",
    "image/x-png": "png",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/webp": "webp",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/svg+xml": "svg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/amr": "amr",
    "audio/ogg": "ogg",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/3gpp": "3gp",
}  # fmt: skip

# AppleDouble (RFC 1740): a Macintosh's metadata of a file, sent under the file's name just before it.
_RESOURCE_FORK = "application/applefile"

# Types of plain text whose own extension no instance takes: ".txt" is added.
_TEXT_EXTENSIONS = frozenset({"asc", "cfg", "conf", "diff", "ini", "log", "md", "patch", "text"})


def get_extension(name: str) -> str:
    """The extension in lower case without its dot; "" when the name has none."""
    found = _EXTENSION.search(name)
    return found.group(1).lower() if found and found.start() > 0 else ""


def clean_name(name: str) -> str:
    """The name without path, control and invisible characters, in NFC; "" when nothing is left."""
    if len(name) > _LONGEST:
        # Accents of a run are bounded: canonical ordering is quadratic in them, and a header may hold a
        # megabyte.
        name = name[: _LONGEST - 32] + name[-32:]
    name = unicodedata.normalize("NFC", name)
    name = _SPACES.sub(" ", name).replace("\x00", "")
    if any(map(is_category_c, name)):
        name = "".join(_replace(char) for char in name)
    name = name.strip()
    if _PATH.match(name):
        name = next((piece for piece in reversed(_SEPARATORS.split(name)) if piece.strip(". ")), "")
    name = _SEPARATORS.sub("_", name)
    name = name.strip(" ").rstrip(".").strip(" ")
    name = _DEVICE.sub(lambda device: f"_{device.group()}", name)
    # Characters that now stand side by side may compose (RFC 5198 §3).
    return unicodedata.normalize("NFC", name)


def _replace(char: str) -> str:
    """The replacement of a character: nothing for an invisible one, an underscore for others."""
    category = unicodedata.category(char)
    if category in ("Cf", "Cc"):
        return ""
    return "_" if category[0] == "C" else char


def complete_extension(name: str, *, declared: str, detected: str | None, allowed: frozenset[str]) -> str:
    """The name with an extension that fits its type; an extension that the instance takes is never
    changed.
    """
    if declared == _RESOURCE_FORK:
        return f"{name}.rsrc"
    extension = get_extension(name)
    if extension in allowed:
        return name
    by_content = EXTENSION_OF_TYPE.get(detected or "", "")
    by_declaration = EXTENSION_OF_TYPE.get(declared, "")
    if not extension:
        wanted = by_content or by_declaration or "bin"
    elif by_content in allowed and by_content != "txt":
        wanted = by_content  # "scan.tmp" that begins with %PDF-
    elif extension in _TEXT_EXTENSIONS and declared == "text/plain":
        wanted = "txt"
    else:
        return name
    return f"{name}.{wanted}"


def cut_name(name: str, limit: int = FILE_NAME_CHARACTERS) -> str:
    """The name within `limit` UTF-16 units, its extension kept."""
    if count_utf16(name) <= limit:
        return name
    extension = get_extension(name)
    if not extension:
        return cut_utf16(name, limit)
    ending = name[len(name) - len(extension) - 1 :]
    return cut_utf16(name[: -len(ending)], limit - len(ending)) + ending


def make_unique(name: str, taken: dict[str, int]) -> str:
    """The name, or the name with "-2", "-3" before its extension, compared without case.

    `taken` is the memory between calls: begin with an empty one.
    """
    candidate = name
    if name.casefold() not in taken:
        taken[name.casefold()] = 1
        return name
    extension = get_extension(name)
    ending = name[len(name) - len(extension) - 1 :] if extension else ""
    # The next number of a family of names, for a mail with a thousand files of one name.
    family = f"{name[: len(name) - len(ending)][: FILE_NAME_CHARACTERS // 2]}\0{ending}".casefold()
    number = taken.get(family, 1)
    while candidate.casefold() in taken:
        number += 1
        suffix = f"-{number}{ending}"
        stem = cut_utf16(name[: len(name) - len(ending)], FILE_NAME_CHARACTERS - len(suffix), mark="")
        candidate = stem + suffix
    taken[family] = number
    taken[candidate.casefold()] = 1
    return candidate
