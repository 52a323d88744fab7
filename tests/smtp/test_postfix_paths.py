"""Commands that a real Postfix takes with its defaults: a listener of role mx takes them, too."""

from __future__ import annotations

import smtplib

import pytest
from harness import free_port

from bench.postfix import Postfix, missing
from relay.smtp.paths import LONG_LOCAL, REVERSE, parse_path

pytestmark = [pytest.mark.process, pytest.mark.needs("postfix", "postfix")]

#: Paths as senders write them; `a@b.example` stands for any address.
PATHS = (
    "<a@b.example>", "a@b.example", "< a@b.example >", "<a @ b.example>", "<a@b.example . >", "<a@b.example.>",
    "<<a@b.example>>", "<a@b.example>>", "a@b.example>", "<Ann <a@b.example>>", "<a@b.example (Ann)>",
    "<a@b.example,>", "<a@b.example;>", "<mailto:a@b.example>", "<a..b@b.example>", "<.a@b.example>", "<a.@b.example>",
    f"<{'a' * 70}@b.example>", "<a@b_c.example>", "<@x.example:a@b.example>", '<"a b"@b.example>', "< >", "<>",
    "\t<a@b.example>",
    # Refused.
    "<two words>", "<a b@b.example>", "<a@b..example>", "<a@b.example>SIZE=1", "'a@b.example'",
)  # fmt: skip


def test_what_postfix_takes_is_taken(tmp_path):
    """Each path that Postfix takes in MAIL and in RCPT is read here, and none that it refuses."""
    if why := missing():
        pytest.skip(why)
    told = []
    with Postfix(tmp_path / "postfix", port=free_port()) as theirs:
        for path in PATHS:
            with smtplib.SMTP("127.0.0.1", theirs.port) as client:
                client.ehlo("c.example")
                sender = client.docmd(f"MAIL FROM:{path}")[0]
                client.docmd("RSET")
                client.docmd("MAIL FROM:<>")
                told.append((path, sender == 250, client.docmd(f"RCPT TO:{path}")[0] == 250))
    for path, as_sender, as_recipient in told:
        argument = path.replace("\t", " ").encode()  # as the session does
        sender = parse_path(b"FROM:" + argument, b"FROM:", lenient=True, limits=REVERSE)
        recipient = parse_path(b"TO:" + argument, b"TO:", lenient=True, limits=LONG_LOCAL)
        assert (sender is not None) == as_sender, path
        assert (recipient is not None and bool(recipient.local)) == as_recipient, path
