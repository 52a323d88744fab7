"""The demo's mails are real mails."""

from __future__ import annotations

import email
import hashlib
from email.policy import default

from relay.sandbox.demo_mails import demo_mails


def test_they_cover_what_a_desk_gets():
    """Attachments, an inline image, another script, a reply, one too large, a verified and a spoofed one."""
    mails = demo_mails()
    assert len({mail.subject for mail in mails}) == len(mails) == 8
    assert [len(mail.files) for mail in mails] == [0, 2, 0, 1, 0, 13, 0, 0]
    assert [len(mail.pictures) for mail in mails] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert b"ISO-2022-JP" in mails[3].octets.upper()
    assert b"In-Reply-To:" in mails[4].octets
    assert b"DKIM-Signature:" in mails[6].octets
    assert [mail.identity.partition(":")[0] for mail in mails[6:]] == ["verified", "not verified"]


def test_their_files_are_what_a_stock_parser_finds():
    """The digests that contacts are held against are those of the octets on the wire."""
    for mail in demo_mails():
        message = email.message_from_bytes(mail.octets, policy=default)
        found = [
            (part.get_filename(), hashlib.sha256(part.get_payload(decode=True)).hexdigest())
            for part in message.iter_attachments()
            if part.get_filename() and not part.get("Content-ID")
        ]
        assert tuple(found) == mail.files
        assert all(len(line) <= 998 for line in mail.octets.split(b"\r\n"))
