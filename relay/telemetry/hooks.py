"""The facts of the operator's own handlers: a refusal, a fault, a handler that holds everybody up.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all. `hook` is the handler as the configuration names it, `command` is MAIL, RCPT or DATA.
"""

from __future__ import annotations

from collections.abc import Collection

from relay.telemetry.current import current_log
from relay.telemetry.metrics import HOOK_FAILURES
from relay.vocabulary import Reply


def hook_refused(*, hook: str, command: str, spool_id: str, reply: Reply, again: bool) -> None:
    """A handler refused a sender, a recipient or a mail: the peer gets its reply. `again`: not among the
    first of its session.
    """
    log = current_log().debug if again else current_log().info
    log("hook.refused", hook=hook, command=command, spool_id=spool_id, reply=str(reply))


def hook_failed(*, hook: str, command: str, spool_id: str, why: str, error: BaseException | None) -> None:
    """A handler raised an exception, took too long, or gave an answer that is no reply: the peer gets 451."""
    HOOK_FAILURES.inc()
    traceback = {"exc_info": error} if error is not None else {}
    current_log().error("hook.failed", hook=hook, command=command, spool_id=spool_id, why=why, **traceback)


def hook_blocked(*, hook: str, command: str, spool_id: str, seconds: float) -> None:
    """A handler kept the event loop from turning: every session of this receiver stood still meanwhile."""
    current_log().warning(
        "hook.blocked", hook=hook, command=command, spool_id=spool_id, seconds=round(seconds, 3)
    )


def hook_overruled(*, hook: str, field: str) -> None:
    """A handler changed a field of the envelope that is not its own; the change is ignored, and told once."""
    current_log().warning("hook.overruled", hook=hook, field=field)


def hook_attributes_dropped(*, spool_id: str, names: Collection[str]) -> None:
    """Handlers set attributes that a contact cannot have; the mail goes on without them."""
    current_log().warning("hook.attributes_dropped", spool_id=spool_id, names=list(names))
