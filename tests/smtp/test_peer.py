"""What a session knows of the other side; the dialogs hold that commands lead here."""

from __future__ import annotations

import pytest
from serving import build_config

from relay.routes import RouteTable
from relay.smtp.peer import PeerState
from relay.smtp.settings import build_settings
from relay.smtp.xclient import Xclient


def peer_state(**listener) -> PeerState:
    config = build_config(listeners=[{"bind": "127.0.0.1:0", "tls": "none", **listener}])
    settings = build_settings(
        config=config, listener=config.listeners[0], routes=RouteTable(config), tls=None, users=None
    )
    return PeerState(settings=settings, address="192.0.2.1", port=4711)


@pytest.mark.parametrize(
    ("protocol", "extended", "secured", "login", "smtputf8", "word"),
    [
        ("smtp", False, False, False, False, "SMTP"),
        ("smtp", False, True, False, False, "SMTP"),
        ("smtp", True, False, False, False, "ESMTP"),
        ("smtp", True, True, False, False, "ESMTPS"),
        ("smtp", True, True, True, False, "ESMTPSA"),
        ("smtp", True, True, True, True, "UTF8SMTPSA"),
        ("lmtp", True, False, False, False, "LMTP"),
        ("lmtp", True, True, False, True, "UTF8LMTPS"),
    ],
)
def test_transmission_type(protocol, extended, secured, login, smtputf8, word):
    """RFC 3848 and RFC 6531 §4.3: the word says how it was greeted, secured and authenticated, and
    SMTPUTF8.
    """
    one = peer_state(protocol=protocol, role="trusted")
    if secured:
        one.secured("TLSv1.3 X", certificate=None)
    one.greets("mail.example", extended=extended)
    if login:
        one.logs_in("me")
    assert one.peer(smtputf8=smtputf8).protocol == word


def test_peer_is_made_anew_only_when_it_is_another():
    """From mail to mail it is the same value; another name, a login and SMTPUTF8 each make another."""
    one = peer_state()
    one.greets("a.example", extended=True)
    first = one.peer(smtputf8=False)
    assert one.peer(smtputf8=False) is first
    assert one.peer(smtputf8=True).protocol == "UTF8SMTP"
    one.greets("b.example", extended=True)
    assert one.peer(smtputf8=False).helo == "b.example"
    one.logs_in("me")
    assert one.peer(smtputf8=False).login == "me"


def test_tls_makes_it_forget():
    """RFC 3207 §4.2: what was said in clear counts no more; a certificate is a login."""
    one = peer_state()
    one.greets("a.example", extended=True)
    one.secured("TLSv1.3 X", certificate="legacy.example")
    assert (one.helo, one.extended, one.authenticated) == (None, False, "legacy.example")
    assert one.peer(smtputf8=False).tls == "TLSv1.3 X"


def test_front_end_speaks_for_another():
    """What it told is true from now on, what it left out stays, and the other has to say its own name."""
    one = peer_state()
    one.greets("front.example", extended=True)
    one.is_another(Xclient(address="2001:db8::1", login="me"))
    peer = one.peer(smtputf8=False)
    assert (peer.address, peer.port, peer.login, peer.helo) == ("2001:db8::1", 4711, "me", None)
    one.is_another(Xclient(port=25))
    assert (one.address, one.port, one.authenticated) == ("2001:db8::1", 25, "me")


def test_front_end_elsewhere_that_tells_of_loopback_tells_of_itself():
    """XCLIENT and XFORWARD of another machine do not make its client one of this machine."""
    one = peer_state()
    one.forwards(Xclient(address="127.0.0.1"))
    assert one.peer(smtputf8=False).address == "192.0.2.1"
    one.is_another(Xclient(address="::1"))
    assert one.address == "192.0.2.1"
    one.is_another(Xclient(address="203.0.113.9"))
    assert one.address == "203.0.113.9"
