"""The command `relay report`: what a day or a week brought, as a mail server's administrator asks for it.

Owns the report's object, and the options that choose its days. `report_text` shows it. The counts are those
of days in UTC, which both halves write to the spool once a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from relay.cli import config_option
from relay.cli.entries import echo, echo_json, json_option
from relay.cli.filters import find_tenant
from relay.cli.policy import build_report, build_total
from relay.cli.report_text import show_report
from relay.config.load import load_config
from relay.spool.model import DayCount, PolicyCount
from relay.spool.opening import open_desk
from relay.telemetry.counts import Counted
from relay.vocabulary import Classification

_WEEK = 7
#: The replies of a session, a sender, a recipient and a mail, by the word of the report.
_REFUSALS = {
    "sessions": Counted.REFUSED_SESSION,
    "senders": Counted.REFUSED_SENDER,
    "recipients": Counted.REFUSED_RECIPIENT,
    "mails": Counted.REFUSED_MAIL,
}

Labels = Mapping[str, int]


@click.command("report")
@config_option
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), metavar="D", help="A day in UTC, as 2026-11-29; today."
)
@click.option("--week", is_flag=True, help="The last seven days, today included.")
@click.option("--tenant", metavar="NAME", help="Only what is counted by route, of this tenant's routes.")
@json_option
def report_command(
    config_path: str | None, day: datetime | None, tenant: str | None, *, week: bool, as_json: bool
) -> None:
    """Say what a day or a week brought: received, refused, delivered, delays, senders, prices."""
    if day is not None and week:
        message = "--day and --week exclude each other: give one of them"
        raise click.UsageError(message)
    config = load_config(config_path)
    routes = None if tenant is None else find_tenant(config.list_tenants(), tenant)
    until = day.date() if day is not None else datetime.now(UTC).date()
    since = until - timedelta(days=_WEEK - 1) if week else until
    days = {"since": since.isoformat(), "until": until.isoformat()}
    with closing(open_desk(config)) as desk:
        counts, rules = desk.day_counts(**days), desk.policy_counts(**days)
    price = config.contact.price_usd
    if routes is not None:
        _tell_tenant(
            {**days, "tenant": tenant, **build_tenant_report(counts, rules, routes, price=price)}, as_json
        )
        return
    report = {**days, **build_day_report(counts, rules, price=price)}
    if as_json:
        echo_json(report)
        return
    for line in show_report(report):
        echo(line)


def _tell_tenant(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(report)
        return
    delivered = report["delivered"]
    echo(f"{report['tenant']}, {report['since']} to {report['until']}: {delivered['contacts']} contacts")
    echo(*(f"  {route}: {number}" for route, number in delivered["routes"].items()))
    echo(*(f"  {each['rule']} ({each['action']}): {each['mails']}" for each in report["policy"]["rules"]))


def build_tenant_report(
    counts: Sequence[DayCount], rules: Sequence[PolicyCount], routes: Container[str], *, price: float
) -> dict[str, Any]:
    """The report of some routes, as far as the counts tell of them: contacts and rules of the policy. All
    else is not counted by route.
    """
    contacts = Counter[str]()
    for each in counts:
        if each.name == Counted.CONTACT and each.label in routes:
            contacts[each.label] += each.number
    met = build_report([each for each in rules if each.route in routes], price=price)
    return {
        "price_usd": price,
        "delivered": {
            "contacts": contacts.total(),
            "usd": round(contacts.total() * price, 2),
            "routes": _sorted(contacts),
        },
        "policy": {"rules": met, "total": build_total(met)},
    }


def build_day_report(
    counts: Sequence[DayCount], rules: Sequence[PolicyCount], *, price: float
) -> dict[str, Any]:
    """The report of some days as an object; `price` is that of a contact in USD."""
    found: dict[str, Counter[str]] = {name: Counter() for name in Counted}
    for each in counts:
        if each.name in found:
            found[each.name][each.label] += each.number
    met = build_report(rules, price=price)
    refused = {word: _by_reply(found[name]) for word, name in _REFUSALS.items()}
    return {
        "price_usd": price,
        "received": {
            "mails": found[Counted.RECEIVED].total(),
            "octets": found[Counted.OCTETS].total(),
            "duplicates": found[Counted.DUPLICATE].total(),
            "held": found[Counted.QUARANTINED].total(),
            "domains": _sorted(found[Counted.RECEIVED]),
        },
        "refused": {word: replies["5"] for word, replies in refused.items()},
        "deferred": {word: replies["4"] for word, replies in refused.items()},
        "delivered": {
            "contacts": found[Counted.CONTACT].total(),
            "usd": round(found[Counted.CONTACT].total() * price, 2),
            "already_there": found[Counted.ALREADY].total(),
            "routes": _sorted(found[Counted.CONTACT]),
            "classes": _price(found[Counted.CLASS], price=price),
            "delay_seconds": _measure([each for each in counts if each.name == Counted.DELAY]),
        },
        "adapted": {
            "contacts": found[Counted.ADAPTED_MAIL].total(),
            "codes": _sorted(found[Counted.ADAPTED]),
        },
        "dropped": _sorted(found[Counted.DROPPED]),
        "put_off": _sorted(found[Counted.DEFERRED]),
        "held": _sorted(found[Counted.HELD]),
        "dead": _sorted(found[Counted.DEAD]),
        "policy": {"rules": met, "total": build_total(met)},
    }


def _sorted(labels: Counter[str]) -> Labels:
    return dict(sorted(labels.items(), key=lambda pair: (-pair[1], pair[0])))


def _by_reply(labels: Counter[str]) -> dict[str, Labels]:
    """The labels by the first digit of their reply."""
    return {
        digit: {label: number for label, number in _sorted(labels).items() if label.startswith(digit)}
        for digit in "45"
    }


def _price(classes: Counter[str], *, price: float) -> dict[str, dict[str, Any]]:
    """Each class of contacts with its price and the rule that would have kept its mail out; a person's mail
    has no such rule, nor has mail of which the class is not known.
    """
    automatic = {str(each) for each in Classification} - {Classification.HUMAN}
    return {
        name: {
            "contacts": number,
            "usd": round(number * price, 2),
            "rule": f"class.{name}" if name in automatic else None,
        }
        for name, number in _sorted(classes).items()
    }


def _measure(delays: Sequence[DayCount]) -> dict[str, float | None]:
    """The median, the 95th percentile and the maximum of delays that are counted in ranges, in seconds.

    A quantile is the upper end of its range, which is at most a quarter too long; never over the maximum.
    """
    if not delays:
        return {"p50": None, "p95": None, "max": None}
    ranges = sorted(delays, key=lambda each: int(each.label))
    total, longest = sum(each.number for each in ranges), max(each.most for each in ranges)
    told: dict[str, float | None] = {}
    for word, share in (("p50", 50), ("p95", 95)):
        left = -(-total * share // 100)  # the rank of the quantile, rounded up
        for each in ranges:
            left -= each.number
            if left <= 0:
                told[word] = min(int(each.label), each.most, longest) / 1_000
                break
    return {**told, "max": longest / 1_000}
