"""The forms that a browser sends: their fields, and whether the page made them.

Owns the answer to a form that is none: a sentence and 400. Never acts on one.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiDict, MultiDictProxy

from relay.web.shell import Shell, caller_of


async def post_fields(request: web.Request) -> MultiDictProxy[str | bytes | bytearray | web.FileField]:
    """The fields of the form that a request has, files among them; none where it has no form.

    Raises:
        web.HTTPBadRequest: it is no form, or in an encoding that nobody knows.
        web.HTTPRequestEntityTooLarge: it is larger than the application takes.
    """
    try:
        form = await request.post()
        for value in form.values():
            if isinstance(value, str):
                value.encode()  # UTF-7 may say a lone surrogate, which nothing behind this can write
    except (LookupError, ValueError, HttpProcessingError) as exc:  # aiohttp's own words
        raise web.HTTPBadRequest(text="This form cannot be read; it was not sent by the page.") from exc
    return form


async def read_form(shell: Shell, request: web.Request) -> MultiDict[str]:
    """The fields of a form that this page made, without its files.

    Raises:
        web.HTTPForbidden: another page made it.
        web.HTTPBadRequest: it is no form.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise web.HTTPForbidden(text="Another page sent this form.")
    form = await post_fields(request)
    fields = MultiDict((name, value) for name, value in form.items() if isinstance(value, str))
    if not shell.access.is_own_form(caller_of(request), fields.get("form_token", "")):
        raise web.HTTPForbidden(text="This form is not from here, or too old. Load the page again.")
    return fields
