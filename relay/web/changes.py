"""The changes that a person makes by the page: retry, hold, release, drop.

Owns the form's reading. A change must come from a form of this page, and a drop must be confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, get_args
from urllib.parse import parse_qsl, quote

from aiohttp import web
from multidict import MultiDict

from relay.spool.action import check_reason
from relay.web.forms import read_form
from relay.web.search import read_query, write_query
from relay.web.shell import ANSWER_SECONDS, Shell, caller_of
from relay.web.view import Acted, Action

_ACTIONS: Final[dict[str, Action]] = {action: action for action in get_args(Action)}
#: Mails that one form changes: more than the list shows before it goes on.
MOST_CHANGED: Final = 500
#: Reasons for which mails were left that are told.
_MOST_REASONS = 3
_DONE: Final = {
    "retry": "It is tried again now.",
    "hold": "It is held until somebody releases it.",
    "release": "It goes on.",
    "drop": "It was dropped: nothing more is done with it.",
}
_DONE_TO_MANY: Final = {"retry": "tried again now", "hold": "held", "release": "released", "drop": "dropped"}


class Changes:
    """The handlers of changes."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses with their handlers."""
        return [
            web.post("/mails/{reference}/change", self.change),
            web.post("/change", self.change_chosen),
        ]

    async def change(self, request: web.Request) -> web.Response:
        """Change one entry, and lead to its page, which says what was done; to the list if it is gone."""
        reference = request.match_info["reference"]
        form = await read_form(self._shell, request)
        action, acted = await self._act(request, form, [reference])
        is_gone = action == "drop" and bool(acted.changed)
        place = "/" if is_gone else f"/mails/{quote(reference, safe='.')}"
        raise web.HTTPSeeOther(f"{place}?{self._fields(form, _outcome(action, acted))}")

    async def change_chosen(self, request: web.Request) -> web.Response:
        """Change the entries that were chosen in the list, and lead back to it."""
        form = await read_form(self._shell, request)
        references = list(dict.fromkeys(form.getall("reference", ())))
        if not 0 < len(references) <= MOST_CHANGED:
            raise web.HTTPBadRequest(text=f"Choose from 1 to {MOST_CHANGED} mails of the list.")
        action, acted = await self._act(request, form, references)
        raise web.HTTPSeeOther(f"/?{self._fields(form, _outcome_of_many(action, acted))}")

    async def _act(
        self, request: web.Request, form: MultiDict[str], references: Sequence[str]
    ) -> tuple[Action, Acted]:
        """Change entries as a form asks. Returns the change and its outcome."""
        caller = caller_of(request)
        if not caller.actions:
            raise web.HTTPForbidden(text="This page changes nothing (web.actions).")
        action = _ACTIONS.get(form.get("action", ""))
        if action is None:
            raise web.HTTPBadRequest(text=f"action is one of {', '.join(_ACTIONS)}.")
        if action == "drop" and form.get("confirm") != "yes":
            raise web.HTTPBadRequest(text="Confirm the drop: the mail becomes no contact after it.")
        try:
            reason = check_reason(" ".join(form.get("reason", "").split()))
        except ValueError as exc:
            raise web.HTTPBadRequest(text=f"The reason {exc}.") from exc
        async with asyncio.timeout(ANSWER_SECONDS):
            acted = await self._shell.view.act(action, references, actor=caller.name, reason=reason)
        return action, acted

    def _fields(self, form: MultiDict[str], sentence: str) -> str:
        """The fields of the page that follows: the list as it was asked for, and the sentence to be told."""
        said = f"said={self._shell.notes.keep(sentence)}"
        asked = _asked(form.get("asked", ""))
        return f"{asked}&{said}" if asked else said


def _outcome(action: Action, acted: Acted) -> str:
    if acted.changed:
        return _DONE[action]
    return " ".join(why for _, why in acted.left) or "The entry is not there any more."


def _outcome_of_many(action: Action, acted: Acted) -> str:
    number = len(acted.changed)
    told = f"{number:,} {'mail was' if number == 1 else 'mails were'} {_DONE_TO_MANY[action]}."
    if not acted.left:
        return told
    reasons = list(dict.fromkeys(why for _, why in acted.left))
    more = " …" if len(reasons) > _MOST_REASONS else ""
    return f"{told} {len(acted.left):,} left as before: {' '.join(reasons[:_MOST_REASONS])}{more}"


def _asked(query: str) -> str:
    """The fields of the list around a mail, written anew; "" where they mean nothing."""
    try:
        return write_query(read_query(MultiDict(parse_qsl(query, max_num_fields=50))))
    except ValueError:
        return ""
