"""All files of a mail together: at most twice what a mail may have, whatever stands inside what."""

from __future__ import annotations

import base64
import hashlib

import pytest
from contact.factory import make_config, make_context, make_route
from message.mail_helpers import tnef

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.files import most_file_bytes
from relay.contact.fit import fit
from relay.message.parse import parse_message
from relay.vocabulary import Rung

MOST = 65_536
CONFIG = make_config().model_copy(update={"max_message_bytes": MOST})
HEAD = b"From: ann@customer.example\r\nSubject: the outer one\r\nMIME-Version: 1.0\r\n"


def forwarded(levels, leaf):
    """A mail that was forwarded so many times, each time as an attachment with words before it; the last has
    a file.
    """
    octets = b"Subject: the innermost\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n" + leaf
    for level in range(levels):
        words = b"words of %d" % level
        octets = (
            b"Subject: forward\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % level
            + b"--b%d\r\n\r\n" % level + words
            + b"\r\n--b%d\r\nContent-Type: message/rfc822\r\n\r\n" % level + octets
            + b"\r\n--b%d--\r\n" % level
        )  # fmt: skip
    return b"From: ann@customer.example\r\n" + octets


def packed(levels, leaf):
    """A winmail.dat in a winmail.dat and so on, as many levels, with a file in the last."""
    octets, name = leaf, "a.pdf"
    for _ in range(levels):
        octets, name = tnef([(name, octets)]), "winmail.dat"
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return (
        HEAD
        + b"Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + body
    )


def plan_of(raw, *, rung=Rung.FULL, config=CONFIG):
    """The plan of a mail as large as this configuration takes."""
    assert len(raw) <= config.max_message_bytes
    return fit(parse_message(raw), make_context(), make_route(config), config, rung=rung)


@pytest.mark.parametrize("rung", [Rung.FULL, Rung.TRIMMED, Rung.TEXT])
def test_a_mail_forwarded_many_times_is_understood(rung):
    """Files inside messages that find no room are kept in those alone, the agent is told, and the mail is
    understood.
    """
    raw = forwarded(30, b"%PDF-1.7\n" + bytes(30_000))
    plan = plan_of(raw, rung=rung)
    assert sum(file.size for file in plan.files) <= most_file_bytes(CONFIG) == 2 * MOST
    assert plan.rung is rung
    assert "words of 29" in plan.body
    assert "of the files inside attached messages" in plan.body
    (change,) = [each for each in plan.adaptations if each.code is Code.ATTACHMENTS_LEFT_INSIDE]
    assert "files: " in change.detail
    # The outermost attached message is a file, and holds all that was left inside.
    start = raw.index(b"message/rfc822\r\n\r\n") + len(b"message/rfc822\r\n\r\n")
    inner = raw[start : raw.rindex(b"\r\n--b29--")]
    assert hashlib.sha256(inner).hexdigest() in {file.sha256 for file in plan.files}


def test_ordinary_forwards_keep_all_their_files():
    """A mail that was forwarded twice has its file, the messages and their texts."""
    plan = plan_of(forwarded(2, b"%PDF-1.7\n" + bytes(10_000)))
    assert not [each for each in plan.adaptations if each.code is Code.ATTACHMENTS_LEFT_INSIDE]
    assert "a.pdf" in {file.name for file in plan.files}


@pytest.mark.parametrize("kind", [b"plain", b"html"])
def test_a_body_that_grows_in_utf_8_is_kept_as_it_came(kind):
    """A body whose text has three octets for each of its own is a file of the mail's own octets."""
    size = 1_800_000  # in UTF-8 more than a contact's body may have
    config = CONFIG.model_copy(update={"max_message_bytes": size + 1_000})
    head = HEAD + b"Content-Type: text/" + kind + b"; charset=windows-1252\r\n\r\n"
    plan = plan_of(head + b"\x80" * size, config=config)
    assert [file.size for file in plan.files] == [size]
    assert plan.rung is Rung.FULL


def test_packed_in_packed_is_understood():
    """Containers inside containers hold the same octets once a level; those that find no room stay inside."""
    plan = plan_of(packed(12, b"%PDF-1.7\n" + bytes(30_000)))
    assert sum(file.size for file in plan.files) <= most_file_bytes(CONFIG)
