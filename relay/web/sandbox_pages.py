"""The pages that only a sandbox has: a mail to try, transcripts of sessions, faults as switches."""

from __future__ import annotations

from aiohttp import web

from relay.web.extras import Extras, TryFile, TryMail
from relay.web.forms import post_fields, read_form
from relay.web.responses import page
from relay.web.shell import Shell

_FAULT = "fault:"


class SandboxPages:
    """The handlers of a sandbox's pages."""

    def __init__(self, shell: Shell, extras: Extras) -> None:
        self._shell = shell
        self._extras = extras

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses with their handlers."""
        return [
            web.get("/try", self.try_form),
            web.post("/try", self.try_mail),
            web.get("/sessions", self.sessions),
            web.get("/sessions/{session_id}", self.session),
            web.get("/faults", self.faults),
            web.post("/faults", self.set_faults),
        ]

    async def try_form(self, request: web.Request) -> web.Response:
        """Answer with the form of a mail."""
        first = next((address for address, _ in self._extras.recipients()), "")
        mail = TryMail(
            sender="you@example.org",
            recipient=request.query.get("to", "")[:320] or first,
            subject="Where is my order?",
            body="Hello,\n\nwhere is it?\n",
        )
        return await self._try(request, mail=mail, tried=None, wrong="")

    async def try_mail(self, request: web.Request) -> web.Response:
        """Send the mail of the form, and answer with what came of it."""
        fields = await read_form(self._shell, request)
        form = await post_fields(request)
        files = tuple(
            TryFile(name=each.filename, content_type=each.content_type, body=each.file.read())
            for each in form.getall("files", ())
            if isinstance(each, web.FileField) and each.filename
        )
        mail = TryMail(
            sender=fields.get("sender", ""),
            recipient=fields.get("recipient", ""),
            subject=fields.get("subject", ""),
            body=fields.get("body", ""),
            files=files,
        )
        try:
            tried = await self._extras.try_mail(mail)
        except ValueError as exc:
            return await self._try(request, mail=mail, tried=None, wrong=str(exc), status=400)
        return await self._try(request, mail=mail, tried=tried, wrong="")

    async def _try(self, request: web.Request, *, status: int = 200, **values: object) -> web.Response:
        shared = await self._shell.values(request)
        return page("try.html", {**shared, **values, "recipients": self._extras.recipients()}, status=status)

    async def sessions(self, request: web.Request) -> web.Response:
        """Answer with the last sessions."""
        shared = await self._shell.values(request)
        return page("sessions.html", {**shared, "sessions": await self._extras.transcripts()})

    async def session(self, request: web.Request) -> web.Response:
        """Answer with the transcript of a session."""
        transcript = await self._extras.transcript(request.match_info["session_id"])
        if transcript is None:
            raise web.HTTPNotFound(text="This session is not among the last ones.")
        shared = await self._shell.values(request)
        return page("session.html", {**shared, "transcript": transcript})

    async def faults(self, request: web.Request) -> web.Response:
        """Answer with the switches of faults."""
        return await self._faults(request, wrong="")

    async def set_faults(self, request: web.Request) -> web.Response:
        """Set the faults of the form."""
        fields = await read_form(self._shell, request)
        values = {
            name.removeprefix(_FAULT): value for name, value in fields.items() if name.startswith(_FAULT)
        }
        try:
            await self._extras.set_faults({} if "end" in fields else values)
        except ValueError as exc:
            return await self._faults(request, wrong=str(exc), status=400)
        said = self._shell.notes.keep("The faults are set.")
        raise web.HTTPSeeOther(f"/faults?said={said}")

    async def _faults(self, request: web.Request, *, wrong: str, status: int = 200) -> web.Response:
        shared = await self._shell.values(request)
        faults = await self._extras.faults()
        return page("faults.html", {**shared, "faults": faults, "wrong": wrong}, status=status)
