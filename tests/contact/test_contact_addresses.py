"""The author and the recipients of a contact."""

from __future__ import annotations

import pytest
from factory import DESTINATION, make_config, make_context, make_message, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.addresses import choose_author, fit_recipients, is_usable
from relay.message.model import Mailbox
from relay.vocabulary import Rung


def choose(message, *, rung=Rung.FULL, context=None, **route):
    config = make_config(**route)
    address, name, changes = choose_author(
        message, context or make_context(), make_route(config), config, rung=rung
    )
    return address, name, [change.code for change in changes]


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("a@b.c", True),
        ("jürgen@bücher.example", True),
        ("o'hara+tag@x-y.example", True),
        ("root@localhost", False),
        ("", False),
        ("no-at.example", False),
        ("a@b@c.example", False),
        ('"two words"@x.example', False),
        ("a\u00a0b@x.example", False),
        ("a\u200bb@x.example", False),
        ("a\x00b@x.example", False),
        ("x" * 244 + "@x.example", True),
        ("x" * 246 + "@x.example", False),
        ("a@[192.0.2.1]", True),
        ("a@[IPv6:2001:db8::1]", False),
    ],
)
def test_usable(address, usable):
    """An address is usable when the service model's pattern and length take it."""
    assert is_usable(address) is usable


def test_author_is_from():
    """A good From goes as it is, with its name."""
    assert choose(make_message()) == ("jane@customer.example", "Jane Doe", [])


@pytest.mark.parametrize(
    ("message", "reverse_path", "expected"),
    [
        (
            make_message(author="root@localhost", sender=["ops@web.example"]),
            "bounces@web.example",
            ("ops@web.example", "Jane Doe", ["from.sender"]),
        ),
        (
            make_message(author="root@localhost"),
            "bounces@web.example",
            ("bounces@web.example", "Jane Doe", ["from.envelope"]),
        ),
        (
            make_message(author="root@localhost", name=""),
            None,
            ("unknown@invalid.example", "root@localhost", ["from.fallback"]),
        ),
        (make_message(author=None), "www-data@web01", ("unknown@invalid.example", "", ["from.fallback"])),
    ],
)
def test_fallbacks_in_their_order(message, reverse_path, expected):
    """From, then Sender, then the reverse-path, then the configured address; what was shown stays
    the name.
    """
    assert choose(message, context=make_context(reverse_path=reverse_path)) == expected


def test_reply_to_is_preferred_where_the_route_says():
    """A web form's customer is who the agent answers."""
    message = make_message(author="noreply@app.example", name="Shop", reply_to=["kim@customer.example"])
    assert choose(message)[0] == "noreply@app.example"
    assert choose(message, prefer_reply_to=True) == ("kim@customer.example", "Shop", ["from.reply_to"])


def test_reply_to_equal_to_from_is_no_change():
    """Nothing is recorded when both headers say the same."""
    message = make_message(reply_to=["Jane@Customer.Example"])
    assert choose(message, prefer_reply_to=True)[2] == []


@pytest.mark.parametrize(
    ("reply_to", "reverse_path", "expected"),
    [
        (["kim@customer.example"], "www@web.example", "kim@customer.example"),
        ([], "www@web.example", "www@web.example"),
        ([], DESTINATION, "unknown@invalid.example"),
    ],
)
def test_own_address_is_never_the_author(reply_to, reverse_path, expected):
    """Connect silently ignores mail from the destination to itself, so another address stands in."""
    message = make_message(author="Support@Example.com", reply_to=reply_to)
    address, _, codes = choose(message, context=make_context(reverse_path=reverse_path))
    assert address == expected
    assert codes == ["from.own_address"]


def test_several_authors_give_the_first_usable():
    """Connect takes one author; the adaptation names all."""
    message = make_message()
    message = make_message_with(message, Mailbox(address="root@localhost"), Mailbox(address="b@x.example"))
    assert choose(message)[::2] == ("b@x.example", ["from.several"])


def make_message_with(message, *authors):
    from dataclasses import replace

    return replace(message, author=authors)


def test_last_rung_takes_only_plain_addresses():
    """At the last rung an address of exotic characters gives way to a plain one."""
    message = make_message(author="jürgen@bücher.example")
    assert choose(message)[0] == "jürgen@bücher.example"
    assert choose(message, rung=Rung.TEXT)[0] == "jane@customer.example"


@pytest.mark.parametrize("name", ["x" * 257, "two\r\nlines", "half \ud83d"])
def test_names_are_mended(name):
    """A display name that Connect would refuse is cut or cleaned, and recorded."""
    _, fitted, codes = choose(make_message(name=name))
    assert len(fitted) <= 256
    fitted.encode("utf-8")
    assert codes == ["from.name"]


def recipients(message, *, context=None, **contact):
    fitted = fit_recipients(message, context or make_context(), make_config(contact=contact))
    return [one for one, _ in fitted.to], [one for one, _ in fitted.cc], [c.code for c in fitted.changes]


def test_recipients_without_ourselves():
    """The destination is no additional recipient; leaving it out is no change."""
    message = make_message(to=[DESTINATION.upper(), "bob@x.example"], cc=["eve@x.example"])
    assert recipients(message) == (["bob@x.example"], ["eve@x.example"], [])


def test_alias_that_led_here_is_left_out():
    """The recipient that the route mapped here is ourselves too."""
    context = make_context(forward_paths=["help@aliases.example"])
    assert recipients(make_message(to=["help@aliases.example"]), context=context) == ([], [], [])


def test_our_other_addresses_are_left_out():
    """Connect would start a contact for each of them: the change is recorded."""
    message = make_message(to=[DESTINATION, "sales@example.com"])
    assert recipients(message) == ([], [], ["recipient.own"])
    assert recipients(message, strip_own_recipients=False) == (["sales@example.com"], [], [])


def test_recipients_once_each():
    """An address in To and Cc is listed once."""
    message = make_message(to=["bob@x.example"], cc=["Bob@X.example", "eve@x.example"])
    assert recipients(message) == (["bob@x.example"], ["eve@x.example"], ["recipient.repeated"])


def test_unusable_recipients_are_recorded():
    """What is no address for Connect is recorded with its text."""
    message = make_message(to=["undisclosed", "a@b"], cc=["ok@x.example"])
    fitted = fit_recipients(message, make_context(), make_config())
    assert fitted.to == ()
    assert fitted.changes[0].code == "recipient.unusable"
    assert fitted.changes[0].before == "undisclosed, a@b"


def test_at_most_49_recipients():
    """50 addresses in all, the destination among them; To goes before Cc."""
    message = make_message(
        to=[f"to{n}@x.example" for n in range(40)], cc=[f"cc{n}@x.example" for n in range(40)]
    )
    to, cc, codes = recipients(message)
    assert (len(to), len(cc)) == (40, 9)
    assert codes == ["recipients.too_many"]


@pytest.mark.slow
def test_fifty_thousand_recipients_are_one_record():
    """A header bomb gives one short record, not one a name."""
    message = make_message(to=[f"to{n}@x.example" for n in range(50_000)])
    fitted = fit_recipients(message, make_context(), make_config())
    assert len(fitted.to) == 49
    assert len(fitted.changes) == 1
    assert len(fitted.changes[0].before) < 500


@given(st.lists(st.text(st.characters(codec=None, categories=None), max_size=40), max_size=8))
def test_any_addresses_fit(addresses):
    """Whatever stood in the headers, every address given is usable."""
    message = make_message(author=addresses[0] if addresses else None, to=addresses, cc=addresses)
    address, name, _ = choose(message)
    assert is_usable(address)
    name.encode("utf-8")
    fitted = fit_recipients(message, make_context(), make_config())
    assert all(is_usable(one) for one, _ in (*fitted.to, *fitted.cc))
