"""The command `relay policy report`: what each rule did or would have done, and what that saves.

Owns the report and its total. A contact that was not started because of a rule (`reject`, `drop`) saves its
price; a mail that meets several rules counts for each of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from relay.cli import config_option
from relay.cli.entries import echo, echo_json
from relay.config.load import load_config
from relay.spool.model import PolicyCount
from relay.spool.opening import open_desk

#: Actions after which there is no contact.
_SAVES = ("reject", "drop")
_DOMAINS = 3  # named for each rule


@click.group("policy")
def policy_group() -> None:
    """Report what the rules of the policy did."""


@policy_group.command("report")
@config_option
@click.option(
    "--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Days, today included."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def report_command(config_path: str | None, days: int, as_json: bool) -> None:
    """Say for each rule how many mails met it, what it did or would have done, and what that saves."""
    config = load_config(config_path)
    since = (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()
    with closing(open_desk(config)) as desk:
        counts = desk.policy_counts(since=since)
    rules = build_report(counts, price=config.contact.price_usd)
    total = build_total(rules)
    if as_json:
        head = {"since": since, "days": days, "price_usd": config.contact.price_usd}
        echo_json({**head, "rules": rules, "total": total})
        return
    echo(
        f"Since {since}, at {config.contact.price_usd:g} USD a contact:"
        if rules
        else f"No rule was met since {since}."
    )
    for line in show_rules(rules):
        echo(line)
    if rules:
        echo(
            f"in all: {_count(total['mails'])}, saved {total['saved_usd']:.2f} USD, "
            f"rules that are only observed would save {total['would_save_usd']:.2f} USD"
        )


def build_report(counts: Sequence[PolicyCount], *, price: float) -> list[dict[str, Any]]:
    """The report: an object for each rule, action and route, the most mails first."""
    mails: Counter[tuple[str, str, bool, str]] = Counter()
    domains: dict[tuple[str, str, bool, str], Counter[str]] = defaultdict(Counter)
    for each in counts:
        key = (each.rule, each.action, each.observe, each.route)
        mails[key] += each.mails
        domains[key][each.domain] += each.mails
    return [
        {
            "rule": rule,
            "action": action,
            "observe": observe,
            "route": route,
            "mails": number,
            "saves_usd": round(number * price, 2) if action in _SAVES else 0.0,
            "domains": dict(domains[rule, action, observe, route].most_common()),
        }
        for (rule, action, observe, route), number in mails.most_common()
    ]


def build_total(rules: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The total of a report; a mail that meets several rules is in it for each of them."""
    return {
        "mails": sum(each["mails"] for each in rules),
        "saved_usd": round(sum(each["saves_usd"] for each in rules if not each["observe"]), 2),
        "would_save_usd": round(sum(each["saves_usd"] for each in rules if each["observe"]), 2),
    }


def show_rules(rules: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of the rules of a report, one for each."""
    for each in rules:
        did = "would have been" if each["observe"] else "was"
        saved = ""
        if each["action"] in _SAVES:
            saved = f", {'would save' if each['observe'] else 'saved'} {each['saves_usd']:.2f} USD"
        named = ", ".join(
            f"{domain or '(none)'} {number:,}" for domain, number in list(each["domains"].items())[:_DOMAINS]
        )
        yield f"{each['rule']} ({each['route']}): {each['action']} {did} the word for {_count(each['mails'])}{saved}; {named}"


def _count(mails: int) -> str:
    return f"{mails:,} mail" + ("" if mails == 1 else "s")
