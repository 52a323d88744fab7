"""The responses of the page, each under the policy that its content deserves.

Owns the fields of the responses' headers. The page runs its own scripts only; the HTML of a mail runs nothing
and fetches nothing, in a frame of its own origin; a file is saved, or drawn if it is a picture that any
browser draws safely. Follows Content Security Policy Level 3 and RFC 6266.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web

from relay.web.rendering import render

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: The frame's origin is nobody's. A link opens a tab which is free of the sandbox, and knows nothing of us.
FRAME_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
#: Characters of a file's name that are offered to whoever saves it.
_NAME_CHARACTERS = 150


def page(template: str, values: Mapping[str, Any], *, status: int = 200) -> web.Response:
    """A document of the page."""
    headers = {**_COMMON, "Content-Security-Policy": PAGE_POLICY}
    return web.Response(
        body=render(template, values),
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers=headers,
    )


def frame(document: str) -> web.Response:
    """The document of a mail's frame."""
    headers = {**_COMMON, "Content-Security-Policy": FRAME_POLICY}
    body = document.encode("utf-8", "replace")
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


def download(body: bytes, *, name: str, content_type: str = "application/octet-stream") -> web.Response:
    """A file to be saved."""
    return _file(body, name=name, content_type=content_type, disposition="attachment")


def picture(body: bytes, *, name: str, content_type: str) -> web.Response:
    """A picture to be drawn."""
    return _file(body, name=name, content_type=content_type, disposition="inline")


def _file(body: bytes, *, name: str, content_type: str, disposition: str) -> web.Response:
    safe = safe_name(name)
    plain = "".join(each if each.isascii() and each not in '"\\%' else "_" for each in safe)
    headers = {
        **_COMMON,
        "Content-Security-Policy": FILE_POLICY,
        "Content-Disposition": f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}",
    }
    return web.Response(body=body, content_type=content_type, headers=headers)


def safe_name(name: str) -> str:
    """A name under which a file can be saved: no folder, no control or format character (which may turn the
    order of letters, so that `exe.fdp` reads as `pdf.exe`), no dot in front.
    """
    shown = "".join(
        "_" if each in '/\\:*?"<>|' else each
        for each in name[: 4 * _NAME_CHARACTERS]
        if unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    )
    shown = " ".join(shown.split()).lstrip(". ")
    if len(shown) > _NAME_CHARACTERS:
        stem, dot, extension = shown.rpartition(".")
        tail = f"{dot}{extension}" if dot and len(extension) <= 12 else ""
        shown = (stem if tail else shown)[: _NAME_CHARACTERS - len(tail)] + tail
    return shown.rstrip(". ") or "file"
