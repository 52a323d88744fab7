"""The marks of a gateway of ours, taken away at the very beginning: and nothing else."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from contact.factory import make_config, make_context, make_message, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.config import Config
from relay.contact.fit import fit
from relay.contact.strip import strip_marks

NOTICE = "CAUTION: This email originated from outside of the organisation."
STRIP = {"subject": ["[EXTERNAL]", "[SPAM?]"], "body": [NOTICE]}


def config_of(strip=STRIP, relays=("192.0.2.0/24",)):
    """A configuration whose gateway is the peer of the tests' mail."""
    base = make_config().model_dump()
    base["routes"] = [{"match": ["support@example.com"], "strip": strip}]
    base["identity"] = {"trusted_relays": list(relays)}
    return Config.model_validate(base)


def stripped(config=None, context=None, **mail):
    """The message after the rule, and the codes of its changes."""
    config = config or config_of()
    message, changes = strip_marks(
        make_message(**mail), context or make_context(), make_route(config), config
    )
    return message, [str(change.code) for change in changes]


@pytest.mark.parametrize(
    ("subject", "left"),
    [
        ("[EXTERNAL] Where is it?", "Where is it?"),
        ("[EXTERNAL][SPAM?] Where is it?", "Where is it?"),
        ("[SPAM?] [EXTERNAL] Where is it?", "Where is it?"),
        ("Re: [EXTERNAL] Where is it?", "Re: [EXTERNAL] Where is it?"),
        ("[external] Where is it?", "[external] Where is it?"),
        ("[EXTERNAL] [EXTERNAL] twice", "[EXTERNAL] twice"),
        ("[EXTERNAL]", "[EXTERNAL]"),
    ],
)
def test_subject(subject, left):
    """Exact text at the very beginning, once; a subject that is nothing else stays."""
    message, codes = stripped(subject=subject)
    assert message.subject == left
    assert codes == (["subject.stripped"] if subject != left else [])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{NOTICE}\n\nHello", "Hello"),
        ("\nCAUTION: This email\noriginated from  outside of the\norganisation.\n\n> quoted", "> quoted"),
        (f"Hello\n{NOTICE}", f"Hello\n{NOTICE}"),
        (f"{NOTICE}\n", f"{NOTICE}\n"),
        ("CAUTION: This email is mine", "CAUTION: This email is mine"),
    ],
)
def test_text(text, left):
    """The lines of a notice may be wrapped anew; one that the customer quotes stays."""
    message, _ = stripped(text=text)
    assert message.text == left


@pytest.mark.parametrize(
    ("html", "left"),
    [
        (f"<div>{NOTICE}</div><p>Hello</p>", "<p>Hello</p>"),
        (
            (
                "<html><head><title>x</title><style>p{a:b}</style></head><body><table><tr><td><b>CAUTION:</b> This email "
                "originated from outside of the organisation.</td></tr></table><br><p>Hello</p></body></html>"
            ),
            "<html><head><title>x</title><style>p{a:b}</style></head><body><br><p>Hello</p></body></html>",
        ),
        (f"<!-- x --><div><p>{NOTICE}</p><p>Hello</p></div>", "<!-- x --><div><p>Hello</p></div>"),
        (f"<p>{NOTICE} Hello</p>", f"<p>{NOTICE} Hello</p>"),
        (f"<p>Hello</p><p>{NOTICE}</p>", f"<p>Hello</p><p>{NOTICE}</p>"),
        (f"<span>{NOTICE}</span><p>Hello</p>", f"<span>{NOTICE}</span><p>Hello</p>"),
        (f"<p>{NOTICE}</p>", f"<p>{NOTICE}</p>"),
        (f"<div><p>{NOTICE}</p></div>Hello", "Hello"),
        (f"<div>{NOTICE}", f"<div>{NOTICE}"),
        (f"<p a='<'>{NOTICE}</p>Hello", f"<p a='<'>{NOTICE}</p>Hello"),
        (f"{NOTICE}<p>Hello</p>", f"{NOTICE}<p>Hello</p>"),
    ],
)
def test_html(html, left):
    """The outermost block that holds just the notice goes; where that is in doubt, nothing does."""
    message, codes = stripped(html=html)
    assert message.html == left
    assert codes == (["body.stripped"] if html != left else [])


def test_a_strangers_mail_is_not_touched():
    """What comes from elsewhere may say what it likes."""
    config = config_of(relays=["198.51.100.0/24"])
    message, codes = stripped(config, subject="[EXTERNAL] x", text=f"{NOTICE}\nHello")
    assert (message.subject, message.text, codes) == ("[EXTERNAL] x", f"{NOTICE}\nHello", [])


def test_a_hop_of_ours_in_front_counts():
    """A mail that was judged behind a system of ours came through it, whatever address it named."""
    config = config_of(relays=["198.51.100.0/24"])
    context = replace(make_context(), results={"relay_hop_detail": "judged as of 203.0.113.9"})
    assert stripped(config, context, subject="[EXTERNAL] x")[1] == ["subject.stripped"]


def test_the_contact_says_so_and_the_original_is_kept():
    """It is an adaptation like the others."""
    config = config_of()
    plan = fit(
        make_message(subject="[EXTERNAL] Order", text=f"{NOTICE}\nHello"),
        make_context(),
        make_route(config),
        config,
    )
    assert (plan.subject, plan.body) == ("Order", "Hello")
    assert {"subject.stripped", "body.stripped"} <= {str(each.code) for each in plan.adaptations}
    assert plan.original_key is not None


PIECES = ["<", ">", "</p>", "<p>", "<div>", "</div>", "CAUTION: ", NOTICE, " ", "x", "<!--", "-->"]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_html_only_loses_its_notice(html):
    """Whatever the markup, it raises nothing, and only loses what stood there."""
    message, _ = stripped(html=html)
    assert len(message.html) <= len(html)
    assert message.html == html or NOTICE in html


@pytest.mark.parametrize(
    "unit", ["<", "<p>", "</p>", "<p a='", "<!--", "<style>", NOTICE + " ", " ", "CAUTION: "]
)
def test_it_is_quick(unit):
    """Only the beginning of a body is looked at."""
    html = "<p>" + unit * (300_000 // len(unit))
    begun = time.thread_time()
    stripped(html=html, text=html[3:])
    assert time.thread_time() - begun < 0.5
