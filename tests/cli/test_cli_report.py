"""`relay report`: what a day or a week brought, in text and in JSON."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.cli.report_text import show_report
from relay.config.load import load_config
from relay.spool.model import DayCount, PolicyCount
from relay.spool.opening import open_outbox
from relay.telemetry.counts import Counted


def days_ago(days):
    """A day as the counts have it."""
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def some(day):
    """The counts of one day."""
    return [
        DayCount(day, Counted.RECEIVED, "news.example", 412),
        DayCount(day, Counted.RECEIVED, "", 3),
        DayCount(day, Counted.OCTETS, "", 3 * 1024**2),
        DayCount(day, Counted.DUPLICATE, "", 2),
        DayCount(day, Counted.REFUSED_RECIPIENT, "550 5.1.1 No such address here", 7),
        DayCount(day, Counted.REFUSED_SESSION, "421 4.7.0 Too many sessions, try again later", 1),
        DayCount(day, Counted.REFUSED_MAIL, "550 (handler)", 1),
        DayCount(day, Counted.CONTACT, "desk", 415),
        DayCount(day, Counted.CLASS, "auto-reply", 412),
        DayCount(day, Counted.CLASS, "human", 2),
        DayCount(day, Counted.CLASS, "", 1),
        DayCount(day, Counted.DELAY, "1000", 400, 990),
        DayCount(day, Counted.DELAY, "100000", 15, 81_000),
        DayCount(day, Counted.ADAPTED_MAIL, "", 4),
        DayCount(day, Counted.ADAPTED, "body.cut", 3),
        DayCount(day, Counted.HELD, "policy.spf.fail", 5),
        DayCount(day, Counted.DEAD, "too_old", 1),
        PolicyCount(day, "class.bulk", "drop", True, "desk", "news.example", 10),
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The configuration of a spool with counts of three days."""
    home = tmp_path_factory.mktemp("report")
    path = home / "relay.toml"
    path.write_text(
        f'data_dir = "{home / "data"}"\n[s3]\nbucket = "b-1"\n[connect]\ninstance_id = "00000000-0000-0000-0000-000000000001"\n'
        '[[routes]]\nmatch = ["a@example.com"]\n'
    )

    async def fill():
        outbox = open_outbox(load_config(str(path), environ={}))
        await outbox.add_counts([*some(days_ago(0)), *some(days_ago(6)), *some(days_ago(7))])
        await outbox.close()

    (home / "data").mkdir()
    asyncio.run(fill())
    return path


def run(path, *options, code=0):
    """The output of the command."""
    told = CliRunner().invoke(main, ["report", "--config", str(path), *options])
    assert told.exit_code == code, told.output
    return told.output


def test_report_of_today_in_words(path):
    """What an administrator asks for stands in the text: numbers, reasons, delays, prices, and what to do."""
    text = run(path)
    assert text.splitlines()[0] == f"{days_ago(0)}, in UTC"
    for line in (
        "Received: 415 mails, 3.0 MiB; of them held at once by a policy: 0; retransmissions besides: 2",
        "Refused, recipients: 7",
        "        7  550 5.1.1 No such address here",
        "Refused, mails: 1",
        "Told to try again, sessions: 1",
        "Busiest domains of senders: 415",
        "        3  (none)",
        "Delivered: 415 contacts, 33.20 USD at 0.08 USD a contact; Connect had 0 more already",
        "From 250 to contact: p50 1.0 s, p95 1.0 s, max 81.0 s",
        "        1  (not known), 0.08 USD",
        '412 automatic mails (auto-reply) became contacts: 32.96 USD; `class.auto-reply = "drop"` would have kept them out',
        "Adapted: 4 contacts, by code",
        "Held for a person, by reason: 5",
        "Dead, by reason: 1",
        "  class.bulk (desk): drop would have been the word for 10 mails, would save 0.80 USD; news.example 10",
    ):
        assert line in text.splitlines(), line


def test_one_is_told_as_one(path):
    """A single mail, contact and automatic mail are told in the singular, as more are in the plural."""
    report = json.loads(run(path, "--json"))
    report["received"]["mails"] = report["delivered"]["contacts"] = report["adapted"]["contacts"] = 1
    report["delivered"]["classes"]["auto-reply"] |= {"contacts": 1, "usd": 0.08}
    text = "\n".join(show_report(report))
    for words in (
        "Received: 1 mail,",
        "Delivered: 1 contact,",
        "Adapted: 1 contact,",
        '1 automatic mail (auto-reply) became a contact: 0.08 USD; `class.auto-reply = "drop"` would have kept it out',
    ):
        assert words in text, words


def test_report_of_a_week_and_of_a_day(path):
    """A week is today and six days before; a day is that day alone, in the policy's part, too."""
    week = json.loads(run(path, "--week", "--json"))
    assert (week["since"], week["until"]) == (days_ago(6), days_ago(0))
    assert (week["received"]["mails"], week["policy"]["total"]["mails"]) == (830, 20)
    day = json.loads(run(path, "--day", days_ago(7), "--json"))
    assert (day["received"]["mails"], day["policy"]["total"]["mails"]) == (415, 10)
    assert day["delivered"]["classes"]["human"] == {"contacts": 2, "usd": 0.16, "rule": None}
    assert day["delivered"]["delay_seconds"] == {"p50": 0.99, "p95": 0.99, "max": 81.0}
    empty = json.loads(run(path, "--day", days_ago(1), "--json"))
    assert empty["delivered"]["delay_seconds"] == {"p50": None, "p95": None, "max": None}
    assert "From 250" not in run(path, "--day", days_ago(1))


def test_report_takes_one_span(path):
    """A day and a week at once are refused, and so is a day that is none."""
    assert "exclude each other" in run(path, "--day", days_ago(0), "--week", code=2)
    assert "does not match" in run(path, "--day", "yesterday", code=2)
