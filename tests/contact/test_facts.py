"""The facts that a flow, a routing rule or an AI asks for."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from factory import make_config, make_context, make_message, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.facts import find_new_text, read_facts, read_importance, read_language
from relay.contact.fit import fit
from relay.contact.limits import ATTRIBUTE_BYTES


def with_headers(**fields):
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return make_message(text="Where is it?", headers=headers)


@pytest.mark.parametrize(
    ("fields", "importance"),
    [
        ({"Importance": "High"}, "high"),
        ({"X_Priority": "1 (Highest)"}, "high"),
        ({"X_Priority": "3"}, "normal"),
        ({"Priority": "non-urgent"}, "low"),
        ({"X_MSMail_Priority": "Low"}, "low"),
        ({"Importance": "maybe", "X_Priority": "5"}, "low"),
        ({"Importance": "low", "X_Priority": "1"}, "low"),
        ({"Importance": ""}, ""),
        ({}, ""),
    ],
)
def test_importance_is_the_authors_word(fields, importance):
    """The first header that can be read tells the importance; none is made up."""
    assert read_importance(with_headers(**fields)) == importance


@pytest.mark.parametrize(
    ("field", "text", "language"),
    [
        ("de-AT", "Wo ist es?", "de-AT"),
        ("en, fr", "Where?", "en"),
        ("no language at all", "Where?", ""),
        ("x" * 500, "Where?", ""),
        (None, "Where is my order?", ""),
        (None, "Où est ma commande ? Ça dépend.", ""),
        (None, "注文番号4711はどこですか", "ja"),
        (None, "我的订单在哪里", "zh"),
        (None, "주문이 어디에 있습니까", "ko"),
        (None, "Πού είναι η παραγγελία μου;", "el"),
        (None, "Где мой заказ?", "und-Cyrl"),
        (None, "أين طلبي", "und-Arab"),
        (None, "איפה ההזמנה שלי", "he"),
        (None, "คำสั่งซื้อของฉันอยู่ที่ไหน", "th"),
        (None, "4711 !?", ""),
    ],
)
def test_language_is_declared_or_written_in_a_script_of_its_own(field, text, language):
    """Content-Language tells the language, else the script where it is not Latin."""
    fields = {} if field is None else {"Content_Language": field}
    assert read_language(with_headers(**fields), text) == language


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("Thanks!\n\nOn Monday, Ann wrote:\n> Where is it?\n> Ann\n", "Thanks!"),
        ("Danke!\n\nAm Montag\nschrieb Ann <a@b.example>:\n\n> Wo?\n", "Danke!\n\nAm Montag"),
        ("Merci\n> cité\n> encore", "Merci"),
        ("Yes.\n\n-----Original Message-----\nFrom: Desk\nSent: today\nTo: Ann\n\nIs it?", "Yes."),
        ("Ja.\n\n________________________________\nVon: Desk\nGesendet: heute\nAn: Ann\n\nIst es?", "Ja."),
        ("はい\n\n差出人: Desk\n送信日時: 今日\n宛先: Ann\n\n?", "はい"),
    ],
)
def test_new_text_stands_above_the_quoted_mail(text, new):
    """The new words are those above the quotation, however the program marks it."""
    assert find_new_text(text) == new


@pytest.mark.parametrize(
    "text",
    [
        "No quotation at all.",
        "On Monday, Ann wrote:\n> Where is it?\n\nIt is here.",
        "Hi,\n> Where?\nHere.\n> When?\nNow.",
        "> All is quoted",
        "FYI\n\n---------- Forwarded message ----------\nFrom: Ann\nDate: today\n\nWhere is it?",
        "I read this:\nFrom: nobody ever\nAnd so on.",
        "Totals\n----- sum of it all -----\n4711",
        "",
    ],
)
def test_new_text_is_the_whole_where_that_is_in_doubt(text):
    """Answers between the lines, mail passed on and look-alikes cost no word."""
    assert find_new_text(text) == text


@given(st.text(alphabet=st.sampled_from("> :-_\nFromSent:vVon：w"), max_size=300) | st.text(max_size=300))
def test_any_text_has_facts(text):
    """The facts of any text are found; the new text is the text or its beginning."""
    assert text.startswith(find_new_text(text))
    facts = read_facts(make_message(text=text, html=text))
    assert len(facts.new_text.encode()) <= 2_048
    assert "\n" not in facts.new_text


@pytest.mark.parametrize("piece", [">", ":\n", "From: a\n", "---- a ----\n", "_" * 12 + "\n", "<div>", "א"])
def test_facts_of_a_hostile_text_are_found_in_linear_time(piece):
    """A megabyte of marks costs no more than its first 64 KiB."""
    text = piece * ((1 << 20) // len(piece))
    begun = time.process_time()
    read_facts(make_message(text=text))
    read_facts(make_message(html=text))
    assert time.process_time() - begun < 2


def test_facts_stand_among_the_attributes_of_a_contact():
    """A flow finds the facts beside those of the wait; what the configuration leaves out is not there."""
    message = with_headers(Importance="high", Content_Language="en")
    message = replace(message, text="Again!\n\n> Where is it?", html="")
    config = make_config(contact={"attributes_left_out": ["peer", "helo"]})
    plan = fit(message, make_context(waited_seconds=90), make_route(config), config)
    found = {name.removeprefix("relay_"): value for name, value in plan.attributes.items()}
    assert found["importance"] == "high"
    assert found["language"] == "en"
    assert found["new_text"] == "Again!"
    assert found["accepted_at"] == "2025-03-01T12:00:00+00:00"
    assert found["waited_seconds"] == "90"
    assert "Where is it?" in plan.body
    assert not {"peer", "helo"} & found.keys()
    assert sum(len(k.encode()) + len(v.encode()) for k, v in plan.attributes.items()) <= ATTRIBUTE_BYTES
