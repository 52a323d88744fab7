"""A mail opened: its words as the agent sees them, its original, its files, and all that is known of it."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from relay.spool.model import DROPPABLE, HOLDABLE, RELEASABLE, RETRIABLE, State
from relay.web.extras import ContactFile
from relay.web.frame import MOST_PICTURES, Frame, build_frame, content_ids
from relay.web.pictures import drawable_type
from relay.web.responses import download, frame, page, picture
from relay.web.search import write_query
from relay.web.shell import ANSWER_SECONDS, Shell, caller_of, query_of
from relay.web.view import Action, Content, MailView, ReadPart

#: The sides of a mail, each with its own address.
SIDES: Final = {
    "message": "Message",
    "text": "Text",
    "headers": "Headers",
    "parts": "Parts",
    "request": "Request",
    "transcript": "SMTP",
}
#: Characters of text on the page; the original has all.
TEXT_CHARACTERS: Final = 300_000
#: Header fields on the page, and characters of each.
HEADER_FIELDS: Final = 1_000
_CONTENT_SECONDS: Final = 30.0
#: Frames that are kept until they are asked for; each has ten megabytes at most.
_MOST_FRAMES: Final = 4
_CHANGES: Final[Mapping[Action, tuple[State, ...]]] = {
    "retry": RETRIABLE,
    "hold": HOLDABLE,
    "release": RELEASABLE,
    "drop": DROPPABLE,
}


class MailPages:
    """The handlers of one mail."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        #: The frames of the mails opened last: the page tells what a frame leaves out, then asks for it.
        self._frames: OrderedDict[str, Frame] = OrderedDict()

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses with their handlers."""
        mail = "/mails/{reference}"
        return [
            web.get(mail, self.mail),
            web.get(f"{mail}/body", self.body),
            web.get(f"{mail}/original", self.original),
            web.get(f"{mail}/files/{{number:[0-9]{{1,6}}}}", self.file),
        ]

    async def mail(self, request: web.Request) -> web.Response:
        """Answer with the list and the mail, or with the mail alone (`part=mail`)."""
        query = query_of(request)
        side = request.query.get("side", "message")
        if side not in self._sides():
            raise web.HTTPBadRequest(text=f"side is one of {', '.join(self._sides())}.")
        mail = await self._mail(request, content=caller_of(request).content)
        values = {
            **await self._of(mail, side),
            **self._shell.person_values(request),
            "asked": write_query(query),
        }
        if request.query.get("part") == "mail":
            return page("mail.html", values)
        around = await self._shell.values(request, query)
        return page("list.html", {**around, **values, "shown": mail.row.reference})

    async def body(self, request: web.Request) -> web.Response:
        """Answer with the document of the mail's frame."""
        self._may_see(request)
        built = self._frames.pop(_reference(request), None)
        if built is None:
            mail = await self._mail(request, content=True)
            if mail.content is None:
                raise web.HTTPNotFound(
                    text=mail.no_content or "The words of this mail are not there any more."
                )
            if mail.content.content_type != "text/html":
                raise web.HTTPNotFound(text="This mail is shown as text.")
            built = await self._build(mail, mail.content)
        else:
            await self._note(request, "mail")
        return frame(built.document)

    async def original(self, request: web.Request) -> web.Response:
        """Answer with the mail as received, to be saved."""
        self._may_see(request)
        async with asyncio.timeout(_CONTENT_SECONDS):
            raw = await self._shell.view.original(_reference(request))
        if raw is None:
            raise web.HTTPNotFound(text="The original of this mail is not in the spool.")
        await self._note(request, "original")
        return download(raw, name=f"{_reference(request)}.eml", content_type="message/rfc822")

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file: a picture of a safe type is drawn, everything else is saved."""
        self._may_see(request)
        async with asyncio.timeout(_CONTENT_SECONDS):
            found = await self._shell.view.file(_reference(request), int(request.match_info["number"]))
        if found is None:
            raise web.HTTPNotFound(text="There is no such file in the spool.")
        await self._note(request, "file")
        file, octets = found
        kind = drawable_type(octets)
        if kind is None or "save" in request.query:
            return download(octets, name=file.name)
        return picture(octets, name=file.name, content_type=kind)

    async def _mail(self, request: web.Request, *, content: bool) -> MailView:
        async with asyncio.timeout(_CONTENT_SECONDS if content else ANSWER_SECONDS):
            mail = await self._shell.view.mail(_reference(request), content=content)
        if mail is None:
            raise web.HTTPNotFound(text="There is no such mail in the spool; it may have been removed.")
        # Of a mail that is gone, its request still has words.
        if mail.content is not None or (content and mail.request is not None):
            await self._note(request, "mail")
        return mail

    async def _note(self, request: web.Request, part: ReadPart) -> None:
        """Have the audit say who reads words of a mail, before they are given."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._shell.view.note_reading(_reference(request), part, reader=caller_of(request).name)

    def _may_see(self, request: web.Request) -> None:
        if not caller_of(request).content:
            raise web.HTTPForbidden(text="This page does not show the words of mails (web.content).")

    async def _pictures(self, mail: MailView, source: str) -> Mapping[str, str]:
        """The pictures that HTML shows by their Content-ID, as data URLs: the frame fetches nothing."""
        wanted = await asyncio.to_thread(content_ids, source) if mail.files else frozenset()
        found: dict[str, str] = {}
        room = MOST_PICTURES
        for file in mail.files:
            if file.content_id.lower() not in wanted or not 0 < file.size <= room:
                continue
            got = await self._shell.view.file(mail.row.reference, file.number)
            kind = got and drawable_type(got[1])
            if got and kind:
                room -= len(got[1])
                found[file.content_id.lower()] = f"data:{kind};base64,{base64.b64encode(got[1]).decode()}"
        return found

    async def _of(self, mail: MailView, side: str) -> dict[str, Any]:
        """The values of a mail on one of its sides."""
        extras, contact_id = self._shell.extras, mail.row.contact_id
        fetched: tuple[ContactFile, ...] = ()
        transcript = None
        if extras is not None and contact_id is not None:
            fetched = tuple(await extras.contact_files(contact_id))
        if extras is not None and side == "transcript":
            transcript = await extras.transcript_of(mail.row.reference)
        return {
            "mail": mail,
            "side": side,
            "sides": self._sides(),
            "frame": await self._frame_notes(mail) if side == "message" else {},
            "text_characters": TEXT_CHARACTERS,
            "header_fields": HEADER_FIELDS,
            "fetched": fetched,
            "transcript": transcript,
            "changes": tuple(name for name, states in _CHANGES.items() if mail.row.state in states),
        }

    def _sides(self) -> Mapping[str, str]:
        """The sides that this page has: transcripts are the sandbox's."""
        kept = self._shell.extras is not None
        return {key: name for key, name in SIDES.items() if kept or key != "transcript"}

    async def _frame_notes(self, mail: MailView) -> Mapping[str, Any]:
        """The things that the frame leaves out, to be told above it."""
        if mail.content is None or mail.content.content_type != "text/html":
            return {}
        built = await self._build(mail, mail.content)
        self._frames[mail.row.reference] = built
        if len(self._frames) > _MOST_FRAMES:
            self._frames.popitem(last=False)
        return {"cut": built.cut, "remote": built.remote}

    async def _build(self, mail: MailView, content: Content) -> Frame:
        pictures = await self._pictures(mail, content.body)
        return await asyncio.to_thread(build_frame, content.body, pictures=pictures)


def _reference(request: web.Request) -> str:
    return request.match_info["reference"]
