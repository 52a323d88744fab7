"""The facts of a mail's origin and of its scans: the words of its checks.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all. Results come by the names of a contact's attributes.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.telemetry.counts import add_count
from relay.telemetry.current import current_log
from relay.telemetry.metrics import (
    DNS_AWAY,
    IDENTITY_CHECKS,
    IDENTITY_METHODS,
    LIST_FAILURES,
    POLICY_MET,
    SCANNER_AWAY,
    SCANS,
)


def list_words(results: Mapping[str, str]) -> dict[str, str]:
    """The word of each check that was made, by the name of the check, for the line of a transaction."""
    names = (*IDENTITY_METHODS, "virus", "spam")
    return {name: results[f"relay_{name}"] for name in names if f"relay_{name}" in results}


def identity_checked(*, results: Mapping[str, str]) -> None:
    """The checks of a mail's origin have ended; the line of its transaction has their words."""
    for name, word in list_words(results).items():
        IDENTITY_CHECKS.labels(name, word).inc()
    current_log().debug("identity.checked", **results)


def mail_scanned(*, scanner: str, result: str, reason: str, seconds: float, spool_id: str) -> None:
    """A scanner was asked about a mail; the line of its transaction has the result, too."""
    SCANS.labels(scanner, result).inc()
    current_log().debug(
        "mail.scanned",
        spool_id=spool_id,
        scanner=scanner,
        result=result,
        reason=reason,
        seconds=round(seconds, 3),
    )


def scanner_named(*, scanner: str) -> None:
    """The configuration names a scanner: from now on this process shows whether it is away."""
    SCANNER_AWAY.labels(scanner).set(0)


def scanner_moved(*, scanner: str, why: str) -> None:
    """A scanner gives no answers, so it scans no mail from now on; without a reason, it answers again."""
    SCANNER_AWAY.labels(scanner).set(bool(why))
    if why:
        current_log().warning("scanner.away", scanner=scanner, why=why)
    else:
        current_log().info("scanner.back", scanner=scanner)


def dns_named() -> None:
    """Other DNS servers are asked from now on, none of which is known to be away."""
    DNS_AWAY.set(0)


def dns_moved(why: str) -> None:
    """No DNS server answers, so the checks of mail are `temperror`; without a reason, one answers again."""
    DNS_AWAY.set(bool(why))
    if why:
        current_log().warning("dns.away", why=why)
    else:
        current_log().info("dns.back")


def list_read(*, name: str, entries: int) -> None:
    """A list of senders was read, and is in force."""
    current_log().info("list.read", list=name, entries=entries)


def list_unread(*, name: str, why: str, entries: int) -> None:
    """A list of senders is not in order; its last good state, of so many entries, stays in force."""
    LIST_FAILURES.labels(name).inc()
    current_log().error("list.unread", list=name, why=why, entries=entries)


def list_moved(*, name: str, why: str) -> None:
    """A list in a table cannot be asked, and has nobody on it meanwhile; without a reason, it answers
    again.
    """
    if why:
        LIST_FAILURES.labels(name).inc()
        current_log().error("list.away", list=name, why=why)
    else:
        current_log().info("list.back", list=name)


def policy_met(*, spool_id: str, route: str, rule: str, action: str, observe: bool, domain: str) -> None:
    """A mail meets a rule of the policy of its route; one that is observed does nothing else. `domain` is its
    sender's.
    """
    add_count(rule=rule, action=action, observe=observe, route=route, domain=domain)
    POLICY_MET.labels(rule, action.partition(":")[0], "yes" if observe else "no").inc()
    current_log().info(
        "policy.met", spool_id=spool_id, route=route, rule=rule, action=action, observe=observe
    )
