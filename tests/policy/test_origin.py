"""The policy over the results of a mail's checks: which rule counts, for which route, and when."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.builtin import builtin_config
from relay.config.policy import ORIGIN_RULES, PRESETS, RULES, Rule
from relay.policy.origin import (
    Handling,
    choose_handling,
    decide_handling,
    decide_wire,
    find_rules,
    list_late,
    list_late_tags,
    list_met,
)

EARLY = ORIGIN_RULES
LATE = tuple(name for name in RULES if name not in EARLY)
ACTIONS = ("accept", "tag", "hold", "drop", "defer", "reject", "flow:f-1")


def results_that_meet(rule):
    """The results of a mail that meets one rule alone."""
    if rule == "listed":
        return {"relay_dnsbl": "fail"}
    check, _, word = rule.partition(".")
    if check == "dmarc":
        return {"relay_dmarc": "fail", "relay_dmarc_policy": word}
    if rule in {"virus", "spam"}:
        return {f"relay_{rule}": rule}
    if rule == "scan.unavailable":
        return {"relay_virus": "unavailable", "relay_spam": "clean"}
    return {f"relay_{check}": word}


def rules_of(**table):
    """The rules of a route with this policy."""
    config = builtin_config(routes=[{"match": ["support@example.com"], **table}])
    return find_rules(config, config.routes[0], listener="")


@pytest.mark.parametrize("rule", EARLY)
def test_each_rule_is_met_by_its_result_alone(rule):
    """A mail with one bad result meets the rule of that name alone; a mail without results meets none."""
    everything = {name: Rule(action="tag") for name in EARLY}
    assert [met.rule for met in list_met(results_that_meet(rule), everything)] == [rule]
    assert list_met({}, everything) == ()


@pytest.mark.parametrize(
    ("word", "met"), [("spam", ["spam"]), ("phish", ["spam"]), ("clean", []), ("none", [])]
)
def test_word_of_the_gateway_in_front_is_spam_too(word, met):
    """Spam and phish, as the gateway says, meet the rule for spam, once, whatever our own scanner says."""
    rules = {"spam": Rule(action="tag")}
    assert [each.rule for each in list_met({"relay_upstream": word}, rules)] == met
    assert len(list_met({"relay_upstream": word, "relay_spam": "spam"}, rules)) == 1


@pytest.mark.parametrize(("rule", "action"), list(itertools.product(EARLY, ["defer", "reject"])))
def test_each_refusal_has_a_reply_of_its_kind(rule, action):
    """`defer` answers 451 and `reject` 550, or 554 for what is in a mail, with a code of the kind 7 (RFC
    7372); what a scanner could not tell is of the kind 3.
    """
    met = {"a": list_met(results_that_meet(rule), {rule: Rule(action=action)})}
    reply = decide_wire(met).reply
    code = 554 if rule in {"virus", "spam", "scan.unavailable"} else 550
    kind = "3" if rule == "scan.unavailable" else "7"
    assert (reply.code, reply.status.partition(".")[0]) == (451 if action == "defer" else code, kind)


#: The codes of IANA's registry of enhanced status codes that say which check failed, by the check.
REGISTERED = {
    "spf.fail": "7.23", "spf.softfail": "7.23", "spf.temperror": "7.24", "spf.permerror": "7.24", "dkim.fail": "7.20",
    "arc.fail": "7.29", "iprev.fail": "7.25",
}  # fmt: skip


@pytest.mark.parametrize("rule", EARLY)
def test_reply_has_the_code_that_is_registered_for_its_check(rule):
    """RFC 7372 §3 and RFC 8617 §5.2.2 have a code for each of these checks; for all others X.7.1 says that
    the policy refuses, as DMARC has it, and X.3.0 that the system could not tell.
    """
    reply = decide_wire({"a": list_met(results_that_meet(rule), {rule: Rule(action="reject")})}).reply
    assert reply.status == REGISTERED.get(rule, "3.0" if rule == "scan.unavailable" else "7.1")


CHECKS = {"relay_spf": "fail", "relay_dkim": "fail", "relay_arc": "fail", "relay_iprev": "fail"}


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"spf.fail": "reject", "dkim.fail": "reject"}, "550 5.7.26"),
        ({"spf.fail": "defer", "dkim.fail": "defer"}, "451 4.7.26"),
        ({"spf.fail": "defer", "arc.fail": "reject"}, "550 5.7.26"),
        ({"iprev.fail": "reject", "dmarc.reject": "reject"}, "550 5.7.26"),
        ({"spf.fail": "reject", "dkim.fail": "tag"}, "550 5.7.23"),
        ({"spf.fail": "reject", "dkim.fail": {"action": "reject", "observe": True}}, "550 5.7.23"),
        ({"spf.fail": "reject", "listed": "reject"}, "550 5.7.23"),
        ({"spf.fail": "reject", "dkim.fail": "reject", "virus": "reject"}, "554 5.7.1"),
    ],
)
def test_several_checks_that_refuse_have_a_code_of_their_own(policy, code):
    """Where rules for two checks of authentication refuse, the reply is X.7.26 (RFC 7372 §4); a rule that
    does not refuse, or is about something else, does not count.
    """
    bad = CHECKS | {
        "relay_dmarc": "fail", "relay_dmarc_policy": "reject", "relay_dnsbl": "fail", "relay_virus": "virus"
    }  # fmt: skip
    assert str(decide_wire({"a": list_met(bad, rules_of(policy=policy))}).reply)[:10].strip() == code[:10]


def test_scanner_away_is_deferred_where_the_configuration_says_so():
    """`scan.on_unavailable` is the rule of whoever has none of its own, and a route ends it."""
    routes = [
        {"match": ["a@example.com"]},
        {"match": ["b@example.com"], "policy": {"scan.unavailable": "accept"}},
    ]
    config = builtin_config(scan={"on_unavailable": "defer"}, routes=routes)
    away = {"relay_spam": "unavailable"}
    told = [
        decide_wire({"r": list_met(away, find_rules(config, route, listener=""))}).reply
        for route in config.routes
    ]
    assert [reply and str(reply)[:9] for reply in told] == ["451 4.3.0", None]
    assert "scan.unavailable" not in rules_of()


@pytest.mark.parametrize("action", ACTIONS)
def test_observed_rule_does_nothing(action):
    """A rule that is only observed is met, and neither refuses, holds, leads nor tags."""
    rules = {"spf.fail": Rule(action=action, observe=True)}
    assert len(list_met({"relay_spf": "fail"}, rules)) == 1
    assert decide_wire({"a": list_met({"relay_spf": "fail"}, rules)}).reply is None
    assert decide_handling({"relay_spf": "fail"}, rules) == Handling()


def met_with(action):
    return list_met({"relay_spf": "fail"}, {"spf.fail": Rule(action=action)})


def test_one_reply_refuses_only_where_every_route_refuses():
    """Where one route takes a mail, the route that would refuse it holds it; over LMTP it refuses alone."""
    assert decide_wire({"a": met_with("reject"), "b": met_with("reject")}).reply.code == 550
    assert decide_wire({"a": met_with("reject"), "b": met_with("defer")}).reply.code == 451
    some = {"a": met_with("reject"), "b": met_with("tag")}
    assert (decide_wire(some).reply, decide_wire(some).held) == (None, {"a": "spf.fail"})
    each = decide_wire(some, replies_each=True)
    assert (each.reply, each.held, list(each.refused)) == (None, {}, ["a"])
    assert decide_wire(some, refusing={"b"}).reply.code == 550


def test_strictest_rule_counts_at_delivery_and_every_tag():
    """Drop goes before hold before another flow, and tags are kept beside."""
    bad = {"relay_spf": "fail", "relay_dkim": "fail", "relay_arc": "fail", "relay_iprev": "fail"}
    rules = rules_of(
        policy={"spf.fail": "flow:f-1", "dkim.fail": "hold", "arc.fail": "tag", "iprev.fail": "tag"}
    )
    assert decide_handling(bad, rules) == Handling(
        action="hold", rule="dkim.fail", tags=("arc.fail", "iprev.fail")
    )
    rules = rules_of(policy={"spf.fail": "flow:f-1", "dkim.fail": "reject"})
    assert decide_handling(bad, rules) == Handling(flow="f-1", rule="spf.fail")


def test_rules_of_the_route_go_before_those_of_its_listener():
    """`protect` for a listener is ended for one route by `inform`, and added to by another."""
    config = builtin_config(
        listeners=[{"bind": "127.0.0.1:25", "policy": "protect"}],
        routes=[
            {"match": ["a@example.com"]},
            {"match": ["b@example.com"], "policy": {"preset": "inform"}},
            {"match": ["c@example.com"], "policy": {"dmarc": {"reject": "hold"}, "spf.fail": "tag"}},
        ],
    )
    plain, ended, added = (
        {name: rule.action for name, rule in find_rules(config, route, listener="127.0.0.1:25").items()}
        for route in config.routes
    )
    assert plain == PRESETS["protect"]
    assert set(ended.values()) == {"accept"}
    assert added == {**PRESETS["protect"], "dmarc.reject": "hold", "spf.fail": "tag"}


def test_rules_for_classes_are_on_and_flows():
    """`on` and `flows` are other names of rules for classes; what the policy says goes before them."""
    config = builtin_config(
        routes=[
            {
                "match": ["a@example.com"],
                "on": {"bulk": "drop", "bounce": "hold", "human": "deliver"},
                "flows": {"list": "f-1", "bounce": "f-2"},
                "policy": {"class.bulk": {"action": "drop", "observe": True}},
            }
        ]
    )
    rules = {name: (rule.action, rule.observe) for name, rule in config.routes[0].policy.items()}
    assert rules == {
        "class.bulk": ("drop", True),
        "class.bounce": ("hold", False),
        "class.human": ("accept", False),
        "class.list": ("flow:f-1", False),
    }
    assert type(config).model_validate(config.pack()) == config


@pytest.mark.parametrize(
    ("rule", "action"), list(itertools.product(LATE, ["hold", "drop", "tag", "flow:f-1"]))
)
def test_rules_for_classes_and_risks_count_at_delivery(rule, action):
    """Each class and each risk is a rule for listeners and routes, and each action that is not too late."""
    kind, _, word = rule.partition(".")
    met = {"class": (word, []), "risk": ("human", [word])}[kind]
    assert list_met({"relay_dmarc": "pass"}, {rule: Rule(action=action)}) == ()
    listeners = [{"bind": "127.0.0.1:25", "policy": {rule: action}}]
    config = builtin_config(listeners=listeners, routes=[{"match": ["a@example.com"]}])
    rules = find_rules(config, config.routes[0], listener="127.0.0.1:25")
    handling = choose_handling(list_late(*met, rules))
    assert (
        handling
        == {
            "hold": Handling(action="hold", rule=rule),
            "drop": Handling(action="drop", rule=rule),
            "tag": Handling(tags=(rule,)),
            "flow:f-1": Handling(flow="f-1", rule=rule),
        }[action]
    )
    assert list_late_tags(rules) == ((rule,) if action == "tag" else ())


words = st.sampled_from(
    ["none", "pass", "fail", "softfail", "policy", "temperror", "permerror", "reject", "\r\n", ""]
)
names = st.sampled_from(
    [
        "relay_spf",
        "relay_dkim",
        "relay_dmarc",
        "relay_dmarc_policy",
        "relay_arc",
        "relay_iprev",
        "relay_dnsbl",
    ]
)


@given(
    st.dictionaries(names, words),
    st.lists(st.dictionaries(st.sampled_from(EARLY), st.sampled_from(ACTIONS)), min_size=1, max_size=3),
    st.booleans(),
)
def test_nothing_is_lost_whatever_the_policy_is(results, policies, replies_each):
    """A mail is refused, or each of its routes takes, holds or (over LMTP) refuses it with a reply."""
    met = {
        str(at): list_met(results, {name: Rule(action=action) for name, action in each.items()})
        for at, each in enumerate(policies)
    }
    verdict = decide_wire(met, replies_each=replies_each)
    refuses = {
        route for route, each in met.items() if any(step.action in {"defer", "reject"} for step in each)
    }
    if verdict.reply is not None:
        assert refuses == set(met)
    else:
        assert refuses < set(met) or not refuses
        assert set(verdict.held) | set(verdict.refused) == refuses
    assert not (replies_each and verdict.held)
