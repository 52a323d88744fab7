"""The words of the log and the metrics: one function for each fact, which writes the event and moves the metric.

Owns structlog and the exposition of `metrics`. Never logs a body, and never a subject at INFO; values that a peer chose
are disarmed before they are rendered: one event is one line, and no terminal obeys it. Events are dotted, past tense, noun first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import structlog
from prometheus_client import generate_latest

from relay.telemetry.log import configure_logs
from relay.telemetry.metrics import (
    ADAPTATIONS,
    ALARMS,
    BY_DISPOSITION,
    DELIVERIES,
    DELIVERY_FAILURES,
    DUPLICATES,
    GATE_CLOSED,
    HANDSHAKES_FAILED,
    INTAKE_CLOSED,
    LOGINS_REFUSED,
    RECEIVED_BYTES,
    RECIPIENTS_REFUSED,
    ROUTES_HELD,
    SERVICES_AWAY,
    SESSIONS,
    SESSIONS_REFUSED,
    SPOOL_DISK_FULL,
    SPOOL_MESSAGES,
    SPOOL_OLDEST,
    SPOOL_SICK,
    TRANSACTIONS_ABORTED,
)
from relay.vocabulary import Disposition, Reply

if TYPE_CHECKING:
    from relay.errors import RemoteError
    from relay.spool.model import Entry, QueueState
    from relay.vocabulary import AlarmKind

Outcome = Literal["done", "deferred", "held", "buried", "lost"]

_log: Any = structlog.get_logger()


def configure(log_format: str = "auto", level: str = "info", *, process: str = "") -> None:
    """Set how the log looks; see `relay.telemetry.log.configure_logs`."""
    configure_logs(log_format, level)
    # Bound once: a lazy logger would be bound anew for each of a session's lines.
    globals()["_log"] = structlog.get_logger().bind(**({"process": process} if process else {}))


def current_log() -> Any:
    """The log as `configure` set it, for the facts of other modules."""
    return _log


def exposition() -> str:
    """The metrics of this process in Prometheus's text format."""
    return generate_latest().decode()


def config_reloaded(*, sentences: Sequence[str] = ()) -> None:
    """SIGHUP: the new configuration is in force, or the old one stays and these sentences say why."""
    if sentences:
        _log.error("config.refused", why=list(sentences))
    else:
        _log.info("config.reloaded")


def admin_opened(*, bind: str) -> None:
    """Health and metrics are to be had at this address."""
    _log.info("admin.opened", bind=bind)


def admin_refused(*, why: str) -> None:
    """Health and metrics cannot be had; mail goes on without them."""
    _log.error("admin.refused", why=why)


def listener_awaited(*, bind: str, seconds: float) -> None:
    """Its port is taken: by receivers of a killed relay that have yet to see its end, or by another program."""
    _log.warning("listener.awaited", bind=bind, seconds=seconds)


def listener_opened(*, bind: str, role: str, protocol: str, tls: str) -> None:
    """Mail can come in at this address."""
    _log.info("listener.opened", bind=bind, role=role, protocol=protocol, tls=tls)


def session_opened(*, peer: str, listener: str) -> None:
    """A peer connected."""
    SESSIONS.inc()
    _log.debug("session.opened", peer=peer, listener=listener)


def session_closed(*, peer: str, listener: str, why: str, seconds: float) -> None:
    """A session ended, and why."""
    SESSIONS.dec()
    _log.debug("session.closed", peer=peer, listener=listener, why=why, seconds=round(seconds, 3))


def recipient_refused(*, peer: str, forward_path: str, reply: Reply, spool_id: str, again: bool) -> None:
    """A RCPT got no 250; `spool_id` is the transaction's, as it stands in the reply. `again`: a session's further ones."""
    RECIPIENTS_REFUSED.labels(str(reply.code)).inc()
    log = _log.debug if again else _log.info
    log("recipient.refused", spool_id=spool_id, peer=peer, forward_path=forward_path, reply=str(reply))


def command_refused(*, peer: str, reply: Reply, reference: str, again: bool) -> None:
    """A command got a 5yz; `reference` stands in the reply. `again`: a session's further ones, or logged already."""
    log = _log.debug if again else _log.info
    log("command.refused", spool_id=reference, peer=peer, reply=str(reply))


def session_refused(
    *, peer: str, listener: str, reply: Reply, again: bool, reference: str | None = None
) -> None:
    """A peer was sent away at the door, or in the middle of a session; `again`: it was told so a moment ago.

    `reference` stands in the reply where that is a 5yz.
    """
    SESSIONS_REFUSED.labels(reply.enhanced).inc()
    log = _log.debug if again else _log.info
    named = {"spool_id": reference} if reference is not None else {}
    log("session.refused", peer=peer, listener=listener, reply=str(reply), **named)


def proxy_refused(*, peer: str, listener: str, reason: str) -> None:
    """A listed proxy sent no readable header ("malformed"), or none in time ("late")."""
    _log.warning("proxy.refused", peer=peer, listener=listener, reason=reason)


def login_refused(*, peer: str, login: str, unseen: bool = False) -> None:
    """AUTH with a wrong login or password; `unseen`: one of too many, put off before it was looked at."""
    LOGINS_REFUSED.inc()
    (_log.debug if unseen else _log.warning)("login.refused", peer=peer, login=login, unseen=unseen)


def handshake_failed(*, peer: str, listener: str, reason: str) -> None:
    """TLS did not come about; `reason` is the error's class."""
    HANDSHAKES_FAILED.inc()
    _log.info("handshake.failed", peer=peer, listener=listener, reason=reason)


def transaction_aborted(*, spool_id: str, peer: str, size: int, why: str) -> None:
    """A peer went away, or was sent away, before its mail was whole: nothing was kept."""
    TRANSACTIONS_ABORTED.inc()
    _log.info("transaction.aborted", spool_id=spool_id, peer=peer, size=size, why=why)


def commit_late(*, spool_id: str, seconds: float, stored: bool) -> None:
    """A commit ended after its peer was told to try again; a stored mail is recognised when it comes again."""
    _log.warning("commit.late", spool_id=spool_id, seconds=round(seconds, 3), stored=stored)


def gate_moved(*, closed: bool, reason: str) -> None:
    """New sessions are sent away from now on, or no longer, and why."""
    GATE_CLOSED.set(closed)
    SPOOL_SICK.set(closed and reason == "spool")
    (_log.warning if closed else _log.info)("gate.closed" if closed else "gate.opened", reason=reason)


def intake_moved(*, problem: str) -> None:
    """No mail can come in by this process from now on, and why; or it can again."""
    INTAKE_CLOSED.set(bool(problem))
    if problem:
        _log.warning("intake.closed", why=problem)
    else:
        _log.info("intake.opened")


def certificate_loaded(*, path: str) -> None:
    """New handshakes use this certificate."""
    _log.info("certificate.loaded", path=path)


def certificate_refused(*, path: str, why: str) -> None:
    """The files of a certificate changed and could not be read; the one before stays in force."""
    _log.error("certificate.refused", path=path, why=why)


def transaction_ended(
    *,
    disposition: Disposition,
    reply: Reply,
    spool_id: str,
    message_id: str | None,
    reverse_path: str | None,
    destinations: Sequence[str],
    peer: str,
    helo: str | None,
    protocol: str,
    tls: str | None,
    size: int,
    seconds: float,
    duplicate: bool = False,
    repairs: Sequence[str] = (),
) -> None:
    """The one line of a transaction: what came, from whom, for whom, and what was answered."""
    BY_DISPOSITION[disposition].inc()
    if disposition is Disposition.ACCEPT:
        RECEIVED_BYTES.inc(size)
        if duplicate:
            DUPLICATES.inc()
    more: dict[str, Any] = {}
    if duplicate:
        more["duplicate"] = True
    if repairs:
        more["repairs"] = list(repairs)
    _log.info(
        _ENDED[disposition],
        spool_id=spool_id,
        message_id=message_id,
        reverse_path=reverse_path or "<>",
        destinations=list(destinations),
        peer=peer,
        helo=helo,
        protocol=protocol,
        tls=tls,
        size=size,
        reply=str(reply),
        seconds=round(seconds, 4),
        **more,
    )


_ENDED = {
    Disposition.ACCEPT: "transaction.accepted",
    Disposition.QUARANTINE: "transaction.quarantined",
    Disposition.DEFER: "transaction.deferred",
    Disposition.REJECT: "transaction.rejected",
}


def delivery_attempted(
    *,
    entry: Entry,
    outcome: Outcome,
    seconds: float,
    reason: str = "",
    detail: str = "",
    contact_id: str | None = None,
    adaptations: Sequence[str] = (),
    next_attempt_at: str | None = None,
    error: RemoteError | None = None,
) -> None:
    """The one line of a delivery attempt: which mail, where to, what came of it, and whose error it was."""
    DELIVERIES.labels(outcome).inc()
    if error is not None:
        DELIVERY_FAILURES.labels(error.service, error.failure).inc()
    for code in adaptations:
        ADAPTATIONS.labels(code).inc()
    fields: dict[str, Any] = {
        **_about(entry),
        "route": entry.destination.route,
        "outcome": outcome,
        "attempt": entry.attempts,
        "rung": str(entry.rung),
        "contact_id": contact_id,
        "seconds": round(seconds, 4),
    }
    if reason:
        fields |= {"reason": reason, "detail": detail}
    fields |= {"next_attempt_at": next_attempt_at} if next_attempt_at else {}
    fields |= {"adaptations": list(adaptations)} if adaptations else {}
    level = {"done": _log.info, "deferred": _log.warning}.get(outcome, _log.error)
    if reason == "already_there":  # done, and nobody can say which contact it is
        level = _log.warning
    level("delivery.attempted", **fields)


def rung_refused(*, entry: Entry, code: str, detail: str, following: str) -> None:
    """Connect refused a payload; the next rung of the ladder is tried."""
    facts = {"rung": str(entry.rung), "code": code, "detail": detail, "following": following}
    _log.warning("rung.refused", **_about(entry), **facts)


def _about(entry: Entry) -> dict[str, Any]:
    to = entry.destination.address
    return {"spool_id": entry.spool_id, "message_id": entry.message_id, "destination": to}


def service_moved(*, service: str, why: str) -> None:
    """A service is away for everyone, and why, or back ("")."""
    if why:
        _log.error("service.away", service=service, why=why)
    else:
        _log.info("service.back", service=service)


def route_held(*, route: str, reason: str, detail: str) -> None:
    """A configuration error stops a route until a probe succeeds, or an operator resumes it."""
    _log.error("route.held", route=route, reason=reason, detail=detail)


def route_resumed(*, route: str) -> None:
    """A probe succeeded, or an operator resumed the route."""
    _log.info("route.resumed", route=route)


def spool_recovered(*, entries: int) -> None:
    """Start-up returned entries that a dead runner had leased."""
    _log.info("spool.recovered", entries=entries)


def spool_record_corrupt(*, spool_id: str, entry_id: str, detail: str) -> None:
    """A row of the spool cannot be read; the entry is set aside as dead."""
    _log.error("spool.record_corrupt", spool_id=spool_id, entry_id=entry_id, detail=detail)


def spool_swept(*, files: int) -> None:
    """Start-up removed raw mails that no entry names: their receivers died before the commit."""
    _log.info("spool.swept", files=files)


def spool_expired(*, mails: int, early: bool = False) -> None:
    """Finished mails past their retention are gone; `early`: before it, for want of room."""
    (_log.info if early else _log.debug)("spool.expired", mails=mails, early=early)


def spool_failed(*, where: str, why: str, **facts: Any) -> None:
    """The spool could not be read or written at this step; what it was about stays as it was."""
    _log.error("spool.failed", where=where, why=why, **facts)


def queue_seen(standing: QueueState) -> None:
    """How the queue stands."""
    _log.debug(
        "queue.seen", queued=standing.queued, held=standing.held, dead=standing.dead, sick=standing.sick
    )
    SPOOL_SICK.set(bool(standing.sick))
    if standing.sick:
        return
    for state in ("queued", "leased", "held", "dead", "done"):
        if (count := getattr(standing, state)) is not None:
            SPOOL_MESSAGES.labels(state).set(count)
    SPOOL_OLDEST.set(standing.oldest_seconds)
    SPOOL_DISK_FULL.set(standing.disk_full)
    ROUTES_HELD.set(len(standing.held_routes))
    for service in ("s3", "connect", "credentials"):
        SERVICES_AWAY.labels(service).set(service in dict(standing.away))


def clock_moved(*, seconds: float) -> None:
    """The wall clock was set, back when negative; what waits for an instant was set with it."""
    _log.warning("clock.moved", seconds=round(seconds, 3))


def alarm_told(
    *, kind: AlarmKind, raised: bool, detail: str, route: str = "", count: int | None = None
) -> None:
    """Something that a person should look at, or the end of it."""
    facts = ({"route": route} if route else {}) | ({"count": count} if count is not None else {})
    if raised:
        ALARMS.labels(kind).inc()
        _log.error("alarm.raised", kind=str(kind), detail=detail, **facts)
    else:
        _log.info("alarm.ended", kind=str(kind), detail=detail, **facts)


def alarm_untold(*, to: str, why: str, kind: AlarmKind, given_up: bool) -> None:
    """A webhook or an SNS topic did not take an alarm; it is tried again until it is given up."""
    (_log.error if given_up else _log.warning)(
        "alarm.untold", to=to, why=why, kind=str(kind), given_up=given_up
    )


def fault_caught(*, where: str, **facts: Any) -> None:
    """An exception that nothing expected; the mail it concerned was deferred, or went out as its original, not lost."""
    _log.error("fault.caught", where=where, exc_info=True, **facts)
