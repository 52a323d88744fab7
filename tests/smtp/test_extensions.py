"""Tests of `relay.smtp.extensions`: what is named is taken, and what is taken is named."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from serving import build_config

from relay import replies
from relay.logins.users import Users
from relay.routes import RouteTable
from relay.smtp.actions import Hangup
from relay.smtp.counters import SharedCounters
from relay.smtp.limits import Limiter
from relay.smtp.session import Session
from relay.smtp.settings import build_settings
from relay.smtp.tls import Certificates

#: What is said to a command that this session does not have, whatever came before it.
REFUSALS = {
    replies.UNKNOWN_COMMAND,
    replies.NOT_HERE,
    replies.TLS_FIRST,
    replies.AUTH_FIRST,
    replies.AUTH_NEEDS_TLS,
    replies.XCLIENT_DENIED,
}
#: A command as it begins, and what makes the session ready for it.
COMMANDS = {
    "HELO": (b"HELO c.example", ()),
    "EHLO": (b"EHLO c.example", ()),
    "LHLO": (b"LHLO c.example", ()),
    "MAIL": (b"MAIL FROM:<a@b.example>", ()),
    "RCPT": (b"RCPT TO:<support@example.com>", (b"MAIL FROM:<a@b.example>",)),
    "DATA": (b"DATA", (b"MAIL FROM:<a@b.example>", b"RCPT TO:<support@example.com>")),
    "BDAT": (b"BDAT 1 LAST", (b"MAIL FROM:<a@b.example>", b"RCPT TO:<support@example.com>")),
    "RSET": (b"RSET", ()),
    "NOOP": (b"NOOP", ()),
    "QUIT": (b"QUIT", ()),
    "VRFY": (b"VRFY support", ()),
    "HELP": (b"HELP", ()),
    "STARTTLS": (b"STARTTLS", ()),
    "AUTH": (b"AUTH PLAIN AHByaW50ZXIAczNjcmV0", ()),
    "XCLIENT": (b"XCLIENT ADDR=192.0.2.9", ()),
    "EXPN": (b"EXPN staff", ()),
}


def is_possible(protocol, tls, auth, xclient, secured, known):
    """Whether there is such a listener, and such a session with it."""
    if tls == "none":
        return auth == "none" and not secured and not known
    return secured or not (known or tls == "implicit")


CASES = [
    case
    for case in itertools.product(
        ("smtp", "lmtp"),
        ("none", "starttls", "required", "implicit"),
        ("none", "optional", "required"),
        ((), ("192.0.2.0/24",), ("127.0.0.0/8",)),
        (False, True),
        (False, True),
    )
    if is_possible(*case)
]


@pytest.fixture(scope="module")
def site_of(papers):
    """A function that gives the site of a listener."""
    users, certificates = Users(papers.users), Certificates(build_config(papers).tls, ask_client=False)

    def site_of(protocol, tls, auth, xclient):
        listener = {"bind": "127.0.0.1:0", "role": "trusted", "protocol": protocol, "tls": tls, "auth": auth}
        config = build_config(
            papers, listeners=[listener | {"xclient": xclient}], server={"users_file": str(papers.users)}
        )
        return build_settings(
            config=config,
            listener=config.listeners[0],
            routes=RouteTable(config),
            tls=certificates,
            users=users,
        )

    return site_of


def begin(settings, *, secured, known):
    """A session that has said its hello, under TLS or not, known or not."""
    shared = SimpleNamespace(
        new_id=lambda: "1K0YNSCG5D2XR8Z5",
        room=lambda size: True,
        paused=lambda: False,
        limiter=Limiter(SharedCounters()),
    )
    session = Session(settings=settings, shared=shared, address="127.0.0.1", port=4_711)
    if secured:
        session.secured("TLSv1.3", certificate="printer" if known else None)
    session.command(b"LHLO c.example" if settings.lmtp else b"EHLO c.example", now=0.0)
    return session


def taken(settings, word, **state):
    """Whether a session takes a command that comes in its turn."""
    line, before = COMMANDS[word]
    session = begin(settings, **state)
    for each in before:
        session.command(each, now=0.0)
    answer = session.command(line, now=0.0)
    answer = answer.reply if isinstance(answer, Hangup) else answer
    # Under TLS, or after a login, a second one is not a matter of turns: there is none to come.
    over = answer is replies.NOT_NOW and word in ("STARTTLS", "AUTH")
    # RCPT and what follows are refused as their MAIL was not taken.
    alone = answer in (replies.MAIL_FIRST, replies.RECIPIENT_FIRST)
    return not (answer in REFUSALS or over or alone or getattr(answer, "refusal", None))


@pytest.mark.parametrize(("protocol", "tls", "auth", "xclient", "secured", "known"), CASES)
@pytest.mark.slow
def test_what_help_names_is_what_is_taken(site_of, protocol, tls, auth, xclient, secured, known):
    """HELP after EHLO or LHLO names each command that would be taken in its turn, and no other."""
    settings = site_of(protocol, tls, auth, xclient)
    reply = begin(settings, secured=secured, known=known).command(b"HELP", now=0.0)
    assert reply.text.removeprefix("Commands: ").split() == [
        word for word in COMMANDS if taken(settings, word, secured=secured, known=known)
    ]


@pytest.mark.parametrize("auth", ["none", "optional"])
def test_help_after_helo_names_no_extension(site_of, auth):
    """RFC 5321 §2.2.1: to a peer that says HELO no extension was offered."""
    session = begin(site_of("smtp", "starttls", auth, ("127.0.0.0/8",)), secured=False, known=False)
    session.command(b"HELO c.example", now=0.0)
    reply = session.command(b"HELP", now=0.0)
    assert reply.text == "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP"
