"""Fairness of claims within a route: a flood delays the flooder, and nobody else."""

from __future__ import annotations

import asyncio
import random

import pytest
from spool_helpers import NOW, build_destination, later

FLOOD = "198.51.100.7"


@pytest.fixture
def flood(put):
    """Puts many mails like each other, in order; their spool ids."""

    async def flood(count, **like):
        return await asyncio.gather(*(put(**like) for _ in range(count)))

    return flood


async def claim(outbox, limit=1, *, now=NOW):
    """The spool ids of the next entries."""
    entries = await outbox.claim(now=now, limit=limit, lease_seconds=3_600)
    return [entry.spool_id for entry in entries]


async def test_flood_of_one_network_delays_no_other(put, flood, outbox):
    """Behind 200 mails of one /24, from other addresses and domains each, an innocent mail is among the next
    two.
    """
    for number in range(200):
        await put(peer=f"198.51.100.{number}", reverse_path=f"x@d{number}.example")
    innocent = await put(peer="192.0.2.7")
    assert innocent in await claim(outbox, 2)


async def test_flood_of_one_ipv6_site_delays_no_other(put, outbox):
    """Addresses all over a /48 are one network."""
    for number in range(60):
        await put(peer=f"2001:db8:bad:{number:x}::1")
    innocent = await put(peer="2001:db8:600d::1")
    assert innocent in await claim(outbox, 2)


async def test_flood_of_one_domain_delays_no_other_of_its_network(put, flood, outbox):
    """Customers of one provider share its network; a domain among them that floods waits for itself."""
    await flood(60, peer=FLOOD, reverse_path="x@flood.example")
    innocent = await put(peer=FLOOD, reverse_path="ann@customer.example")
    assert innocent in await claim(outbox, 2)


async def test_flood_behind_a_trusted_relay_delays_no_other_domain(put, flood, outbox):
    """All mail of a trusted listener comes from one address, or from any: its turns go by the
    domain alone.
    """
    for number in range(60):
        await put(peer=f"10.0.{number}.1", role="trusted", reverse_path="x@FLOOD.example")
    innocent = await put(peer="10.0.0.1", role="trusted", reverse_path="ann@customer.example")
    bounce = await put(peer="10.0.0.1", role="trusted", reverse_path=None)
    assert {innocent, bounce} < set(await claim(outbox, 3))


async def test_mail_to_many_addresses_of_a_catch_all_is_one_turn(put, outbox):
    """One mail for a hundred addresses has a turn like any other, not a hundred."""
    many = await put(peer=FLOOD, destinations=[build_destination(f"u{n}@example.com") for n in range(100)])
    others = [await put(peer=f"192.0.{n}.7") for n in range(3)]
    claimed = await claim(outbox, 8)
    assert set(others) < set(claimed)
    assert claimed.count(many) == 5


async def test_mail_that_failed_has_its_turn_when_it_is_due_again(put, flood, outbox):
    """A deferred mail waits for its instant, and then for no flood."""
    innocent = await put(peer="192.0.2.7")
    (entry,) = await outbox.claim(now=NOW, limit=1, lease_seconds=60)
    await outbox.defer(entry, until=later(60), reason="r", detail="", now=NOW)
    await flood(60, peer=FLOOD)
    assert innocent not in await claim(outbox, 10, now=later(59))
    assert await outbox.next_due_at() == NOW
    assert innocent in await claim(outbox, 2, now=later(60))


async def test_groups_that_wait_for_later_hide_nobody(put, flood, outbox):
    """However many networks have only mail that is not due, one that has some is found at once."""
    for number in range(100):
        await put(peer=f"203.0.{number}.1")
    for entry in await outbox.claim(now=NOW, limit=100, lease_seconds=60):
        await outbox.defer(entry, until=later(600), reason="r", detail="", now=NOW)
    innocent = await put(peer="192.0.2.7")
    assert await claim(outbox, 1) == [innocent]
    assert await outbox.next_due_at() == later(600)


async def test_restart_after_each_claim_is_no_advantage(spool, put, flood):
    """A deliverer that ends after every single claim serves two networks and three domains in turn all the
    same.
    """
    await flood(30, peer=FLOOD, reverse_path="x@flood.example")
    await flood(5, peer="192.0.2.7", reverse_path="ann@customer.example")
    for domain in ("a", "b", "c"):
        await flood(5, role="trusted", reverse_path=f"x@{domain}.example")
    seen = []
    for _ in range(15):
        outbox = spool.open_outbox()
        entries = await outbox.claim(now=NOW, limit=1, lease_seconds=3_600)
        seen.append((entries[0].envelope.peer.role, entries[0].envelope.reverse_path))
        await outbox.finish(entries[0], contact_id="c", now=NOW)
        await outbox.close()
    assert all(len(set(window)) == 3 for window in zip(seen, seen[1:], seen[2:], strict=False))
    domains = [path for role, path in seen if role == "trusted"]
    assert all(len(set(window)) == 3 for window in zip(domains, domains[1:], domains[2:], strict=False))


@pytest.fixture
async def conversation(put, outbox):
    """The Message-ID of a mail of the default sender that became a contact."""
    await put(message_id="<first@x>")
    (entry,) = await outbox.claim(now=NOW, limit=1, lease_seconds=60)
    await outbox.finish(entry, contact_id="contact-1", now=NOW)
    return "<first@x>"


@pytest.mark.parametrize("limit", [1, 3, 8])
async def test_replies_leave_one_claim_in_four_to_new_mail(put, flood, outbox, conversation, limit):
    """Of any four claims in a row one is new mail while some waits, and three are replies while
    those wait.
    """
    replies = set(await flood(30, references=[conversation]))
    new = set(await flood(8))
    order = []
    while len(order) < 38:
        order += await claim(outbox, limit)
    kinds = ["reply" if one in replies else "new" for one in order]
    assert {*order} == replies | new
    assert all(
        kinds[at : at + 4].count("new") == 1 for at in range(len(kinds) - 3) if "new" in kinds[at + 3 :]
    )


async def test_restarts_are_no_advantage_of_replies(spool, put, flood, conversation, outbox):
    """A deliverer that ends after every other claim serves new mail no less."""
    replies = set(await flood(12, references=[conversation]))
    await flood(12)
    await outbox.close()
    order = []
    for _ in range(6):
        again = spool.open_outbox()
        order += await claim(again, 2)
        await again.close()
    assert all(set(order[at : at + 4]) - replies for at in range(9))


async def test_order_within_a_group_is_that_of_due_times(put, outbox):
    """Mails of one domain of one network go in the order in which they fell due."""
    ids = {seconds: await put(at=later(seconds)) for seconds in (3, 1, 2, 0)}
    assert await claim(outbox, 9, now=later(9)) == [ids[seconds] for seconds in sorted(ids)]


async def test_long_outage_is_taken_up_claim_by_claim(put, flood, outbox, monkeypatch):
    """When more falls due at once than a claim looks at, nothing is lost, and what is due is always found."""
    monkeypatch.setattr("relay.spool.local.claims._RIPENED", 3)
    ids = await flood(20)
    for entry in await outbox.claim(now=NOW, limit=20, lease_seconds=60):
        await outbox.defer(entry, until=later(60), reason="r", detail="", now=NOW)
    found = []
    while await outbox.next_due_at() is not None and len(found) < 20:
        found += await claim(outbox, 2, now=later(60))
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
async def test_no_group_starves_whoever_floods(spool, put, seed):
    """While a network waits, no other is served twice; nor is a domain, while another of its network waits.

    Mail comes at random, most of it from one network, and the deliverer is started anew now and then.
    """
    rng = random.Random(seed)
    outbox = spool.open_outbox()
    waiting: dict[str, tuple[str, str]] = {}
    passed: dict[object, list[object]] = {}
    for _ in range(60):
        for _ in range(rng.randrange(6)):
            network = rng.choice(["198.51.100.1"] * 5 + [f"192.0.{n}.1" for n in range(4)])
            domain = f"x@d{rng.randrange(3)}.example"
            waiting[await put(peer=network, reverse_path=domain)] = (network, domain)
        if rng.random() < 0.2:
            await outbox.close()
            outbox = spool.open_outbox()
        for spool_id in await claim(outbox, rng.randrange(1, 4)):
            network, domain = waiting.pop(spool_id)
            groups = {*waiting.values()}
            passed = {one: seen for one, seen in passed.items() if one in groups or one in dict(groups)}
            passed.pop(network, None)
            passed.pop((network, domain), None)
            for other in {one for one, _ in groups} - {network}:
                passed.setdefault(other, []).append(network)
            for other in {one for one in groups if one[0] == network} - {(network, domain)}:
                passed.setdefault(other, []).append(domain)
            assert all(len(seen) == len(set(seen)) for seen in passed.values())
