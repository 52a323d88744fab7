"""The attributes of a contact."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from factory import DESTINATION, make_config, make_context, make_message, make_route

from relay.contact.attribute_names import MEANINGS
from relay.contact.attributes import build_attributes
from relay.contact.bounce import Bounce
from relay.contact.facts import Facts
from relay.contact.plan import Adaptation
from relay.contact.risk.codes import Risk, RiskCode
from relay.smtp.handler_answers import HANDLER_ATTRIBUTE_BYTES, read_attributes
from relay.vocabulary import Classification, Rung


def build(
    message=None,
    *,
    context=None,
    contact=None,
    rung=Rung.FULL,
    codes=(),
    from_address="jane@customer.example",
    bounce=None,
    facts=Facts(),  # noqa: B008 - a frozen value
    risks=(),
    **route,
):
    config = make_config(contact=contact, **route)
    attributes, changes = build_attributes(
        message or make_message(),
        context or make_context(),
        make_route(config),
        config,
        classification=Classification.HUMAN,
        bounce=bounce,
        facts=facts,
        risks=risks,
        original_key="mail/0123456789ab/original.eml",
        from_address=from_address,
        adaptations=[Adaptation(code=code, detail="") for code in codes],
        rung=rung,
    )
    return dict(attributes), [change.code for change in changes]


def test_all_that_is_known():
    """Every attribute of the contract that the mail and its session know, and no other."""
    message = replace(
        make_message(reply_to=["kim@x.example"], to=[DESTINATION, "bob@x.example"], cc=["eve@x.example"]),
        message_id="<1@x.example>",
        date=datetime(2025, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2))),
    )
    context = make_context(
        forward_paths=["support+vip@example.com"],
        results={
            "relay_spf": "pass",
            "relay_dkim": "fail",
            "relay_dmarc": "pass",
            "relay_arc": "none",
            "relay_dkim_detail": "fail x.example s1: the body was changed",
            "relay_identity": "verified: x.example lets this server send for it",
            "relay_other": "no attribute of ours",
        },
    )
    attributes, changes = build(message, context=context, codes=["body.note", "body.empty", "body.note"])
    assert attributes == {
        "relay_spool_id": "0123456789ab",
        "relay_message_id": "<1@x.example>",
        "relay_original": "mail/0123456789ab/original.eml",
        "relay_classification": "human",
        "relay_adaptations": "body.note body.empty",
        "relay_envelope_from": "jane@customer.example",
        "relay_envelope_to": "support+vip@example.com",
        "relay_reply_to": "kim@x.example",
        "relay_identity": "verified: x.example lets this server send for it",
        "relay_spf": "pass",
        "relay_dkim": "fail",
        "relay_dmarc": "pass",
        "relay_arc": "none",
        "relay_dkim_detail": "fail x.example s1: the body was changed",
        "relay_date": "2025-03-01T10:00:00+00:00",
        "relay_tag": "vip",
        "relay_peer": "192.0.2.7",
        "relay_helo": "mail.customer.example",
        "relay_tls": "TLSv1.3",
        "relay_original_to": "support@example.com, bob@x.example",
        "relay_original_cc": "eve@x.example",
    }
    assert changes == []


def test_null_reverse_path_is_printed():
    """A bounce's envelope sender is <>, which is known."""
    assert build(context=make_context(reverse_path=None))[0]["relay_envelope_from"] == "<>"


def test_from_stands_where_another_address_is_sent():
    """The author as written is kept when the contact carries another address."""
    assert "relay_from" not in build()[0]
    assert build(from_address="kim@x.example")[0]["relay_from"] == "jane@customer.example"


def test_prefix_is_configurable():
    """Attributes can be named to fit the desk's own; the results of checks too."""
    attributes, _ = build(
        context=make_context(results={"relay_spf": "pass"}), contact={"attribute_prefix": "mail-"}
    )
    assert attributes["mail-spf"] == "pass"
    assert not any(key.startswith("relay_") for key in attributes)


def test_attributes_of_the_route_come_first_and_win():
    """What the operator says of a route stands before ours, and in place of one of ours that is left out."""
    attributes, _ = build(
        contact={"attributes_left_out": ["peer"]},
        attributes={"desk": "support", "relay_peer": "hidden", "void": ""},
    )
    assert list(attributes)[:2] == ["desk", "relay_peer"]
    assert attributes["relay_peer"] == "hidden"
    assert "void" not in attributes


def with_attributes(*pairs):
    """The context of a mail for which handlers have set these attributes."""
    context = make_context()
    return replace(context, envelope=replace(context.envelope, attributes=pairs))


def test_attributes_of_handlers_come_behind_those_of_the_route():
    """A handler's attributes are the contact's, before ours; the operator's word for the route stands against
    them.
    """
    context = with_attributes(("customer", "4711"), ("desk", "other"))
    attributes, codes = build(context=context, attributes={"desk": "support"})
    assert list(attributes)[:3] == ["desk", "customer", "relay_spool_id"]
    assert (attributes["desk"], attributes["customer"], codes) == ("support", "4711", [])


def test_most_attributes_of_handlers_leave_room_for_ours():
    """Handlers that set as much as they may leave what finds the mail in its place."""
    value = "x" * (HANDLER_ATTRIBUTE_BYTES - 1)
    taken, _ = read_attributes({"a": value}, prefix="relay_")
    attributes, _ = build(context=with_attributes(*taken.items()))
    assert attributes["a"] == value
    assert {"relay_spool_id", "relay_original", "relay_peer"} <= attributes.keys()


def test_plain_rungs_leave_out_what_handlers_set():
    """When Connect has refused a mail, what a handler made of it may be the reason: it is sent without."""
    for rung in (Rung.TEXT, Rung.ORIGINAL):
        assert "customer" not in build(context=with_attributes(("customer", "4711")), rung=rung)[0]


def test_tag_is_not_what_the_route_itself_spells():
    """An address that a route matches with its plus sign has no tag."""
    context = make_context(forward_paths=["a+b@example.com"])
    assert build(context=context)[0]["relay_tag"] == "b"
    assert "relay_tag" not in build(context=context, match=["a+b@example.com"])[0]


def test_fifty_thousand_recipients_are_counted():
    """A list that is too long names the first and says how many there are."""
    attributes, _ = build(make_message(to=[f"to{n}@x.example" for n in range(50_000)]))
    assert len(attributes["relay_original_to"].encode()) <= 2_048
    assert attributes["relay_original_to"].endswith("… (50,000 in all)")


def test_long_values_are_cut():
    """One value never pushes out the others."""
    attributes, codes = build(replace(make_message(), message_id="<" + "é" * 5_000 + ">"))
    assert len(attributes["relay_message_id"].encode()) <= 2_048
    assert codes == ["attribute.cut"]


def test_lowest_priority_is_dropped_first():
    """Together they stay within 32,768 bytes; what says least of the mail goes first."""
    room = 32_768 - sum(len(key) + len(value) for key, value in build()[0].items())
    filler = {f"key{n}": "x" * 2_000 for n in range((room + 200) // 2_004)}
    used = sum(len(key) + len(value) for key, value in filler.items())
    filler["last"] = "x" * (room - used - len("last") + 10)
    attributes, codes = build(attributes=filler)
    assert sum(len(key) + len(value) for key, value in attributes.items()) <= 32_768
    assert "relay_original_to" not in attributes
    assert "relay_tls" in attributes
    assert codes == ["attributes.dropped"]


def test_hostile_values_are_one_clean_line():
    """A peer's HELO and a header's reply address carry no control characters or lone surrogates."""
    context = make_context()
    peer = replace(context.envelope.peer, helo="evil\r\nname\x00\udc80")
    context = replace(context, envelope=replace(context.envelope, peer=peer))
    assert build(context=context)[0]["relay_helo"] == "evil name \ufffd"


def test_last_rung_carries_what_finds_the_mail():
    """At the last rung only the operator's own and what leads to the mail remain."""
    attributes, _ = build(rung=Rung.TEXT, attributes={"desk": "support"})
    assert set(attributes) == {"desk", "relay_spool_id", "relay_original", "relay_classification"}


def test_page_has_every_attribute_in_its_order_of_priority():
    """docs/attributes.md has the attributes that a contact can have, and drops those at its end first."""
    message = replace(
        make_message(reply_to=["kim@x.example"], to=["bob@x.example"], cc=["eve@x.example"]),
        message_id="<1@x.example>",
        date=datetime(2025, 3, 1, tzinfo=UTC),
    )
    checks = ("spf", "dkim", "dmarc", "arc", "iprev", "dnsbl", "upstream")
    results = {f"relay_{check}": "pass" for check in checks}
    results |= {f"relay_{check}_detail": "in words" for check in checks} | {
        "relay_identity": "verified",
        "relay_policy": "spf.fail",
        "relay_hop_detail": "in words",
        "relay_virus": "virus",
        "relay_virus_name": "Test.Virus",
        "relay_virus_detail": "virus found, Test.Virus",
        "relay_spam": "clean",
        "relay_spam_score": "-0.10",
        "relay_spam_detail": "not taken for spam",
        "relay_lists": "vip",
        "relay_priority": "1",
    }
    context = make_context(
        forward_paths=["support+vip@example.com"], results=results, waited_seconds=7, sensitive=("card",)
    )
    facts = Facts(importance="high", language="de", new_text="Wo?")
    bounce = Bounce(recipients=("kim@x.example",), status="5.1.1", diagnostic="550 5.1.1 unknown")
    attributes, _ = build(
        message,
        context=context,
        codes=["body.note"],
        from_address="other@x.example",
        bounce=bounce,
        facts=facts,
        risks=[Risk(code=RiskCode.HIDDEN, detail="3 words")],
    )
    missing = [name for name in MEANINGS if f"relay_{name}" not in attributes]
    assert [name.removeprefix("relay_") for name in attributes] == [
        name for name in MEANINGS if name not in missing
    ]
    assert missing in ([], ["tls"], ["helo", "tls"])


@pytest.mark.parametrize("turn", ["\u061c", "\u200f", "\u202e", "\u2066"])
def test_nothing_turns_an_address_or_an_id(turn):
    """Whatever a sender or its server writes, no attribute but the text shows what follows backwards; text
    from right to left keeps its marks.
    """
    hostile = f"moc.elpmaxe{turn}@bank"
    message = make_message(reply_to=[hostile], to=[hostile], cc=[hostile], author=hostile)
    message = replace(message, message_id=f"<{hostile}>")
    context = make_context(
        reverse_path=hostile,
        forward_paths=[f"support+{turn}x@example.com"],
        results={"relay_dkim_detail": hostile},
    )
    peer = replace(context.envelope.peer, helo=hostile, tls=hostile)
    context = replace(context, envelope=replace(context.envelope, peer=peer))
    bounce = Bounce(recipients=(hostile,), status="5.1.1", diagnostic=hostile)
    attributes, _ = build(message, context=context, bounce=bounce, facts=Facts(new_text=f"a{turn}b"))
    assert attributes.pop("relay_new_text") == f"a{turn}b"
    assert attributes["relay_envelope_from"] == "moc.elpmaxe\ufffd@bank"
    assert [key for key, value in attributes.items() if turn in value] == []
