"""The lists of a mail's sender: what counts without proof, and what does not."""

from __future__ import annotations

import pytest

from relay.config.builtin import builtin_config
from relay.policy.lists import Listing, Senders, build_list_results, find_favours
from relay.policy.origin import Handling, decide_handling, decide_wire, find_rules, list_met

LISTS = {"blocked": {"file": "/lists/blocked"}, "vip": {"file": "/lists/vip"}}
VIP = {"attribute": True, "priority": 1, "flow": "f-vip"}
CONFIG = builtin_config(
    lists=LISTS, routes=[{"match": ["a@example.com"], "lists": {"blocked": "reject", "vip": VIP}}]
)
ROUTE = CONFIG.routes[0]
RULES = find_rules(CONFIG, ROUTE, listener="")
JANE = "jane@bank.example"


def results_for(*listings, authors=(JANE,), reverse_path=JANE, **words):
    """The results of a mail whose sender is on these lists."""
    results = {f"relay_{name}": word for name, word in words.items()}
    senders = Senders(authors=authors, reverse_path=reverse_path)
    return results | build_list_results(listings, senders, results)


AUTHOR = Listing(name="vip", author=True)
SENDER = Listing(name="vip", sender=True)
BOTH = Listing(name="vip", author=True, sender=True)


@pytest.mark.parametrize(
    ("listing", "senders", "words", "counts"),
    [
        (AUTHOR, {}, {"dmarc": "pass"}, True),
        (AUTHOR, {}, {"spf": "pass", "dmarc": "none"}, True),
        (AUTHOR, {"reverse_path": "x@BANK.example"}, {"spf": "pass"}, True),
        # Anybody can have SPF pass for a domain of his own: it says nothing of the author.
        (AUTHOR, {"reverse_path": "thief@elsewhere.example"}, {"spf": "pass", "dmarc": "fail"}, False),
        (AUTHOR, {"reverse_path": "thief@elsewhere.example"}, {"spf": "pass", "dmarc": "none"}, False),
        (AUTHOR, {"reverse_path": None}, {"spf": "pass"}, False),
        (AUTHOR, {"authors": (JANE, "x@elsewhere.example")}, {"spf": "pass"}, False),
        (AUTHOR, {}, {"spf": "pass", "dmarc": "fail"}, False),
        (AUTHOR, {}, {"dkim": "pass"}, False),
        (AUTHOR, {}, {}, False),
        (SENDER, {}, {"spf": "pass", "dmarc": "fail"}, True),
        (SENDER, {"authors": ("x@elsewhere.example",)}, {"dmarc": "pass", "spf": "softfail"}, False),
        (BOTH, {}, {"dmarc": "temperror", "spf": "temperror"}, False),
    ],
)
def test_favour_needs_a_proof_of_the_address_that_is_listed(listing, senders, words, counts):
    """DMARC proves the author, SPF the reverse-path, and with it an author of the same domain."""
    results = results_for(listing, **senders, **words)
    expected = {"relay_lists": "vip", "relay_priority": "1"} if counts else {}
    assert find_favours(results, ROUTE) == expected
    assert decide_handling(results, RULES) == (
        Handling(flow="f-vip", rule="list.vip") if counts else Handling()
    )


@pytest.mark.parametrize("words", [{}, {"dmarc": "fail", "spf": "fail"}, {"dmarc": "pass"}])
def test_block_counts_for_any_claim(words):
    """What keeps mail out needs no proof: the reply is 550 5.7.1."""
    results = results_for(Listing(name="blocked", author=True), **words)
    reply = decide_wire({"a": list_met(results, RULES)}).reply
    assert (reply.code, reply.status) == (550, "7.1")


@pytest.mark.parametrize("action", ["hold", "drop", "tag", "defer"])
def test_each_action_against_a_mail_needs_no_proof(action):
    """A rule of the policy for a list is the same as the word of the route, and is met without proof."""
    for route in (
        {"policy": {"list.blocked": action}},
        {"lists": {"blocked": action}},
        {"lists": {"blocked": {"action": action}}},
    ):
        config = builtin_config(lists=LISTS, routes=[{"match": ["a@example.com"], **route}])
        rules = find_rules(config, config.routes[0], listener="")
        met = list_met(results_for(Listing(name="blocked", sender=True)), rules)
        assert [(each.rule, each.action) for each in met] == [("list.blocked", action)]


def test_mail_that_is_on_no_list_has_no_results():
    """Nothing is stored for a sender whom no list names."""
    assert results_for(dmarc="pass") == {"relay_dmarc": "pass"}
