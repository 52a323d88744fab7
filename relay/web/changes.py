"""The changes that a person makes by the page: retry, hold, release, drop.

Owns the form's reading. A change must come from a form of this page, and a drop must be confirmed.
"""

from __future__ import annotations

import asyncio
from typing import Final, get_args
from urllib.parse import parse_qsl, quote

from aiohttp import web
from multidict import MultiDict

from relay.spool.action import check_reason
from relay.web.search import read_query, write_query
from relay.web.shell import ANSWER_SECONDS, Shell, caller_of
from relay.web.view import Acted, Action

_ACTIONS: Final[dict[str, Action]] = {action: action for action in get_args(Action)}
_DONE: Final = {
    "retry": "It is tried again now.",
    "hold": "It is held until somebody releases it.",
    "release": "It goes on.",
    "drop": "It was dropped: nothing more is done with it.",
}


class Changes:
    """The handlers of changes."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses with their handlers."""
        return [web.post("/mails/{reference}/change", self.change)]

    async def change(self, request: web.Request) -> web.Response:
        """Change one entry, and lead to its page, which says what was done."""
        form = await read_form(self._shell, request)
        caller = caller_of(request)
        if not caller.actions:
            raise web.HTTPForbidden(text="This page changes nothing (web.actions).")
        action = _ACTIONS.get(form.get("action", ""))
        if action is None:
            raise web.HTTPBadRequest(text=f"action is one of {', '.join(_ACTIONS)}.")
        if action == "drop" and form.get("confirm") != "yes":
            raise web.HTTPBadRequest(text="Confirm the drop: the mail becomes no contact after it.")
        reference = request.match_info["reference"]
        try:
            reason = check_reason(" ".join(form.get("reason", "").split()))
        except ValueError as exc:
            raise web.HTTPBadRequest(text=f"The reason {exc}.") from exc
        async with asyncio.timeout(ANSWER_SECONDS):
            acted = await self._shell.view.act(action, [reference], actor=caller.name, reason=reason)
        said = self._shell.notes.keep(_outcome(action, acted))
        asked = _asked(form.get("asked", ""))
        fields = "&".join(each for each in (asked, f"said={said}") if each)
        raise web.HTTPSeeOther(f"/mails/{quote(reference, safe='.')}?{fields}")


async def read_form(shell: Shell, request: web.Request) -> MultiDict[str]:
    """The fields of a form that this page made.

    Raises:
        web.HTTPForbidden: another page made it.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise web.HTTPForbidden(text="Another page sent this form.")
    form = await request.post()
    fields = MultiDict((name, value) for name, value in form.items() if isinstance(value, str))
    if not shell.access.is_own_form(caller_of(request), fields.get("form_token", "")):
        raise web.HTTPForbidden(text="This form is not from here, or too old. Load the page again.")
    return fields


def _outcome(action: Action, acted: Acted) -> str:
    if acted.changed:
        return _DONE[action]
    return " ".join(why for _, why in acted.left) or "The entry is not there any more."


def _asked(query: str) -> str:
    """The fields of the list around a mail, written anew; "" where they mean nothing."""
    try:
        return write_query(read_query(MultiDict(parse_qsl(query, max_num_fields=50))))
    except ValueError:
        return ""
