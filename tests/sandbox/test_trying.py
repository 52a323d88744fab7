"""Mails to try: how a form becomes a mail, and what is refused before the door."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime

import pytest

from relay.sandbox.trying import MOST_BYTES, build_mails
from relay.web.extras import TryFile, TryMail

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def build(*files, **fields):
    given = {"sender": "you@example.org", "recipient": "support@example.com", "subject": "Hi", "body": "Ho"}
    return build_mails(TryMail(**(given | fields), files=files), now=NOW)


def parse(octets):
    return email.message_from_bytes(octets, policy=email.policy.default)


def test_fields_become_a_mail_with_the_files_attached():
    """Subject, text and files of any name and type arrive as they were given."""
    files = (
        TryFile(name="Grüße\u202e.pdf", content_type="application/pdf", body=b"%PDF"),
        TryFile(name="x", content_type="nonsense", body=b"\0\xff"),
        TryFile(name="mail", content_type="message/rfc822", body=b"no mail"),
    )
    (octets,) = build(*files, subject="Où est ma commande ?", body="Ça va ?\n")
    message = parse(octets)
    assert message["Subject"] == "Où est ma commande ?"
    assert message["Date"] == "Sun, 29 Nov 2026 12:00:00 +0000"
    assert message.get_body().get_content().split() == ["Ça", "va", "?"]
    attached = [(each.get_content_type(), each.get_content()) for each in message.iter_attachments()]
    assert attached == [
        ("application/pdf", b"%PDF"),
        ("application/octet-stream", b"\0\xff"),
        ("application/octet-stream", b"no mail"),
    ]
    assert b"\n" not in octets.replace(b"\r\n", b"")


def test_whole_mails_go_as_they_are():
    """Each .eml is a mail of its own, with the line ends of SMTP."""
    one, two = b"Subject: one\n\nhello\n", b"Subject: two\r\n\r\n\xff\r\n"
    files = [
        TryFile(name=name, content_type="", body=body) for name, body in (("1.eml", one), ("2.EML", two))
    ]
    assert build(*files) == [b"Subject: one\r\n\r\nhello\r\n", two]


def test_null_reverse_path_has_an_author():
    """A bounce is tried with an empty sender; the mail still says who wrote it."""
    (octets,) = build(sender="")
    assert parse(octets)["From"] == "MAILER-DAEMON@example.org"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"recipient": " "}, "To: name a recipient"),
        ({"recipient": "a@b.example\r\nRCPT TO:<c@d.example>"}, "To: has a line end"),
        ({"subject": "x\nBcc: all@example.com"}, "Subject: has a line end"),
        ({"sender": "not an address"}, "From: is no address"),
        ({"body": "x" * (MOST_BYTES + 1)}, "Files: more than 60,000,000 octets"),
    ],
)
def test_field_that_cannot_be_sent_is_a_sentence(fields, sentence):
    """A mistake in the form is told before anything is sent."""
    with pytest.raises(ValueError, match=sentence):
        build(**fields)


def test_many_mails_at_once_are_a_sentence():
    """A folder of mails dropped here does not keep the door busy for minutes."""
    with pytest.raises(ValueError, match="21 mails; send 20"):
        build(*(TryFile(name=f"{number}.eml", content_type="", body=b"x") for number in range(21)))
