"""The page's own style sheet, modules and icon.

Owns their octets, read once: a request opens no file. A browser keeps them, and asks whether they changed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from aiohttp import web

from relay.web.rendering import PAGES

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFiles:
    """The handler of the static files."""

    def __init__(self, folder: Path = PAGES / "static") -> None:
        self._files = {
            each.name: (each.read_bytes(), _TYPES[each.suffix])
            for each in folder.iterdir()
            if each.suffix in _TYPES
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        """The address of the files with its handler."""
        return [web.get("/static/{name}", self.file)]

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file, or with 304 where the browser has it.

        Raises:
            web.HTTPNotFound: there is no file of that name.
        """
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, content_type = found
        tag = hashlib.sha256(body).hexdigest()[:32]
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if any(each.value == tag for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)
