"""The wire and `relay explain` give the same answer for each rule of a policy, and for each action of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import NamedTuple

import pytest
from auth.signing import MAIL, NAME, record, rsa_key, sign
from dns_server import dns_in_a_thread
from scanner_server import SPAM, VIRUS, scanners_in_a_thread
from serving import Serving, build_config

from relay.cli.origin import build_asked
from relay.config.policy import ORIGIN_RULES
from relay.explain import Explainer
from relay.networks import parse_address
from relay.policy.origin import TAGS, Handling, decide_handling, find_rules
from relay.vocabulary import Disposition

PLAIN = b"From: jane@shop.example\r\nTo: support@example.com\r\nSubject: x\r\n\r\n%b\r\n"
#: In the form of `--dns`. The peers are 203.0.113.x; only two of them are known to anybody.
ZONE = {
    "fail.example": {"TXT": ["v=spf1 -all"]},
    "soft.example": {"TXT": ["v=spf1 ~all"]},
    "broken.example": {"TXT": ["v=spf1 nonsense:x"]},
    "silent.example": {"TXT": "SERVFAIL"},
    NAME: {"TXT": [record(rsa_key()).decode()]},
    "_dmarc.strict.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.wary.example": {"TXT": ["v=DMARC1; p=quarantine"]},
    "8.113.0.203.in-addr.arpa": {"PTR": ["liar.example"]},
    "liar.example": {"A": ["203.0.113.1"]},
    "9.113.0.203.bl.example": {"A": ["127.0.0.2"]},
}
CHANGED = sign(MAIL, rsa_key()).replace(b"a question.", b"a question!")


class Mail(NamedTuple):
    """A mail that meets a rule, and who sends it."""

    raw: bytes = PLAIN % b"Hello"
    sender: str = ""
    peer: str = "203.0.113.6"


#: By the rule, a mail that meets it.
MAILS = {
    "spf.fail": Mail(sender="a@fail.example"),
    "spf.softfail": Mail(sender="a@soft.example"),
    "spf.temperror": Mail(sender="a@silent.example"),
    "spf.permerror": Mail(sender="a@broken.example"),
    "dkim.fail": Mail(raw=CHANGED),
    "dmarc.reject": Mail(raw=PLAIN.replace(b"shop", b"strict") % b"x"),
    "dmarc.quarantine": Mail(raw=PLAIN.replace(b"shop", b"wary") % b"x"),
    "arc.fail": Mail(
        raw=b"ARC-Seal: i=1; cv=none; a=rsa-sha256; d=a.example; s=s; b=AA==\r\n" + PLAIN % b"x"
    ),
    "iprev.fail": Mail(peer="203.0.113.8"),
    "listed": Mail(peer="203.0.113.9"),
    "virus": Mail(raw=PLAIN % VIRUS),
    "spam": Mail(raw=PLAIN % SPAM),
    "scan.unavailable": Mail(),
    "list.blocked": Mail(raw=PLAIN.replace(b"jane", b"thief") % b"x"),
    "spam by the gateway": Mail(
        raw=b"X-Rspamd-Action: reject\r\nReceived: from a.example (a.example [203.0.113.6]) by gw.ours; x\r\n"
        + PLAIN % b"x",
        peer="192.0.2.7",
    ),
}
ACTIONS = ("accept", "tag", "hold", "drop", "defer", "reject", "flow:f-1")
WORDS = ("spf", "dkim", "dmarc", "dmarc_policy", "arc", "iprev", "dnsbl", "upstream")


def address_of(rule, action):
    """The address whose route has this rule and no other."""
    return re.sub(r"[.:_]", "-", f"{rule}-{action}") + "@example.com"


def routes():
    """A route for each rule and action."""
    rules = [*ORIGIN_RULES, "list.blocked"]
    return [
        {"match": [address_of(rule, action)], "policy": {rule: action}}
        for rule in rules
        for action in ACTIONS
    ]


FORMS = {"TXT": '"{}"', "PTR": "{}."}


def as_records():
    """The zone as the DNS server of these tests has it."""
    return {
        (name, kind): [FORMS.get(kind, "{}").format(each) for each in records]
        if isinstance(records, list)
        else records.lower()
        for name, types in ZONE.items()
        for kind, records in types.items()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A listener of role mx behind a proxy, with all that it asks, and the file of the zone."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "blocked").write_text("thief@shop.example\n")
    (folder / "zone.json").write_text(json.dumps(ZONE))
    with dns_in_a_thread(as_records()) as server, scanners_in_a_thread() as scanners:
        host, port = server.address
        config = build_config(
            dns={"servers": [f"{host}:{port}"]},
            identity={
                "enabled": True,
                "dnsbl": ["bl.example"],
                "trusted_relays": ["192.0.2.0/24"],
                "upstream": "rspamd",
            },
            listeners=[{"bind": "127.0.0.1:0", "tls": "none", "proxy_protocol": ["127.0.0.0/8"]}],
            scan={"clamd": {"address": scanners.clamd}, "rspamd": {"url": scanners.rspamd}},
            lists={"blocked": {"file": str(folder / "blocked")}},
            limits={"messages_per_minute": 100_000, "recipients_per_minute": 100_000},
            routes=routes(),
        )
        with Serving(config) as serving:
            yield serving, scanners, str(folder / "zone.json")


def send(serving, mail, recipient):
    """The reply to the mail's data without our id, and the mail as it was stored, or None."""
    serving.spool.mails.clear()
    sent = mail.raw.replace(b"\r\n.", b"\r\n..")
    with serving.connect() as peer, peer.makefile("rb") as lines:
        peer.settimeout(60)
        peer.sendall(b"PROXY TCP4 %b 127.0.0.1 4711 25\r\n" % mail.peer.encode())
        said = [
            b"HELO c.example",
            b"MAIL FROM:<%b>" % mail.sender.encode(),
            b"RCPT TO:<%b>" % recipient.encode(),
        ]
        for command in [b"", *said, b"DATA", sent + b"."]:
            if command:
                peer.sendall(command + b"\r\n")
            while (line := lines.readline())[3:4] == b"-":
                pass
    told = re.sub(r" \[\w+\]$", "", line.decode().strip())
    return told, serving.spool.mails[0] if serving.spool.mails else None


def explain(world, mail, recipient, scanned):
    """The explanation of the same mail; scanners, which it asks nothing, have said this."""
    serving, _, zone = world
    asked = build_asked(
        peer=parse_address(mail.peer), helo="c.example", mail_from=f"<{mail.sender}>", zone_path=zone, at=None
    )
    origin = asked.find_origin(mail.raw, serving.config)
    found = origin.attributes
    origin = replace(origin, attributes={**found, **scanned})
    (explanation,) = Explainer(serving.config, recipients=[recipient]).read("f", mail.raw, origin)
    return explanation, found


def show(handling):
    """What an entry becomes: held, dropped, led to a flow, tagged."""
    return handling.action, handling.flow, handling.tags


def foretold(explanation):
    """The same, as the explanation has it."""
    action = explanation.reason.partition(":")[0] if explanation.reason else "accept"
    request = explanation.request
    tags = tuple(request["Attributes"].get(TAGS, "").split())
    return action, request.get("ContactFlowId"), tags


@pytest.mark.parametrize("name", MAILS)
def test_each_rule_and_action_has_one_answer(world, name):
    """A mail that meets a rule gets the reply and the handling that `relay explain` foretells, whatever the
    rule's action is; and the action is what it says.
    """
    serving, scanners, _ = world
    mail, rule = MAILS[name], name.partition(" ")[0]
    scanners.manner = "closing" if rule == "scan.unavailable" else "good"
    scanned = {}
    for action in ACTIONS:  # "accept" is first, and shows what the scanners said
        recipient = address_of(rule, action)
        reply, stored = send(serving, mail, recipient)
        if stored is not None:
            scanned = {
                each: value for each, value in stored.results.items() if each in ("relay_virus", "relay_spam")
            }
        explanation, found = explain(world, mail, recipient, scanned)
        refuses = action in ("defer", "reject")
        assert (stored is None) is refuses, reply
        assert (str(explanation.reply) if explanation.reply else None) == (reply if refuses else None)
        if stored is None:
            expected = Disposition.REJECT if action == "reject" else Disposition.DEFER
            assert explanation.disposition is expected
            assert reply.startswith("451 4." if action == "defer" else "55")
            continue
        assert {word: stored.results.get(f"relay_{word}") for word in WORDS} == {
            word: found.get(f"relay_{word}") for word in WORDS
        }
        route = next(each for each in serving.config.routes if each.match == (recipient,))
        rules = find_rules(serving.config, route, listener=stored.envelope.peer.listener)
        handling = decide_handling(stored.results, rules)
        assert show(handling) == foretold(explanation)
        favours = rule.startswith("list.") and action.startswith(
            "flow:"
        )  # not for a sender who is not proved
        assert show(handling) == show({
            "accept": Handling(),
            "tag": Handling(tags=(rule,)),
            "hold": Handling(action="hold"),
            "drop": Handling(action="drop"),
            "flow:f-1": Handling() if favours else Handling(flow="f-1"),
        }[action])  # fmt: skip


def test_every_rule_that_is_known_before_the_250_has_a_mail():
    """A new rule needs a mail here that meets it."""
    assert {name.partition(" ")[0] for name in MAILS} == {*ORIGIN_RULES, "list.blocked"}
