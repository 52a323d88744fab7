"""The turns in a fleet's queue: nobody waits behind a flood, whoever makes it."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from relay.spool.fleet.crowd import Crowd
from relay.spool.fleet.turns import FleetTurns, Line, Waiting
from relay.spool.groups import NEW, REPLY

_NUMBER = iter(range(1, 10**9))


def waiting(route="a", *, priority=NEW, network=1, domain=1, due_at=0):
    return Waiting(
        key=(f"M#{next(_NUMBER):09}", "E#000001"),
        route=route,
        priority=priority,
        network=network,
        domain=domain,
        due_at=due_at,
        address="a@b",
        accepted_at=0,
        epoch=0,
        attempts=0,
    )


def turns(seed=0):
    return FleetTurns(lambda: Random(seed).getrandbits(63))


def lines(*entries):
    routes = {each.route for each in entries}
    return {route: Line([each for each in entries if each.route == route]) for route in routes}


def test_flood_of_one_network_delays_only_itself():
    """Of three hundred mails of one network and one of another, both networks have the first two turns."""
    flood = [waiting(network=7, domain=number % 50) for number in range(300)]
    other = waiting(network=9, due_at=10)
    chosen = turns().choose(lines(*flood, other), {}, limit=2)
    assert {each.network for each in chosen} == {7, 9}


def test_flood_of_one_domain_delays_only_itself():
    """Within a network the domains of reverse-paths take turns."""
    flood = [waiting(domain=3) for _ in range(300)]
    chosen = turns().choose(lines(*flood, waiting(domain=4)), {}, limit=2)
    assert {each.domain for each in chosen} == {3, 4}


def test_routes_have_one_entry_each_in_turn():
    """A route with a long queue does not keep others waiting, in one claim or over many."""
    entries = [waiting("busy") for _ in range(9)] + [waiting(route) for route in "bc" for _ in range(3)]
    order = turns()
    by_route = lines(*entries)
    served = [order.choose(by_route, {}, limit=1)[0].route for _ in range(9)]
    assert [sorted(served[at : at + 3]) for at in (0, 3, 6)] == [["b", "busy", "c"]] * 3


def test_replies_leave_one_claim_in_four_to_new_mail():
    """Replies come first, and new mail has at least every fourth turn."""
    entries = [waiting(priority=REPLY) for _ in range(30)] + [waiting(priority=NEW) for _ in range(10)]
    chosen = turns().choose(lines(*entries), {}, limit=40)
    assert [each.priority for each in chosen] == [NEW, REPLY, REPLY, REPLY] * 10


def test_probes_have_the_turn_of_their_route():
    """Probes of a held route take no more places than one of each round."""
    probes = {"held": [waiting("held") for _ in range(5)]}
    chosen = turns().choose(lines(*[waiting("fine") for _ in range(5)]), probes, limit=4)
    assert Counter(each.route for each in chosen) == {"fine": 2, "held": 2}


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(1, 3), st.integers(1, 3)), max_size=40
    )
)
def test_every_entry_has_its_turn_once(facts):
    """Whatever waits, each entry is chosen once, and of one group the first due comes first."""
    entries = [
        waiting(route, priority=priority, network=network, domain=domain, due_at=at)
        for at, (route, priority, network, domain) in enumerate(facts)
    ]
    chosen = turns().choose(lines(*entries), {}, limit=1_000)
    assert sorted(each.key for each in chosen) == sorted(each.key for each in entries)
    groups: dict[tuple[str, int, int, int], list[int]] = {}
    for each in chosen:
        groups.setdefault((each.route, each.priority, each.network, each.domain), []).append(each.due_at)
    assert all(instants == sorted(instants) for instants in groups.values())


def test_crowd_shows_who_stands_behind_a_flood():
    """Page by page the leader sees the whole queue: a network behind ten thousand mails of another is known
    after some looks, few of the flood are remembered, and whoever had a turn is forgotten.
    """
    flood = [waiting(network=7, due_at=number) for number in range(10_000)]
    other = waiting(network=9, due_at=10_000)
    queue = [*flood, other]
    crowd, looks = Crowd(), 0
    while other not in crowd.merge(flood[:400], until=10_000):
        begin = queue.index(crowd.last or flood[399]) + 1
        page = queue[begin : begin + 1_000]
        crowd.add(page, is_last=len(page) < 1_000)
        looks += 1
    assert looks <= 10
    assert crowd.last is None, "the walk begins anew"
    assert len(crowd.merge([], until=10_000)) == 51
    assert other not in crowd.merge([], until=9_999)
    crowd.forget([other.key])
    assert other not in crowd.merge([], until=10_000)
