"""Links that lead elsewhere than they say."""

from __future__ import annotations

import pytest
from factory import make_config
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.risk.links import find_link_risks, find_named_host, read_host
from relay.contact.risk.lookalikes import read_own_domains
from relay.contact.risk.page import Link

OWN = read_own_domains(make_config())


def judge(target, text):
    return [(each.code, each.detail) for each in find_link_risks([Link(target=target, text=text)], OWN)]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("https://evil.test/", "https://www.bank.example/login"),
        ("https://evil.test/", "www.bank.example"),
        ("https://evil.test/", "bank.example"),
        ("https://evil.test/", "Log in at https://bank.example now"),
        ("https://evil.test/", "b\u200bank.example"),
        ("https://evil.test/", "bank.example/login?x=1"),
        ("//evil.test/", "bank.example"),
        ("https:\\\\evil.test\\", "bank.example"),
        ("ht\ntps://evil.test", "bank.example"),
        ("https://bank.example@evil.test/", "click here"),
        ("https://bank.example:443@evil.test/", ""),
        ("https://%65vil.test/", "bank.example"),
        ("mailto:a@evil.test?subject=x", "help@bank.example"),
    ],
)
def test_link_to_another_host(target, text):
    """The text names one organisation, and the link leads to another."""
    assert judge(target, text) == [("link.other_host", "bank.example leads to evil.test")]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("https://www.bank.example/x", "https://bank.example"),
        ("https://click.bank.example/x", "www.bank.example"),
        ("https://evil.test/", "click here"),
        ("https://evil.test/report.pdf", "report.pdf"),
        ("https://evil.test/", "Node.js"),
        ("https://evil.test/", "3.14"),
        ("https://evil.test/", "Dr. Jane Doe"),
        ("mailto:help@bank.example", "help@bank.example"),
        ("tel:+4912345", "bank.example"),
        ("#top", "bank.example"),
        ("", "bank.example"),
        ("javascript:x", "bank.example"),
    ],
)
def test_link_that_says_where_it_leads(target, text):
    """A link to the same organisation, or whose text names no host, is none."""
    assert judge(target, text) == []


def test_host_of_a_link_may_look_like_ours():
    """The host of a link is compared with our domains, once."""
    links = [Link(target="https://examp1e.com/a", text="a"), Link(target="https://examp1e.com/b", text="b")]
    assert [each.code for each in find_link_risks(links, OWN)] == ["domain.lookalike"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_link(target, text):
    """No target or text raises, or puts anything but printable ASCII into a detail."""
    for prefix in ("", "https://", "mailto:a@"):
        for _, detail in judge(prefix + target, "www." + text):
            assert detail.isascii()
            assert detail.isprintable()
    read_host("https://" + "[@%" * 10_000)
    find_named_host("www." + "a." * 10_000)
