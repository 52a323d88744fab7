"""Card numbers in the words of a mail: found among all other numbers, and made unreadable."""

from __future__ import annotations

from pathlib import Path

import pytest
from contact.factory import make_config, make_context, make_message, make_part, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.cards import find_cards, find_cards_in_html, redact, redact_html
from relay.contact.fit import fit
from relay.contact.original import fit_original
from relay.contact.request import build_request
from relay.message.model import Message
from relay.message.parse import parse_message
from relay.policy.origin import choose_handling, find_rules, list_late
from relay.vocabulary import Cause, Rung

HERE = Path(__file__).parent / "cards"
NUMBER = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("my card 4111 1111 1111 1111 exp 12/27", "my card 4111 11•• •••• 1111 exp 12/27"),
        ("4111111111111111", "411111••••••1111"),
        ("4111-1111-1111-1111 123", "4111-11••-••••-1111 123"),
        ("3782 822463 10005", "3782 82•••• •0005"),
        ("4111 1111\r\n1111 1111", "4111 11••\r\n•••• 1111"),
        ("4111\u200b1111\u200b1111\u200b1111", "4111\u200b11••\u200b••••\u200b1111"),
        ("４１１１ １１１１ １１１１ １１１１", "４１１１ １１•• •••• １１１１"),
        ("カード4111111111111111です", "カード411111••••••1111です"),
        ("card=4111111111111111", "card=411111••••••1111"),
        ("12 4111 1111 1111 1111 12 27", "12 4111 11•• •••• 1111 12 27"),
        ("41 11 11 11 11 11 11 11", "41 11 11 •• •• •• 11 11"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("+4111111111111111", "+4111111111111111"),
        ("+41 1111 1111 1111 1111", "+41 1111 1111 1111 1111"),
        ("https://x.example/a?id=4111111111111111", "https://x.example/a?id=4111111111111111"),
        ("x.example/4111111111111111/", "x.example/4111111111111111/"),
        ("4111111111111111@x.example", "4111111111111111@x.example"),
        ("x4111111111111111", "x4111111111111111"),
        ("0-4111-1111-1111-1111", "0-4111-1111-1111-1111"),
        ("DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
        ("0000 0000 0000 0000", "0000 0000 0000 0000"),
        ("", ""),
    ],
)
def test_number(text, left):
    """A number of an issuer with its check digit, in any grouping; none in a URL, an address or a phone."""
    assert redact(text) == left
    assert bool(find_cards(text)) == (text != left)


def test_rates():
    """Of 200 sentences with a card number one is missed, of 500 with other numbers one is taken for one
    (docs/policy.md has these rates).
    """
    cards = (HERE / "cards.txt").read_text().splitlines()
    others = (HERE / "others.txt").read_text().splitlines()
    assert (len(cards), len(others)) == (200, 500)
    assert sum(not find_cards(line) for line in cards) == 1
    assert sum(bool(find_cards(line)) for line in others) == 1


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("<p>4111 <b>1111</b> 11<span>11</span> 1111", "<p>4111 <b>11••</b> ••<span>••</span> 1111"),
        ("4111&nbsp;1111&nbsp;1111&#160;1111", "4111&nbsp;11••&nbsp;••••&#160;1111"),
        ("4111 11&#49;1 1111 1111", "4111 11•• •••• 1111"),
        (
            "<td>4111</td><td>1111</td><td>1111</td><td>1111</td>",
            "<td>4111</td><td>11••</td><td>••••</td><td>1111</td>",
        ),
        ("<img alt='4111 1111 1111 1111'>", "<img alt='4111 11•• •••• 1111'>"),
        ("<!-- 4111 1111 1111 1111 -->", "<!-- 4111 11•• •••• 1111 -->"),
        (
            "<a href=https://x.example/4111111111111111>x</a>",
            "<a href=https://x.example/4111111111111111>x</a>",
        ),
        ("<p>4111 1111</p><p>1111 1111</p>", "<p>4111 1111</p><p>1111 1111</p>"),
        ("<b 4111 1111 1111 1111", "<b 4111 11•• •••• 1111"),
    ],
)
def test_html(source, left):
    """A number is one, whatever tags stand within it; paragraphs part numbers, and tags are read, too."""
    assert redact_html(source) == left
    assert bool(find_cards_in_html(source)) == (source != left)


@given(st.text(alphabet="41 -.\n\u00a0<>&;#+=/@ab٤１", max_size=200))
def test_any_text(text):
    """Redacted words have no card number any more, and their length stays."""
    once = redact(text)
    assert len(once) == len(text)
    assert redact(once) == once
    assert redact_html(redact_html(text)) == redact_html(text)


MAIL = b"""From: "Ann 4111111111111111" <ann@customer.example>\r
To: "Desk 4111-1111-1111-1111" <support@example.com>\r
Subject: Card 4111 1111 1111 1111\r
X-Note: 4111111111111111\r
Message-ID: <1@customer.example>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: multipart/alternative; boundary=c\r
\r
--c\r
Content-Type: text/plain; charset=utf-8\r
\r
It is 4111 1111 1111 1111.\r
--c\r
Content-Type: text/html; charset=utf-8\r
\r
<p>It is 4111 <b>1111</b> 1111 1111.</p>\r
--c--\r
--b\r
Content-Type: text/csv; name="4111111111111111.csv"\r
Content-Transfer-Encoding: base64\r
\r
Y2FyZAo0MTExMTExMTExMTExMTExCg==\r
--b\r
Content-Type: message/rfc822\r
\r
From: bob@customer.example\r
Subject: 4111 1111 1111 1111\r
Content-Type: text/plain\r
Content-Transfer-Encoding: base64\r
\r
NDExMSAxMTExIDExMTEgMTExMQ==\r
--b\r
Content-Type: application/pdf; name=scan.pdf\r
\r
%PDF-1.4 4111111111111111\r
--b--\r
"""


def _plan(card, *, observe=False, **more):
    config = make_config(
        sensitive={"card": card, "observe": observe},
        s3={"keep_original": "always"},
        captures=[{"from": "body", "pattern": "(?P<number>[0-9 ]{19})"}],
        attributes={"note": "{header:X-Note}", "about": "{subject}"},
        **more,
    )
    return fit(parse_message(MAIL), make_context(), make_route(config), config)


def test_redacted_request():
    """With "redact" no digit in the middle of a number is in the request or in a file that goes to S3, but in
    what nobody looks into; the original is not kept.
    """
    plan = _plan("redact")
    urls = ["https://x.example/" for file in plan.files if file.attached]
    request = str(build_request(plan, urls, client_token="t"))
    files = {file.name: b"".join(file.chunks()) for file in plan.files}
    assert "1111 1111" not in request
    assert "41111111" not in request
    assert all(b"41111111" not in octets for name, octets in files.items() if name != "scan.pdf")
    assert b"card\n411111\xe2\x80\xa2" in next(
        octets for name, octets in files.items() if name.endswith(".csv")
    )
    assert plan.original_key is None
    assert "body.redacted" in [change.code for change in plan.adaptations]
    assert plan.attributes["relay_sensitive"] == "card"


@pytest.mark.parametrize("card", ["tag", "hold", "reject"])
def test_found_only(card):
    """Other actions change no word; the contact says what the mail has."""
    plan = _plan(card)
    assert NUMBER in plan.subject
    assert plan.sensitive == ("card",)
    assert plan.attributes["relay_sensitive"] == "card"
    assert plan.original_key is not None


def test_observed():
    """What is only observed is in no contact."""
    plan = _plan("redact", observe=True)
    assert NUMBER in plan.subject
    assert plan.sensitive == ("card",)
    assert "relay_sensitive" not in plan.attributes


def test_off():
    """Nothing is looked for unless a route asks."""
    assert _plan("off").sensitive == ()


def test_without_numbers():
    """A mail without a number goes as it is, and its original is kept."""
    config = make_config(sensitive={"card": "redact"}, s3={"keep_original": "always"})
    plan = fit(make_message(text="Hello"), make_context(), make_route(config), config)
    assert (plan.body.strip(), plan.sensitive) == ("Hello", ())
    assert plan.original_key is not None


def test_last_rung():
    """The last rung shows the words without the numbers; the mail, which nobody read, is not passed on."""
    config = make_config(sensitive={"card": "redact"})
    plan = fit_original(MAIL, make_context(), make_route(config), config, why=Cause.UNKNOWN)
    assert (plan.rung, plan.files, plan.original_key) == (Rung.ORIGINAL, (), None)
    assert "1111 1111" not in plan.body + plan.subject
    assert "is not kept" in plan.body


def test_files_in_other_charsets():
    """Text of Latin-1 and UTF-16 keeps its encoding; a picture is not looked into."""
    latin = make_part("Größe 4111111111111111".encode("latin-1"), name="a.txt", content_type="text/plain")
    wide = make_part(
        "\ufeffGröße 4111111111111111".encode("utf-16-le"), name="b.txt", content_type="text/plain", path=(1,)
    )
    picture = make_part(b"4111111111111111", name="c.png", content_type="image/png", path=(2,))
    config = make_config(sensitive={"card": "redact"})
    plan = fit(
        make_message(text="Hello", attachments=[latin, wide, picture]),
        make_context(),
        make_route(config),
        config,
    )
    octets = [b"".join(file.chunks()) for file in plan.files]
    assert octets[0].decode("latin-1") == "Größe 411111******1111"
    assert octets[1].decode("utf-16") == "Größe 411111••••••1111"
    assert octets[2] == b"4111111111111111"


def test_no_message():
    """An empty mail has none."""
    config = make_config(sensitive={"card": "redact"})
    assert fit(Message(), make_context(), make_route(config), config).sensitive == ()


@pytest.mark.parametrize(
    ("keys", "action", "tags"),
    [
        ({"card": "off"}, "accept", ()),
        ({"card": "tag"}, "accept", ("sensitive.card",)),
        ({"card": "redact"}, "accept", ("sensitive.card",)),
        ({"card": "hold"}, "hold", ()),
        ({"card": "reject"}, "hold", ()),
        ({"card": "hold", "observe": True}, "accept", ()),
    ],
)
def test_handling(keys, action, tags):
    """At delivery a mail that would have been refused waits for a person, as one of a route that holds it."""
    config = make_config(sensitive=keys)
    rules = find_rules(config, make_route(config), listener="")
    handling = choose_handling(list_late("human", (), rules, sensitive=("card",)))
    assert (handling.action, handling.tags) == (action, tags)


def test_what_holds_a_number_deeper_inside_goes_no_further():
    """An attached message whose words were redacted, at any depth, is not passed on in its own octets."""
    inner = "From: a@b.example\r\nSubject: x\r\n\r\n4111 1111 1111 1111\r\n"
    for _ in range(3):
        inner = f"From: a@b.example\r\nSubject: x\r\nContent-Type: message/rfc822\r\n\r\n{inner}"
    config = make_config(sensitive={"card": "redact"})
    plan = fit(parse_message(inner.encode()), make_context(), make_route(config), config)
    assert plan.sensitive == ("card",)
    assert all(b"1111 1111" not in b"".join(file.chunks()) for file in plan.files)
    assert any(b"4111 11" in b"".join(file.chunks()) for file in plan.files), "what is left is shown"
