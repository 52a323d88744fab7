"""`relay policy report`: what each rule did or would have done, and what that saves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.config.load import load_config
from relay.spool.model import PolicyCount
from relay.spool.opening import open_outbox


def days_ago(days):
    """A day as the counts have it."""
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


@pytest.fixture
def report(tmp_path):
    """Run the command on a spool with counts of two days."""
    path = tmp_path / "relay.toml"
    path.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[s3]\nbucket = "b-1"\n[connect]\ninstance_id = "00000000-0000-0000-0000-000000000001"\n'
        '[contact]\nprice_usd = 0.10\n[[routes]]\nmatch = ["a@example.com"]\n'
    )

    async def fill():
        outbox = open_outbox(load_config(str(path), environ={}))
        await outbox.add_counts([
            PolicyCount(days_ago(0), "dmarc.reject", "reject", False, "desk", "bank.example", 30),
            PolicyCount(days_ago(9), "dmarc.reject", "reject", False, "desk", "shop.example", 10),
            PolicyCount(days_ago(0), "class.bulk", "drop", True, "desk", "news.example", 1),
            PolicyCount(days_ago(0), "spf.fail", "tag", False, "desk", "", 2),
        ])  # fmt: skip
        await outbox.close()

    (tmp_path / "data").mkdir()
    asyncio.run(fill())

    def run(*options):
        told = CliRunner().invoke(main, ["policy", "report", "--config", str(path), *options])
        assert told.exit_code == 0, told.output
        return told.stdout

    return run


def test_report_says_what_rules_did_and_save(report):
    """Contacts that were not started are worth their price; those of an observed rule would be."""
    lines = report().splitlines()
    assert lines[1:] == [
        "dmarc.reject (desk): reject was the word for 40 mails, saved 4.00 USD; bank.example 30, shop.example 10",
        "spf.fail (desk): tag was the word for 2 mails; (none) 2",
        "class.bulk (desk): drop would have been the word for 1 mail, would save 0.10 USD; news.example 1",
        "in all: 43 mails, saved 4.00 USD, rules that are only observed would save 0.10 USD",
    ]


def test_report_in_json_of_some_days(report):
    """The same as an object, of as many days as are asked for."""
    told = json.loads(report("--json", "--days", "9"))
    assert (told["days"], told["price_usd"], told["since"]) == (9, 0.1, days_ago(8))
    first = told["rules"][0]
    assert (first["rule"], first["mails"], first["saves_usd"]) == ("dmarc.reject", 30, 3.0)
    assert first["domains"] == {"bank.example": 30}
    assert told["total"] == {"mails": 33, "saved_usd": 3.0, "would_save_usd": 0.1}
