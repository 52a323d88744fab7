"""The page as an application: mails in any state, live, for a person at a browser.

Owns the routes and the answer to each mistake: a sentence, never a traceback. The mails come by a `PageView`,
the person by an `Access`, the parts that only a sandbox has by `Extras`; the same page serves both homes.
More routes may be added to the application, such as an API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from relay.errors import SpoolError
from relay.web.access import Access
from relay.web.changes import Changes
from relay.web.extras import Extras
from relay.web.list_pages import ListPages
from relay.web.mail_pages import MailPages
from relay.web.node_pages import NodePages
from relay.web.responses import page
from relay.web.sandbox_pages import SandboxPages
from relay.web.shell import CALLER, Shell
from relay.web.static import StaticFiles
from relay.web.view import PageView

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Octets of a form: of the page's own, and of mails to try, as much as the sandbox takes.
_FORM_BYTES = 65_536
_TRY_BYTES = 60_000_000
_SENTENCES = {
    404: "There is no such page here.",
    405: "This page is not asked in this way.",
    413: "That is more than a form may hold.",
}


def build_page(view: PageView, *, access: Access, extras: Extras | None = None) -> web.Application:
    """The application that shows a spool to the people whom `access` lets in."""
    shell = Shell(view=view, access=access, extras=extras)
    open_routes = list(access.routes())
    application = web.Application(
        middlewares=[_guard(shell, frozenset(_path_of(each) for each in open_routes))],
        client_max_size=_FORM_BYTES if extras is None else _TRY_BYTES,
    )
    pages = ListPages(shell)
    application.add_routes(
        [*pages.routes(), *MailPages(shell).routes(), *Changes(shell).routes(), *open_routes]
    )
    if extras is not None:
        application.add_routes(SandboxPages(shell, extras).routes())
        if extras.has_nodes:
            application.add_routes(NodePages(shell, extras).routes())
    application.add_routes(StaticFiles().routes())
    application.on_response_prepare.append(_complete)
    application.on_shutdown.append(lambda _application: pages.marks.close())
    return application


def _path_of(route: web.AbstractRouteDef) -> str:
    assert isinstance(route, web.RouteDef), "Access.routes gives routes of handlers"
    return route.path


def _guard(shell: Shell, open_paths: frozenset[str]) -> Middleware:
    """The middleware that lets people in, and makes a page of each mistake."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        is_open = request.path in open_paths or request.path.startswith("/static/")
        try:
            if not is_open:
                request[CALLER] = await shell.access.admit(request)
            return await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400 or request.path.startswith("/api/"):
                raise
            return _mistake(exc.status, _sentence(exc), exc)
        except SpoolError as exc:
            return _mistake(503, f"The spool cannot be read now: {exc}")
        except TimeoutError:
            return _mistake(503, "The spool did not answer in time. The page asks again by itself.")

    return guard


def _sentence(exc: web.HTTPException) -> str:
    """The sentence that was given, or our own for what the server itself found wrong."""
    given = "" if exc.status == 413 else exc.text or ""  # aiohttp's own has a number, and no way out
    return _SENTENCES.get(exc.status, given) if given.startswith(f"{exc.status}:") or not given else given


def _mistake(status: int, sentence: str, cause: web.HTTPException | None = None) -> web.Response:
    answer = page("error.html", {"status": status, "sentence": sentence}, status=status)
    for name in ("WWW-Authenticate", "Allow", "Retry-After", "Set-Cookie"):
        for value in cause.headers.getall(name, ()) if cause else ():
            answer.headers.add(name, value)
    return answer


async def _complete(_request: web.Request, response: web.StreamResponse) -> None:
    """Give each response the fields that all have, the static files and redirects too."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-cache")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
