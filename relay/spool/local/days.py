"""The counts of days: how many mails met each rule of the policy, by route and domain of senders.

Owns how many domains of a day are kept by name, and for how long a day is kept. Runs within the caller's
transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import apsw

from relay.spool.local.database import query
from relay.spool.model import PolicyCount

#: Domains of one day that are counted by name; a flood of made-up ones must not grow the spool.
MOST_DOMAINS = 1_000
OTHER = "other"
_KEPT = timedelta(days=366)
_ADD = "INSERT INTO policy_days VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET mails = mails + excluded.mails"


def add_counts(connection: apsw.Connection, counts: Sequence[PolicyCount]) -> None:
    """Add to the counts, and forget days over a year before the latest."""
    known: dict[str, set[str]] = {}
    for each in counts:
        if each.day not in known:
            rows = query(connection, "SELECT DISTINCT domain FROM policy_days WHERE day = ?", (each.day,))
            known[each.day] = {str(domain) for (domain,) in rows} | {OTHER}
        domains = known[each.day]
        domain = each.domain if each.domain in domains or len(domains) <= MOST_DOMAINS else OTHER
        domains.add(domain)
        row = (each.day, domain, each.rule, each.action, int(each.observe), each.route, each.mails)
        connection.execute(_ADD, row)
    if known:
        oldest = (date.fromisoformat(max(known)) - _KEPT).isoformat()
        connection.execute("DELETE FROM policy_days WHERE day < ?", (oldest,))


def read_counts(connection: apsw.Connection, *, since: str) -> list[PolicyCount]:
    """The counts from a day on, added up over the days, the largest first."""
    rows = query(
        connection,
        "SELECT rule, action, observe, route, domain, sum(mails) AS number FROM policy_days WHERE day >= ? "
        "GROUP BY rule, action, observe, route, domain ORDER BY number DESC, rule, route, domain",
        (since,),
    )
    return [PolicyCount("", rule, action, bool(observe), *rest) for rule, action, observe, *rest in rows]
