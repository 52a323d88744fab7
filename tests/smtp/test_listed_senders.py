"""Lists of senders on the wire: who is refused, held and favoured, and that the dry run says the same."""

from __future__ import annotations

import smtplib

import pytest
from dns_server import dns_in_a_thread
from harness import until
from serving import Serving, build_config

from relay import telemetry
from relay.explain import Explainer, Origin
from relay.smtp import listeners
from relay.spool.model import PolicyCount
from relay.telemetry.counts import Counted
from relay.vocabulary import Disposition

ZONE = {
    ("bank.example", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
    ("_dmarc.bank.example", "TXT"): ['"v=DMARC1; p=none"'],
    ("elsewhere.example", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
}
VIP = {"attribute": True, "priority": 1, "flow": "f-vip"}
ROUTES = [
    {"match": ["support@example.com"], "lists": {"blocked": "reject", "vip": VIP}},
    {"match": ["sales@example.com"]},
    {"match": ["wait@example.com"], "policy": {"list.blocked": "defer"}},
    {"match": ["look@example.com"], "lists": {"blocked": {"action": "reject", "observe": True}}},
]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The files of two lists."""
    folder = tmp_path_factory.mktemp("lists")
    (folder / "blocked").write_text("thief@elsewhere.example\n.spam.example\n@münchen.example\n")
    (folder / "vip").write_text("ceo@bank.example\n@bank.example\n")
    return folder


@pytest.fixture(scope="module")
def serving(lists):
    """A listener of role mx that checks, and a trusted one with LMTP that does not."""
    with dns_in_a_thread(ZONE) as server:
        host, port = server.address
        config = build_config(
            dns={"servers": [f"{host}:{port}"], "timeout_seconds": 1.0, "deadline_seconds": 1.0},
            identity={"enabled": True},
            listeners=[
                {"bind": "127.0.0.1:0", "tls": "none"},
                {"bind": "127.0.0.1:0", "tls": "none", "role": "trusted", "protocol": "lmtp"},
            ],
            lists={name: {"file": str(lists / name)} for name in ("blocked", "vip")},
            routes=ROUTES,
        )
        with Serving(config) as running:
            yield running


def send(serving, author, sender, *recipients, listener=0):
    """Hand over one mail. Returns the reply to its data."""
    serving.spool.mails.clear()
    client = (smtplib.LMTP if listener else smtplib.SMTP)("127.0.0.1", serving.ports[listener])
    try:
        client.ehlo("c.example")
        client.mail(sender)
        for name in recipients:
            client.rcpt(f"{name}@example.com")
        return client.data(f"From: {author}\r\nSubject: x\r\n\r\nx\r\n".encode())
    finally:
        client.close()  # LMTP's other replies are not read, so nothing can be said any more


def explain(serving, author, sender, *recipients, **results):
    """The explanations of the same mail, when its checks have these results."""
    raw = f"From: {author}\r\nSubject: x\r\n\r\nx\r\n".encode()
    origin = Origin(
        reverse_path=sender or None,
        is_sender_given=True,
        attributes={f"relay_{name}": word for name, word in results.items()},
    )
    addresses = [f"{name}@example.com" for name in recipients]
    return Explainer(serving.config, recipients=addresses).read("f", raw, origin)


@pytest.mark.parametrize(
    ("author", "sender"),
    [
        ("x@a.example", "THIEF@Elsewhere.example"),
        ("Thief@elsewhere.example", "x@a.example"),
        ("x@a.example, The Thief <thief@elsewhere.example>", "x@a.example"),
        ("x@a.example\r\nFrom: thief@elsewhere.example", "x@a.example"),
        ("=?utf-8?q?x?= <thief@elsewhere.example>", ""),
        ('"' + "y" * 3_000 + '" <thief@elsewhere.example>', ""),
        ("a@spam.example", ""),
        ("a@b.c.spam.example", ""),
        ("a@xn--mnchen-3ya.example", ""),
        ("a@MÜNCHEN.example", ""),
    ],
)
def test_blocked_sender_is_refused_however_it_is_written(serving, author, sender):
    """A list that blocks counts for author and reverse-path, without any proof, on the wire and in the dry
    run.
    """
    code, text = send(serving, author, sender, "support")
    assert (code, text[:6]) == (550, b"5.7.1 ")
    assert serving.spool.mails == []
    (told,) = explain(serving, author, sender, "support")
    assert (told.reply.code, told.disposition) == (550, Disposition.REJECT)


@pytest.mark.parametrize(
    ("recipients", "code", "held"),
    [
        (["support", "wait"], 451, []),
        (["support", "sales"], 250, [("support@example.com", "policy.list.blocked")]),
        (["wait"], 451, []),
        (["sales"], 250, []),
        (["look"], 250, []),
    ],
)
def test_each_route_has_its_word_for_a_list(serving, recipients, code, held):
    """One reply for all: refused where every route refuses, else held for the route that would; the dry run
    agrees.
    """
    assert send(serving, "thief@elsewhere.example", "", *recipients)[0] == code
    assert [(hold.route, hold.reason) for mail in serving.spool.mails for hold in mail.holds] == held
    for told in explain(serving, "thief@elsewhere.example", "", *recipients):
        expected = told.reply.code if told.reply is not None else 250
        assert expected == code
        assert (told.disposition is Disposition.QUARANTINE) == (told.destination in dict(held))


def test_lmtp_refuses_the_blocked_sender_for_each_recipient(serving):
    """Lists are asked on trusted listeners, too, and LMTP has a reply for each recipient."""
    assert send(serving, "thief@elsewhere.example", "", "support", "sales", listener=1)[0] == 550
    (mail,) = serving.spool.mails
    assert [one.address for one in mail.destinations] == ["sales@example.com"]
    assert mail.results == {"relay_lists_found": "blocked"}


@pytest.mark.parametrize(
    ("author", "sender", "proved"),
    [
        ("ceo@bank.example", "ceo@bank.example", True),
        ("CEO <ceo@BANK.example>", "bounces@bank.example", True),
        ("ceo@bank.example", "robber@elsewhere.example", False),
        ("ceo@bank.example", "", False),
    ],
)
def test_favour_goes_to_a_proved_sender_alone(serving, author, sender, proved):
    """Mail that only claims to be from the bank is accepted like any other mail; the bank's own goes first,
    with its flow and attributes, as the dry run shows.
    """
    assert send(serving, author, sender, "support", "sales")[0] == 250
    (mail,) = serving.spool.mails
    assert mail.results["relay_lists_found"] == "vip"
    assert (mail.results.get("relay_lists_proved") == "vip") == proved
    assert mail.first == (("support@example.com",) if proved else ())
    words = {name: mail.results.get(f"relay_{name}", "none") for name in ("spf", "dmarc")}
    first, other = explain(serving, author, sender, "support", "sales", **words)
    assert (first.request.get("ContactFlowId") == "f-vip") == proved
    given = {name: first.request["Attributes"].get(f"relay_{name}") for name in ("lists", "priority")}
    assert given == ({"lists": "vip", "priority": "1"} if proved else {"lists": None, "priority": None})
    assert "relay_lists" not in other.request["Attributes"]


def test_rules_that_mails_meet_are_counted_by_sender(serving):
    """What is handed to the spool once a minute names rule, action, route and the author's domain."""
    telemetry.take_counts()
    for _ in range(2):
        assert send(serving, "thief@elsewhere.example", "", "look")[0] == 250
    assert send(serving, "a@spam.example", "thief@elsewhere.example", "support")[0] == 550
    counted = {key[1:]: number for key, number in telemetry.take_counts()}
    assert counted == {
        ("list.blocked", "reject", True, "look@example.com", "elsewhere.example"): 2,
        ("list.blocked", "reject", False, "support@example.com", "spam.example"): 1,
    }


def test_change_of_a_list_counts_for_the_next_mails(serving, lists):
    """A sender who is put on a list in a file is refused without a reload."""
    assert send(serving, "late@a.example", "", "support")[0] == 250
    beside = lists / "new"
    beside.write_text((lists / "blocked").read_text() + "late@a.example\n")
    beside.rename(lists / "blocked")
    for _ in range(500):
        if send(serving, "late@a.example", "", "support")[0] == 550:
            return
    raise AssertionError("the list was not read again")


def test_counts_are_handed_to_the_spool_while_the_listeners_work(lists, monkeypatch):
    """What rules met is written by and by, not only at the end."""
    monkeypatch.setattr(listeners, "_COUNT_SECONDS", 0.05)
    telemetry.take_counts()  # those of other tests in this process
    config = build_config(
        lists={"blocked": {"file": str(lists / "blocked")}},
        routes=[{"match": ["support@example.com"], "lists": {"blocked": "reject"}}],
    )
    with Serving(config) as running:
        assert send(running, "thief@elsewhere.example", "x@a.example", "support")[0] == 550
        (count,) = until(lambda: [each for each in running.spool.counts if isinstance(each, PolicyCount)])
        until(
            lambda: Counted.REFUSED_MAIL in {each.name for each in running.spool.counts if each is not count}
        )
    assert (count.rule, count.action, count.route, count.domain, count.mails) == (
        "list.blocked",
        "reject",
        "support@example.com",
        "elsewhere.example",
        1,
    )
