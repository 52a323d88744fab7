"""Tenants: what a filter shows of one, and that it shows nothing of another."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from test_cli_queue import SALES, Spool

from relay.config.load import load_config
from relay.spool.model import DayCount, PolicyCount
from relay.spool.opening import open_desk, open_outbox
from relay.spool.page import EntryQuery
from relay.telemetry import exposition
from relay.telemetry.counts import Counted
from relay.telemetry.metrics import name_tenants


@pytest.fixture
def spool(tmp_path):
    """A spool with a mail for the route of each of two tenants; a third has none."""
    spool = Spool(tmp_path)
    text = spool.path.read_text()
    for route, tenant in (("support", "bank"), ("sales", "shop")):
        text = text.replace(f'name = "{route}"', f'name = "{route}"\ntenant = "{tenant}"')
    text += '\n[[routes]]\nmatch = ["x@none.example"]\nname = "none"\ntenant = "none"\n'
    spool.path.write_text(text)
    spool.bank, spool.shop = spool.put(), spool.put(destinations=SALES)
    return spool


def test_queue_shows_one_tenant_alone(spool):
    """Lists, sums, pauses and changes are of the routes of the tenant; one without mail has an empty list,
    and one that is none is bad usage.
    """
    spool.run("pause", "route", "sales")
    listed = spool.json("queue", "list", "--tenant", "bank")
    assert [each["spool_id"] for each in listed] == [spool.bank]
    words = spool.run("queue", "list", "--tenant", "bank").stdout
    assert "sales" not in words
    assert "1 queued" in words
    assert spool.json("queue", "list", "--tenant", "none") == []
    summary = spool.json("queue", "summary", "--tenant", "bank")
    assert [each["route"] for each in summary["routes"]] == ["support"]
    assert (summary["counts"]["queued"], summary["paused"]["routes"]) == (1, [])
    spool.run("queue", "hold", "--tenant", "shop", "--yes")
    assert {each["spool_id"]: each["state"] for each in spool.json("queue", "list")} == {
        spool.bank: "queued",
        spool.shop: "held",
    }
    refused = spool.run("queue", "list", "--tenant", "bnak", code=2).stderr
    assert 'no tenant is named "bnak"; there are: bank, none, shop' in refused


def test_audit_shows_what_was_done_to_a_tenant_alone(spool):
    """Rows about mail or routes of another tenant, or of both, are left out."""
    spool.run("queue", "hold", spool.bank)
    spool.run("queue", "hold", spool.shop)
    spool.run("queue", "release", spool.bank, spool.shop)
    spool.run("pause", "route", "support")
    spool.run("pause", "intake")
    spool.run("queue", "hold", "--tenant", "bank", "--yes")
    spool.run("queue", "release", "--sender", "ann", "--yes")
    rows = spool.json("audit", "--tenant", "bank")
    assert [each["about"] for each in rows] == [[spool.bank], ["route support"], ["--tenant bank"]]


def test_report_counts_the_routes_of_a_tenant(spool):
    """Contacts and rules of the policy are those of its routes; what is not counted by route is left out."""

    async def count():
        outbox = open_outbox(load_config(str(spool.path)))
        await outbox.add_counts(
            [
                DayCount("2026-11-29", Counted.CONTACT, route, number)
                for route, number in (("support", 2), ("sales", 3))
            ]
        )
        await outbox.add_counts([PolicyCount("2026-11-29", "spam", "tag", False, "sales", "x.example", 4)])
        await outbox.close()

    asyncio.run(count())
    found = spool.json("report", "--day", "2026-11-29", "--tenant", "bank")
    assert found["delivered"]["routes"] == {"support": 2}
    assert found["policy"]["rules"] == []
    assert set(found) == {"since", "until", "tenant", "price_usd", "delivered", "policy"}
    assert "bank, 2026-11-29" in spool.run("report", "--day", "2026-11-29", "--tenant", "bank").stdout


def test_page_and_metrics_know_the_tenant(spool):
    """The list of the page is of the tenant's routes, and a metric says whose a route is."""
    config = load_config(str(spool.path))
    with closing(open_desk(config)) as desk:
        for tenant, found in (("bank", [spool.bank]), ("none", [])):
            page = desk.page(EntryQuery(routes=config.list_tenants()[tenant], seconds=60))
            assert [row.entry.spool_id for row in page.rows] == found
    name_tenants(config.list_tenants())
    assert 'relay_route_tenant{route="support",tenant="bank"} 1.0' in exposition()
    name_tenants({})
    assert 'tenant="bank"' not in exposition()
