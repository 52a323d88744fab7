"""The sandbox's page: each contact as an agent would see it, for a person at a browser.

Owns the templates and what they are given. Everything that a mail brought is shown escaped (the templates
escape by default), its HTML in a frame where no script runs and no remote image loads, its files as
downloads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from aiohttp import web

from relay.sandbox.contacts import Contact
from relay.sandbox.view import SandboxView

_PAGES = Path(__file__).parent / "pages"
#: Newest contacts that the list shows at once.
ROWS = 200
#: Types that a browser may draw; everything else is a download, whatever the mail said it was.
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,  # a srcdoc frame inherits it: no script of a mail, no remote image
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Page:
    """The handlers of the page."""

    def __init__(self, box: SandboxView) -> None:
        self._box = box
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_PAGES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.filters["octets"] = octets

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses of the page with their handlers."""
        return [
            web.get("/", self.home),
            web.get("/contacts/{contact_id}", self.contact),
            web.get("/contacts/{contact_id}/attachments/{number:[0-9]+}", self.attachment),
            web.get("/rows", self.rows),
            web.static("/static", _PAGES / "static"),
        ]

    async def home(self, _request: web.Request) -> web.Response:
        """Answer with the list, and how to send a first mail."""
        return self._render(shown=None)

    async def contact(self, request: web.Request) -> web.Response:
        """Answer with the list, and one contact opened."""
        contact = self._box.book.get(request.match_info["contact_id"])
        if contact is None:
            raise web.HTTPFound("/")
        await self._box.settle(1.0)
        return self._render(shown=contact)

    async def rows(self, request: web.Request) -> web.Response:
        """Answer with the rows that are newer than a number; the page asks once a second."""
        after = request.query.get("after", "0")
        newest = self._box.book.newest(after=int(after) if after.isdigit() else 0, limit=ROWS)
        document = {
            "rows": [_row(contact) for contact in newest],
            "count": len(self._box.book),
            "faults": self._faults(),
        }
        return web.json_response(document, headers={"Cache-Control": "no-store"})

    async def attachment(self, request: web.Request) -> web.Response:
        """Answer with a file as S3 has it: pictures are drawn, everything else is saved."""
        contact = self._box.book.get(request.match_info["contact_id"])
        number = int(request.match_info["number"])
        if contact is None or number >= len(contact.attachments):
            raise web.HTTPNotFound
        file = contact.attachments[number]
        found = await self._box.s3.read(file.url)
        if found is None:
            raise web.HTTPNotFound(text="S3 does not have this file")
        body, content_type = found
        picture = content_type in _PICTURES
        headers = {
            **_HEADERS,
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": content_type if picture else "application/octet-stream",
            "Content-Disposition": f"{'inline' if picture else 'attachment'}; filename*=UTF-8''{quote(file.name)}",
        }
        return web.Response(body=body, headers=headers)

    def _render(self, *, shown: Contact | None) -> web.Response:
        newest = self._box.book.newest(after=0, limit=ROWS)
        text = self._templates.get_template("page.html").render(
            rows=[_row(contact) for contact in newest],
            count=len(self._box.book),
            last=self._box.book.last_number,
            faults=self._faults(),
            shown=None if shown is None else _details(shown),
            smtp=self._box.smtp,
            http=self._box.http_url,
        )
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    def _faults(self) -> str:
        """The faults in force, in a line; "" when there are none."""
        tables = self._box.chaos()
        return ", ".join(
            f"{name}.{fault} {share:g}"
            for name, table in tables.items()
            for fault, share in table.items()
            if share
        )


def _row(contact: Contact) -> dict[str, Any]:
    """A row of the list."""
    request = contact.request
    sender = request["FromEmailAddress"]
    return {
        "number": contact.number,
        "contact_id": contact.contact_id,
        "time": contact.received_at.astimezone().strftime("%H:%M:%S"),
        "sender": sender.get("DisplayName") or sender["EmailAddress"],
        "destination": request["DestinationEmailAddress"],
        "subject": _raw_message(request)["Subject"] or "(no subject)",
        "files": len(contact.attachments),
    }


def _details(contact: Contact) -> dict[str, Any]:
    """A contact opened."""
    request = contact.request
    message = _raw_message(request)
    additional = request.get("AdditionalRecipients", {})
    attributes = request.get("Attributes", {})
    prefix = next((key[: -len("spool_id")] for key in attributes if key.endswith("spool_id")), "relay_")
    return {
        **_row(contact),
        "received": contact.received_at.astimezone().strftime("%A %d %B %Y, %H:%M:%S %Z"),
        "address": request["FromEmailAddress"]["EmailAddress"],
        "name": request["FromEmailAddress"].get("DisplayName", ""),
        "to": [_address(address) for address in additional.get("ToAddresses", ())],
        "cc": [_address(address) for address in additional.get("CcAddresses", ())],
        "body": message["Body"],
        "html": message["ContentType"] == "text/html",
        "attachments": [
            {**file.document(), "number": number, "picture": _is_picture(file.name), "error": file.error}
            for number, file in enumerate(contact.attachments)
        ],
        "title": request.get("Name", ""),
        "description": request.get("Description", ""),
        "references": {
            f"{key} ({each['Type']})": each.get("Value", "")
            for key, each in request.get("References", {}).items()
        },
        "segments": dict(_flatten("", request.get("SegmentAttributes", {}))),
        "headers": message.get("Headers", {}),
        "attributes": attributes,
        "classification": attributes.get(f"{prefix}classification", ""),
        "adaptations": attributes.get(f"{prefix}adaptations", ""),
        "flow": request.get("ContactFlowId", ""),
        "related": request.get("RelatedContactId", ""),
        "request": json.dumps(_shortened(request), indent=2, ensure_ascii=False),
    }


def _raw_message(request: Mapping[str, Any]) -> Mapping[str, Any]:
    message: Mapping[str, Any] = request["EmailMessage"]["RawMessage"]
    return message


def _flatten(name: str, segments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each value of the segment attributes, under the path that leads to it."""
    for key, value in segments.items():
        if "ValueMap" in value:
            yield from _flatten(f"{name}{key}.", value["ValueMap"])
        else:
            yield f"{name}{key}", next(iter(value.values()), "")


def _address(address: Mapping[str, str]) -> str:
    name, spec = address.get("DisplayName", ""), address["EmailAddress"]
    return f"{name} <{spec}>" if name else spec


def _is_picture(name: str) -> bool:
    return name.lower().endswith((".png", ".jpg", ".jpeg", ".jfif", ".gif", ".webp"))


def _shortened(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request without most of its body, which is on the page already."""
    message = _raw_message(request)
    body = message["Body"]
    cut = body if len(body) <= 400 else f"{body[:400]}… ({len(body):,} characters in all)"
    email = {**request["EmailMessage"], "RawMessage": {**message, "Body": cut}}
    return {**request, "EmailMessage": email}


def octets(size: int | None) -> str:
    """A size for a person."""
    if size is None:
        return ""
    if size < 1_024:
        return f"{size} B"
    return f"{size / 1_024:.1f} KB" if size < 1_048_576 else f"{size / 1_048_576:.1f} MB"
