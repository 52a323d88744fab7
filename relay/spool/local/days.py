"""The counts of days: how many mails met each rule of the policy, by route and domain of senders, and how
often that happened which `relay report` tells.

Owns how many domains and labels of a day are kept by name, and for how long a day is kept. Runs within the
caller's transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import apsw

from relay.spool.local.database import query
from relay.spool.model import DayCount, PolicyCount

#: Domains of one day that are counted by name; a flood of made-up ones must not grow the spool.
MOST_DOMAINS = 1_000
OTHER = "other"
_KEPT = timedelta(days=366)
_ADD = "INSERT INTO policy_days VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET mails = mails + excluded.mails"
_ADD_DAY = (
    "INSERT INTO day_counts VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET number = number + excluded.number, most = max(most, excluded.most)"
)


def add_counts(connection: apsw.Connection, counts: Sequence[PolicyCount | DayCount]) -> None:
    """Add to the counts, and forget days over a year before the latest."""
    _add_policy(connection, [each for each in counts if isinstance(each, PolicyCount)])
    _add_days(connection, [each for each in counts if isinstance(each, DayCount)])


def _add_policy(connection: apsw.Connection, counts: Sequence[PolicyCount]) -> None:
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


def _add_days(connection: apsw.Connection, counts: Sequence[DayCount]) -> None:
    known: dict[tuple[str, str], set[str]] = {}
    for each in counts:
        key = (each.day, each.name)
        if key not in known:
            rows = query(connection, "SELECT label FROM day_counts WHERE day = ? AND name = ?", key)
            known[key] = {str(label) for (label,) in rows} | {OTHER}
        labels = known[key]
        label = each.label if each.label in labels or len(labels) <= MOST_DOMAINS else OTHER
        labels.add(label)
        connection.execute(_ADD_DAY, (*key, label, each.number, each.most))
    if known:
        oldest = (date.fromisoformat(max(known)[0]) - _KEPT).isoformat()
        connection.execute("DELETE FROM day_counts WHERE day < ?", (oldest,))


def forget_domain(connection: apsw.Connection, domain: str) -> int:
    """Count all that was counted for a domain of senders as that of others. Returns the number of rows."""
    rows = query(
        connection,
        "DELETE FROM policy_days WHERE domain = ? RETURNING day, ?, rule, action, observe, route, mails",
        (domain, OTHER),
    )
    connection.executemany(_ADD, rows)
    counted = query(
        connection,
        "DELETE FROM day_counts WHERE name = 'received' AND label = ? RETURNING day, name, ?, number, most",
        (domain, OTHER),
    )
    connection.executemany(_ADD_DAY, counted)
    return len(rows) + len(counted)


def read_days(connection: apsw.Connection, *, since: str, until: str) -> list[DayCount]:
    """The counts from a day to another, both included, added up over the days; by name, the largest first."""
    rows = query(
        connection,
        "SELECT name, label, sum(number) AS number, max(most) FROM day_counts WHERE day >= ? AND day <= ? "
        "GROUP BY name, label ORDER BY name, number DESC, label",
        (since, until),
    )
    return [DayCount("", *row) for row in rows]


def read_counts(connection: apsw.Connection, *, since: str, until: str) -> list[PolicyCount]:
    """The counts from a day to another, both included, added up over the days, the largest first."""
    rows = query(
        connection,
        "SELECT rule, action, observe, route, domain, sum(mails) AS number FROM policy_days WHERE day >= ? AND day <= ? "
        "GROUP BY rule, action, observe, route, domain ORDER BY number DESC, rule, route, domain",
        (since, until),
    )
    return [PolicyCount("", rule, action, bool(observe), *rest) for rule, action, observe, *rest in rows]
