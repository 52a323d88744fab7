"""The facts of reception: sessions, commands, transactions, and what keeps them out.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relay.replies import name_refusal
from relay.telemetry.counts import Counted, count_day, count_received
from relay.telemetry.current import current_log, tells_debug
from relay.telemetry.identity import list_words
from relay.telemetry.metrics import (
    BY_DISPOSITION,
    DUPLICATES,
    GATE_CLOSED,
    HANDSHAKES_FAILED,
    INTAKE_CLOSED,
    LOGINS_REFUSED,
    RECEIVED_BYTES,
    RECIPIENTS_REFUSED,
    SESSIONS,
    SESSIONS_REFUSED,
    SPOOL_SICK,
    TRANSACTIONS_ABORTED,
)
from relay.vocabulary import Disposition, Reply


def listener_awaited(*, bind: str, seconds: float) -> None:
    """The port of a listener is taken: by receivers of a killed relay that are about to end, or by another
    program.
    """
    current_log().warning("listener.awaited", bind=bind, seconds=seconds)


def listener_left_out(*, bind: str, why: str) -> None:
    """An address of the configuration stays without a socket, or a socket of systemd's without a listener.
    Mail comes in at the others.
    """
    current_log().warning("listener.left_out", bind=bind, why=why)


def listener_opened(*, bind: str, role: str, protocol: str, tls: str) -> None:
    """A listener is open: mail can come in at this address."""
    current_log().info("listener.opened", bind=bind, role=role, protocol=protocol, tls=tls)


def session_opened(*, peer: str, listener: str) -> None:
    """A peer connected."""
    SESSIONS.inc()
    if tells_debug():
        current_log().debug("session.opened", peer=peer, listener=listener)


def session_closed(*, peer: str, listener: str, why: str, seconds: float) -> None:
    """A session ended; `why` says how."""
    SESSIONS.dec()
    if tells_debug():
        current_log().debug(
            "session.closed", peer=peer, listener=listener, why=why, seconds=round(seconds, 3)
        )


def session_refused(
    *, peer: str, listener: str, reply: Reply, again: bool, reference: str | None = None
) -> None:
    """A session was refused at its beginning, or ended by us later.

    `again`: the peer was told so a moment ago. `reference` stands in the reply where that is a 5yz.
    """
    SESSIONS_REFUSED.labels(reply.enhanced).inc()
    count_day(Counted.REFUSED_SESSION, name_refusal(reply))
    log = current_log().debug if again else current_log().info
    named = {"spool_id": reference} if reference is not None else {}
    log("session.refused", peer=peer, listener=listener, reply=str(reply), **named)


def proxy_refused(*, peer: str, listener: str, reason: str) -> None:
    """A listed proxy sent no readable header ("malformed"), or none in time ("late")."""
    current_log().warning("proxy.refused", peer=peer, listener=listener, reason=reason)


def login_refused(*, peer: str, login: str, unseen: bool = False) -> None:
    """An AUTH had a wrong login or password. `unseen`: it was one of too many, refused before the password
    was looked at.
    """
    LOGINS_REFUSED.inc()
    (current_log().debug if unseen else current_log().warning)(
        "login.refused", peer=peer, login=login, unseen=unseen
    )


def handshake_failed(*, peer: str, listener: str, reason: str) -> None:
    """A TLS handshake failed; `reason` is OpenSSL's, such as "no shared cipher", else the error's class."""
    HANDSHAKES_FAILED.inc()
    current_log().info("handshake.failed", peer=peer, listener=listener, reason=reason)


def client_unverified(*, peer: str, listener: str, reason: str) -> None:
    """A client certificate is no login, for OpenSSL's reason; the session goes on without."""
    current_log().info("client.unverified", peer=peer, listener=listener, reason=reason)


def recipient_refused(
    *, peer: str, forward_path: str, said: str, reply: Reply, spool_id: str, again: bool
) -> None:
    """A RCPT got no 250; `spool_id` is the transaction's, as it stands in the reply, `said` the command as it
    was written. `again`: not the first of its session.
    """
    RECIPIENTS_REFUSED.labels(str(reply.code)).inc()
    count_day(Counted.REFUSED_RECIPIENT, name_refusal(reply))
    log = current_log().debug if again else current_log().info
    told = {"forward_path": forward_path, "reply": str(reply), "said": said}
    log("recipient.refused", spool_id=spool_id, peer=peer, **told)


def command_refused(*, peer: str, reply: Reply, reference: str, again: bool, said: str = "") -> None:
    """A command got a 5yz; `reference` stands in the reply. `again`: not the first of its session, or logged
    already. `said`: the command, MAIL and RCPT with their paths as they were written.
    """
    if said[:4].upper() == "MAIL":  # the others are counted as recipients or as mails, or bring no mail
        count_day(Counted.REFUSED_SENDER, name_refusal(reply))
    log = current_log().debug if again else current_log().info
    log(
        "command.refused",
        spool_id=reference,
        peer=peer,
        reply=str(reply),
        said=said,
    )


def sender_deferred(*, peer: str, reply: Reply) -> None:
    """A MAIL got a 4yz: its peer is to come again. A 421 counts as the end of the session."""
    count_day(Counted.REFUSED_SENDER, name_refusal(reply))
    current_log().debug("sender.deferred", peer=peer, reply=str(reply))


def transaction_aborted(*, spool_id: str, peer: str, size: int, why: str) -> None:
    """A transaction ended before its mail was whole, because the peer went or was sent away: nothing was
    kept.
    """
    TRANSACTIONS_ABORTED.inc()
    current_log().info("transaction.aborted", spool_id=spool_id, peer=peer, size=size, why=why)


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
    results: Mapping[str, str] | None = None,
    author: str | None = None,
) -> None:
    """A transaction ended: the one line that says what came, from whom, for whom, and what was answered.
    It is counted by the domain of `author`, else of the reverse-path.
    """
    BY_DISPOSITION[disposition].inc()
    if disposition is Disposition.ACCEPT:
        RECEIVED_BYTES.inc(size)
        if duplicate:
            DUPLICATES.inc()
            count_day(Counted.DUPLICATE)
    if disposition is Disposition.QUARANTINE:
        count_day(Counted.QUARANTINED)
    elif disposition is not Disposition.ACCEPT and destinations:  # else each of them was counted at its RCPT
        count_day(Counted.REFUSED_MAIL, name_refusal(reply))
    if not duplicate and (disposition is Disposition.ACCEPT or disposition is Disposition.QUARANTINE):
        count_received(author or reverse_path or "", size)
    more: dict[str, Any] = {}
    if duplicate:
        more["duplicate"] = True
    if repairs:
        more["repairs"] = list(repairs)
    if results:
        more["checks"] = list_words(results)
    current_log().info(
        _ENDED[disposition],
        spool_id=spool_id,
        message_id=message_id,
        reverse_path=reverse_path or "<>",
        destinations=destinations,
        peer=peer,
        helo=helo,
        protocol=protocol,
        tls=tls,
        size=size,
        reply=str(reply),
        seconds=int(seconds * 10_000 + 0.5) / 10_000,  # round() takes three times as long
        **more,
    )


_ENDED = {
    Disposition.ACCEPT: "transaction.accepted",
    Disposition.QUARANTINE: "transaction.quarantined",
    Disposition.DEFER: "transaction.deferred",
    Disposition.REJECT: "transaction.rejected",
}


def commit_late(
    *, spool_id: str, seconds: float, stored: bool, duplicate: bool = False, sender: str = "", size: int = 0
) -> None:
    """A commit ended after its peer was told to try again; the peer's next try is recognised as a duplicate
    where this one was stored. So the mail counts as received here, unless it was a duplicate itself.
    """
    if stored and not duplicate:
        count_received(sender, size)
    current_log().warning("commit.late", spool_id=spool_id, seconds=round(seconds, 3), stored=stored)


def gate_moved(*, closed: bool, reason: str) -> None:
    """New sessions are refused from now on, and why; or they are taken again."""
    GATE_CLOSED.set(closed)
    SPOOL_SICK.set(closed and reason == "spool")
    (current_log().warning if closed else current_log().info)(
        "gate.closed" if closed else "gate.opened", reason=reason
    )


def intake_moved(*, problem: str) -> None:
    """Mail is refused by this process from now on, and why; with the empty string it is taken again."""
    INTAKE_CLOSED.set(bool(problem))
    if problem:
        current_log().warning("intake.closed", why=problem)
    else:
        current_log().info("intake.opened")


def certificate_loaded(*, path: str) -> None:
    """A certificate was loaded; new handshakes use it."""
    current_log().info("certificate.loaded", path=path)


def certificate_refused(*, path: str, why: str) -> None:
    """A certificate's files changed and could not be read; the certificate before stays in force."""
    current_log().error("certificate.refused", path=path, why=why)
