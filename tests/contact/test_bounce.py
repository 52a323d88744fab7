"""The bounces of agents' replies."""

from __future__ import annotations

import pytest
from factory import make_config, make_context, make_message, make_part, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.bounce import Bounce, read_bounce, tell_bounce
from relay.contact.fit import fit
from relay.message.parse import parse_message

_EXIM = """A message that you sent could not be delivered to one or more of its recipients.

  ann@customer.example
    host mx.customer.example [192.0.2.9]
    SMTP error from remote mail server after RCPT TO:<ann@customer.example>:
    550-5.1.1 The account does not exist
"""
_QMAIL = """Hi. This is the qmail-send program at old.example.

<ann@customer.example>:
192.0.2.9 does not like recipient.
Remote host said: 552 5.2.2 over quota

--- Below this line is a copy of the message.

To: <bo@customer.example>
Message-ID: <reply@example.com>
References: <first@customer.example>
 <second@customer.example>
"""
_EXCHANGE = """Delivery has failed to these recipients or groups:

Ann Lee (ann@customer.example)
The address could not be found.

#550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found ##
"""
_NOTES = (
    "Your document: Re: order 4711\nwas not delivered to: ann@customer.example\nbecause: User not listed\n"
)
_SENDMAIL = """   ----- The following addresses had permanent fatal errors -----
<ann@customer.example>
    (reason: 550 5.1.1 No such user)
"""
_EXCHANGE_2003 = """Your message

  To:      ann@customer.example
  Subject: Re: order

did not reach the following recipient(s):

ann@customer.example on Mon, 3 Mar 2025 10:00:00 +0100
    The recipient name is not recognized
    MSEXCH:IMS:ACME:X:SRV 0 (000C05A6) Unknown Recipient
"""
_YAHOO = """Sorry, we were unable to deliver your message to the following address.

<ann@customer.example>:
554: delivery error: This user has no account here
"""
_WARNING = """A message that you sent has not yet been delivered to one or more of its recipients after more than 24 hours.

The address to which the message has not yet been delivered is:

  ann@customer.example
    Delay reason: host not found
"""
_IMAIL = "Unknown user: ann@customer.example\n\nOriginal message follows.\n"
_GERMAN = """Fehler bei der Zustellung an folgende Empf\u00e4nger:

Ann Lee (ann@customer.example)
Die Adresse wurde nicht gefunden.

#550 5.1.1 RESOLVER.ADR.RecipNotFound
"""


@pytest.mark.parametrize(
    ("text", "recipients", "status", "diagnostic"),
    [
        (_QMAIL, ("ann@customer.example",), "5.2.2", "552 5.2.2 over quota"),
        (
            _EXCHANGE,
            ("ann@customer.example",),
            "5.1.10",
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found ##",
        ),
        (_NOTES, ("ann@customer.example",), "", "User not listed"),
        (_EXCHANGE_2003, ("ann@customer.example",), "", "The recipient name is not recognized"),
        (_YAHOO, ("ann@customer.example",), "", "554: delivery error: This user has no account here"),
        (_WARNING, ("ann@customer.example",), "", "host not found"),
        (_IMAIL, ("ann@customer.example",), "", "Unknown user: ann@customer.example"),
        (_GERMAN, ("ann@customer.example",), "5.1.1", "550 5.1.1 RESOLVER.ADR.RecipNotFound"),
        (_SENDMAIL, ("ann@customer.example",), "5.1.1", "550 5.1.1 No such user)"),
        ("no words that we know\n", (), "", ""),
        ("", (), "", ""),
    ],
)
def test_plain_bounces_tell_who_and_why(text, recipients, status, diagnostic):
    """The forms of programs that write no report are read as far as they go."""
    for message in (make_message(text=text), make_message(html=f"<pre>{text.replace('<', '&lt;')}</pre>")):
        bounce = read_bounce(message)
        assert (bounce.recipients, bounce.status, bounce.diagnostic) == (recipients, status, diagnostic)


def test_a_bounce_in_words_that_we_do_not_know_is_about_a_stranger():
    """The recipient is neither who wrote the bounce nor to whom it came."""
    words = b"From: daemon@gate.example\r\nTo: desk@example.com\r\n\r\ngate.example daemon@gate.example: desk@example.com\r\n"
    assert read_bounce(parse_message(words)).recipients == ()
    assert read_bounce(parse_message(words + b"-> ann@customer.example\r\n")).recipients == (
        "ann@customer.example",
    )


def test_exim_names_the_recipients_in_its_header():
    """X-Failed-Recipients goes before the words."""
    message = make_message(
        text=_EXIM, headers=(("X-Failed-Recipients", "ann@customer.example, bo@x.example"),)
    )
    bounce = read_bounce(message)
    assert bounce.recipients == ("ann@customer.example", "bo@x.example")
    assert (bounce.status, bounce.diagnostic) == ("5.1.1", "550-5.1.1 The account does not exist")


def test_ids_are_read_of_a_quoted_header():
    """A plain bounce brings back a header in its text, folded as it was."""
    bounce = read_bounce(make_message(text=_QMAIL))
    assert bounce.message_id == "<reply@example.com>"
    assert bounce.references == ("<first@customer.example>", "<second@customer.example>")


@pytest.mark.parametrize(
    ("bounce", "sentence"),
    [
        (Bounce(recipients=("a@b.example",), status="5.1.1"), "Your reply to a@b.example was not delivered: 5.1.1, user unknown"),
        (Bounce(recipients=("a@b.example",), status="5.7.26"), "Your reply to a@b.example was not delivered: 5.7.26, refused for reasons of policy"),
        (Bounce(recipients=("a@b.example",), action="delayed", status="4.4.1"), "Your reply to a@b.example has not been delivered yet: 4.4.1, the server does not answer"),
        (Bounce(recipients=("a@b.example",), action="delivered", status="2.0.0"), "Your reply to a@b.example was delivered: 2.0.0"),
        (Bounce(diagnostic="no such user"), "Your reply was not delivered: no such user"),
        (Bounce(), "Your reply was not delivered"),
    ],
)  # fmt: skip
def test_the_sentence_says_who_and_why(bounce, sentence):
    """The code stands in words beside it."""
    assert tell_bounce(bounce) == sentence


def _plan(raw, *, reverse_path=None):
    config = make_config()
    return fit(parse_message(raw), make_context(reverse_path=reverse_path), make_route(config), config)


_REPORT = (
    b"Subject: Undeliverable\r\n%bContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nwords\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\n"
    b"Action: failed\r\nStatus: 5.1.1\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <r@example.com>\r\n"
    b"In-Reply-To: <q@b.example>\r\n--b--\r\n"
)


def test_a_bounce_comes_home_to_its_thread():
    """The ids of the reply thread the bounce; the report's own go first where it has some."""
    assert _plan(_REPORT % b"").headers == {
        "IN_REPLY_TO": "<r@example.com>",
        "REFERENCES": "<q@b.example> <r@example.com>",
    }
    own = _plan(_REPORT % b"In-Reply-To: <own@b.example>\r\n").headers
    assert own == {"IN_REPLY_TO": "<own@b.example>"}


def test_only_a_bounce_is_told_as_one():
    """A person's mail with the same words keeps its own thread, body and attributes."""
    made = _plan(b"Subject: x\r\n\r\n" + _QMAIL.encode(), reverse_path="ann@customer.example")
    assert made.body == _QMAIL
    assert not [name for name in made.attributes if name.startswith("relay_bounce")]
    assert made.headers == {}


@given(
    st.binary(max_size=200), st.sampled_from(["message/delivery-status", "text/rfc822-headers", "text/plain"])
)
def test_any_report_is_read_without_an_error(octets, kind):
    """Whatever a report holds, the sentence is one line."""
    part = make_part(b"Final-Recipient: " + octets, name=None, content_type=kind)
    message = make_message(text=octets.decode("latin-1"), attachments=[part])
    assert "\n" not in tell_bounce(read_bounce(message))
