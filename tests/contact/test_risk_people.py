"""The risks of names, addresses and domains."""

from __future__ import annotations

import pytest
from factory import make_config, make_message
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Config
from relay.contact.risk.lookalikes import (
    build_skeleton,
    decode,
    find_mixed_scripts,
    is_same_organisation,
    read_own_domains,
)
from relay.contact.risk.people import find_people_risks
from relay.message.model import Mailbox


def make_own(*protected, match=("support@example.com",), **route):
    raw = make_config(**({"match": match} | route)).model_dump(mode="python", exclude_unset=True)
    return read_own_domains(Config.model_validate(raw | {"identity": {"protected": protected}}))


def codes(*, name="", author="jane@customer.example", reply_to=(), reverse_path=None, protected=()):
    message = make_message(author=author, name=name, reply_to=reply_to)
    return [risk.code for risk in find_people_risks(message, reverse_path, make_own(*protected))]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ceo@bank.example", ["name.other_address"]),
        ("CEO <ceo@bank.example>", ["name.other_address"]),
        ("ceo\uff20bank.example", ["name.other_address"]),
        ("ce\u200bo@bank.ex\u200bample", ["name.other_address"]),
        ("Support support@example.com", ["name.our_address"]),
        ("help.example.com Support", ["name.our_address"]),
        ("jane@customer.example", []),
        ("j.doe@customer.example", []),
        ("Jane Doe", []),
        ("Jane @ Work", []),
        ("notexample.com", []),
    ],
)
def test_name_that_holds_an_address(name, code):
    """A display name with another address is told, one of ours by its own code; one's own is none."""
    assert codes(name=name) == code


def test_name_of_ours_for_ours():
    """Our own people may call themselves by our domain."""
    assert codes(name="support@example.com", author="desk@example.com") == []


@pytest.mark.parametrize(
    ("reply_to", "code"),
    [
        ("jane@evil.example", ["reply_to.other_organisation"]),
        ("jane@mail.customer.example", []),
        ("jane@customer.example", []),
        ("support@example.com", []),
    ],
)
def test_answers_elsewhere(reply_to, code):
    """Reply-To of another organisation is told; of the same one, or of ours, it is not."""
    assert codes(reply_to=[reply_to]) == code


def test_answer_of_one_of_several_authors():
    """An answer that goes to any of the authors' organisations is none."""
    message = make_message(reply_to=["b@second.example"])
    authors = (*message.author, Mailbox(address="b@second.example"))
    message = type(message)(author=authors, reply_to=message.reply_to)
    assert list(find_people_risks(message, None, make_own())) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("bank.example", "mail.bank.example", True),
        ("a.bank.com", "b.bank.com", True),
        ("a.bank.co.uk", "b.bank.co.uk", True),
        ("a.co.uk", "b.co.uk", False),
        ("a.com.au", "b.com.au", False),
        ("bank.example", "evil.example", False),
        ("one.onmicrosoft.com", "two.onmicrosoft.com", False),
        ("b\u00fccher.example", "xn--bcher-kva.example", True),
        ("BANK.example.", "bank.example", True),
    ],
)
def test_same_organisation(one, other, same):
    """Domains belong together by what can be registered, whichever way they are written."""
    assert is_same_organisation(one, other) is same
    assert is_same_organisation(other, one) is same


@pytest.mark.parametrize(
    "domain",
    [
        "ex\u0430mple.com",  # Cyrillic a
        "xn--exmple-4nf.com",  # the same in punycode
        "examp1e.com",
        "exarnple.com",
        "exampIe.com",
        "ex\u00e1mple.com",
        "mail.examp1e.com",
        "\uff45xample.com",
        "\u0435\u0445\u0430\u043c\u0440l\u0435.com",
        "example.com.evil.test",
        "secure.example.com.evil.test",
    ],
)
def test_lookalike_of_ours(domain):
    """A domain that looks like ours is told, wherever it stands."""
    normal = domain == "\uff45xample.com"  # a full-width letter is the same domain by UTS #46
    assert ("domain.lookalike" in codes(author=f"a@{domain}")) is not normal
    assert ("domain.lookalike" in codes(reverse_path=f"a@{domain}")) is not normal


@pytest.mark.parametrize("domain", ["example.com", "mail.example.com", "example.org", "sample.com", "com"])
def test_no_lookalike(domain):
    """Our own domain, what lies below it and other words are no look-alikes."""
    assert codes(author=f"a@{domain}") == []


def test_lookalike_of_a_protected_domain():
    """A domain of `identity.protected` has its look-alikes told, in Unicode or not."""
    assert codes(author="a@paypa1.example") == []
    assert codes(author="a@paypa1.example", protected=["paypal.example"]) == ["domain.lookalike"]
    assert codes(author="a@bucher.example", protected=["b\u00fccher.example"]) == ["domain.lookalike"]


def test_destinations_are_ours():
    """The domain of a route's destination is ours, too."""
    own = make_own(match=("@shop.example",), destination="desk@firm.example")
    assert own.domains == {"shop.example", "firm.example"}


@pytest.mark.parametrize(
    ("domain", "scripts"),
    [
        ("p\u0430ypal.example", ("Latin", "Cyrillic")),
        ("xn--pypal-4ve.example", ("Latin", "Cyrillic")),
        ("\u03b1lpha.example", ("Latin", "Greek")),
        ("\u0434\u0435\u043b\u043e.example", ()),
        ("\u65e5\u672c\u30c6\u30b9\u30c8abc.example", ()),
        ("b\u00fccher.example", ()),
        ("plain.example", ()),
        ("xn--\u2603.example", ()),
        ("xn--99999999999999999999.example", ()),
    ],
)
def test_mixed_scripts(domain, scripts):
    """Scripts that no language mixes are told of a label; those of one language are not."""
    assert find_mixed_scripts(domain) == scripts
    assert ("domain.mixed_scripts" in codes(author=f"a@{domain}")) is bool(scripts)


def test_details_are_quoted():
    """A token of the mail that is no plain name stands in quotes, in printable ASCII."""
    message = make_message(author='e"v\u200bil@x.example', name="ceo@b\u00e4nk.example")
    [risk] = find_people_risks(message, None, make_own())
    assert risk.detail == '"ceo@b?nk.example" is the name of "e\\"v?il@x.example"'


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_any_header(name, address, reply_to):
    """No name or address raises, or puts anything but printable ASCII into a detail."""
    message = make_message(author=address, name=name, reply_to=[reply_to, f"a@xn--{reply_to}"])
    for risk in find_people_risks(message, f"b@xn--{address}", make_own("bank.example")):
        assert risk.detail.isascii()
        assert risk.detail.isprintable()
    assert isinstance(build_skeleton(decode(f"xn--{name}")), str)
