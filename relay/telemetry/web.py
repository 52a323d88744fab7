"""The facts of the page: where it is served, who signed in, and its requests.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all.
"""

from __future__ import annotations

from relay.telemetry.current import current_log
from relay.telemetry.metrics import WEB_LOGINS, WEB_REQUESTS

#: Characters of a name that are logged: a peer writes as many as it likes.
_LOGIN = 100


def web_opened(*, bind: str) -> None:
    """The page is served at this address."""
    current_log().info("web.opened", bind=bind)


def web_refused(*, why: str) -> None:
    """The page cannot be served now; it is tried again, and mail goes on without it."""
    current_log().error("web.refused", why=why)


def web_login(*, peer: str, login: str, good: bool | None) -> None:
    """The token of a name was looked at; None: it was not, because too many wrong ones came before."""
    WEB_LOGINS.labels("put-off" if good is None else "good" if good else "wrong").inc()
    if not good:
        log = current_log()
        (log.debug if good is None else log.warning)("web.login_refused", peer=peer, login=login[:_LOGIN])


def web_answered(*, status: int) -> None:
    """A request was answered; the page logs none of them, because a list that lives asks every moment."""
    WEB_REQUESTS.labels(f"{status // 100}xx").inc()
