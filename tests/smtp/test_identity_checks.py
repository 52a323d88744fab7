"""The checks of a mail's origin on the wire: what is stored with a mail, and what they cost its session."""

from __future__ import annotations

import concurrent.futures
import smtplib
import time

import pytest
from auth.signing import NAME, record, rsa_key, sign
from dns_server import dns_in_a_thread
from fake_spool import FakeSpool
from harness import until
from serving import Serving, build_config

from relay.config.model import Config
from relay.explain import Explainer, Origin
from relay.vocabulary import Disposition

KEY = rsa_key()
ZONE = {
    (NAME, "TXT"): [f'"{record(KEY).decode()}"'],
    ("_dmarc.bank.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("bank.example", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
    ("_dmarc.silent.example", "TXT"): "silent",
    ("silent.example", "TXT"): "silent",
}
HEADER = (
    b"From: The Bank <service@bank.example>\r\nTo: support@example.com\r\nSubject: Hello\r\n"
    b"Message-ID: <%d@bank.example>\r\n\r\n"
)


def build_signed(size, number=0):
    """A mail of about so many octets that its bank signed."""
    line = b"A line of  text, and blanks behind it. \t \r\n"
    return sign(HEADER % number + line * (size // len(line)) + b"\r\n\r\n", KEY)


@pytest.fixture(scope="module")
def dns():
    """A DNS server that knows the bank, and says nothing about silent.example."""
    with dns_in_a_thread(ZONE) as server:
        yield server


def config_for(dns, **tables) -> Config:
    """A configuration that asks this server."""
    host, port = dns.address
    asked = {"servers": [f"{host}:{port}"], "timeout_seconds": 1.0, "deadline_seconds": 1.0}
    return build_config(**{"dns": asked, "identity": {"enabled": True}} | tables)


def send(serving, octets, *, sender="service@bank.example"):
    """Hand over one mail. Returns the reply to its data."""
    with smtplib.SMTP("127.0.0.1", serving.ports[0], timeout=20, local_hostname="mx.bank.example") as client:
        client.ehlo()
        client.mail(sender)
        client.rcpt("support@example.com")
        return client.data(octets)


@pytest.fixture(scope="module")
def serving(dns):
    """A listener of role mx that checks."""
    with Serving(config_for(dns)) as running:
        yield running


@pytest.mark.parametrize("size", [500, 60_000, 100_000, 400_000])
def test_a_signed_mail_of_any_size_passes(serving, size):
    """The body is hashed at once, in a thread, or block by block on its way to a file, and it is the same
    body.
    """
    serving.spool.mails.clear()
    assert send(serving, build_signed(size, size))[0] == 250
    (mail,) = serving.spool.mails
    words = {name: mail.results[f"relay_{name}"] for name in ("spf", "dkim", "dmarc", "arc")}
    assert words == {"spf": "pass", "dkim": "pass", "dmarc": "pass", "arc": "none"}
    assert mail.results["relay_identity"] == "verified: bank.example signed this"


@pytest.mark.parametrize("size", [500, 100_000, 400_000])
def test_the_mail_is_stored_as_it_came(serving, size):
    """Results stand beside a mail, never in it: behind our Received field are the octets that came."""
    serving.spool.mails.clear()
    octets = build_signed(size, -size)
    assert send(serving, octets)[0] == 250
    (mail,) = serving.spool.mails
    raw = mail.raw if isinstance(mail.raw, bytes) else bytes(mail.raw.octets)
    assert raw[mail.trace_size :] == octets
    assert raw[: mail.trace_size].startswith(b"Received: ")
    assert b"Authentication-Results" not in raw


def test_a_changed_mail_is_accepted_and_told(serving):
    """By default a failure of DMARC only informs, although the domain asks to reject such mail."""
    serving.spool.mails.clear()
    changed = build_signed(500, 7).replace(b"A line of", b"Bad words", 1)
    assert send(serving, changed, sender="thief@elsewhere.example")[0] == 250
    (mail,) = serving.spool.mails
    assert (mail.results["relay_dkim"], mail.results["relay_dmarc"]) == ("fail", "fail")
    assert mail.results["relay_identity"].startswith("not verified: ")
    assert "the domain asks to reject such mail" in mail.results["relay_identity"]


def test_dns_that_never_answers_costs_its_session_the_deadline(serving):
    """Eight sessions that wait for silent servers each get their 250 after the deadline with `temperror`, and
    meanwhile another session waits for nobody.
    """
    serving.spool.mails.clear()

    def send_silent(number):
        begun = time.monotonic()
        octets = b"From: a@silent.example\r\nMessage-ID: <%d@silent.example>\r\n\r\nHello\r\n" % number
        code, _ = send(serving, octets, sender="a@silent.example")
        return code, time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(send_silent, number) for number in range(8)]
        begun = time.monotonic()
        assert send(serving, build_signed(500, 99))[0] == 250
        unhindered = time.monotonic() - begun
        told = [each.result(20) for each in waiting]
    assert [code for code, _ in told] == [250] * 8
    assert all(0.9 < seconds < 6 for _, seconds in told)
    assert unhindered < min(seconds for _, seconds in told)
    silent = [mail for mail in serving.spool.mails if mail.envelope.reverse_path == "a@silent.example"]
    assert [(each.results["relay_spf"], each.results["relay_dmarc"]) for each in silent] == [
        ("temperror", "temperror")
    ] * 8


@pytest.mark.parametrize(
    "tables",
    [
        {"identity": {"enabled": False}},
        {"listeners": [{"bind": "127.0.0.1:0", "tls": "none", "role": "trusted"}]},
    ],
    ids=["switched off", "trusted"],
)
def test_nobody_asks_dns_where_nothing_is_checked(dns, tables):
    """Without `identity.enabled`, and on trusted listeners, a mail has no results and costs no question."""
    asked = len(dns.asked)
    with Serving(config_for(dns, **tables)) as serving:
        assert send(serving, build_signed(500))[0] == 250
        assert serving.spool.mails[0].results == {}
    assert len(dns.asked) == asked


ROUTES = [
    {"match": ["support@example.com"], "policy": {"preset": "protect"}},
    {"match": ["sales@example.com"]},
    {"match": ["wait@example.com"], "policy": {"dmarc.reject": "defer"}},
]
FORGED = HEADER % 5 + b"Your account.\r\n"


@pytest.fixture(scope="module")
def judging(dns):
    """Listeners for SMTP and LMTP, and routes of which one refuses forged mail and one defers it."""
    plain = {"bind": "127.0.0.1:0", "tls": "none"}
    with Serving(config_for(dns, listeners=[plain], routes=ROUTES)) as running:
        yield running


@pytest.mark.parametrize(
    ("recipients", "code", "status", "held"),
    [
        (["support"], 550, b"5.7.1 ", set()),
        (["wait"], 451, b"4.7.1 ", set()),
        (["sales"], 250, b"2.0.0 ", set()),
        (["support", "wait"], 451, b"4.7.1 ", set()),
        (["support", "sales"], 250, b"2.0.0 ", {("support@example.com", "policy.dmarc.reject")}),
    ],
)
def test_policy_refuses_where_every_route_does(judging, recipients, code, status, held):
    """A forged mail is refused or deferred by the routes that ask for it, and where another takes it, held;
    the dry run says the same.
    """
    judging.spool.mails.clear()
    addresses = [f"{name}@example.com" for name in recipients]
    with smtplib.SMTP("127.0.0.1", judging.ports[0], timeout=20, local_hostname="c.example") as client:
        client.ehlo()
        client.mail("thief@elsewhere.example")
        for address in addresses:
            client.rcpt(address)
        told = client.data(FORGED)
    assert (told[0], told[1][: len(status)]) == (code, status)
    assert {(hold.route, hold.reason) for mail in judging.spool.mails for hold in mail.holds} == held
    assert len(judging.spool.mails) == (code == 250)
    origin = Origin(attributes={"relay_dmarc": "fail", "relay_dmarc_policy": "reject"})
    for one in Explainer(judging.config, recipients=addresses).read("f", FORGED, origin):
        if code != 250:
            assert one.reply.code == code
        else:
            assert one.reply is None
            expected = (
                Disposition.QUARANTINE
                if one.destination in {route for route, _ in held}
                else Disposition.ACCEPT
            )
            assert one.disposition is expected


def test_lmtp_answers_each_recipient(dns):
    """Over LMTP a route refuses for itself, and no entry is held."""
    lmtp = {"bind": "127.0.0.1:0", "tls": "none", "protocol": "lmtp"}
    with Serving(config_for(dns, listeners=[lmtp], routes=ROUTES)) as serving:
        with serving.connect() as peer, peer.makefile("rb") as lines:
            said = [b"LHLO c.example", b"MAIL FROM:<t@elsewhere.example>"]
            said += [b"RCPT TO:<%b@example.com>" % name for name in (b"support", b"sales", b"wait")]
            for command in [None, *said, b"DATA"]:
                if command is not None:
                    peer.sendall(command + b"\r\n")
                while lines.readline()[3:4] == b"-":
                    pass
            peer.sendall(FORGED + b".\r\n")
            assert [lines.readline()[:9] for _ in range(3)] == [b"550 5.7.1", b"250 2.0.0", b"451 4.7.1"]
        (mail,) = serving.spool.mails
        assert [one.address for one in mail.destinations] == ["sales@example.com"]
        assert mail.holds == ()


@pytest.mark.parametrize(("hop", "word"), [("198.51.100.9", "fail"), ("198.51.100.6", "pass")])
def test_mail_that_our_own_server_passes_on_is_judged_as_of_the_hop_before(hop, word):
    """On a trusted listener, mail of a trusted relay has the SPF of the server before that relay."""
    zone = {("club.example", "TXT"): ['"v=spf1 ip4:198.51.100.6 -all"']}
    octets = (
        b"Received: from mx.club.example (unknown [%b]) by mx.ours; x\r\nFrom: a@club.example\r\n\r\nHello\r\n"
        % hop.encode()
    )
    trusted = {"bind": "127.0.0.1:0", "tls": "none", "role": "trusted"}
    with dns_in_a_thread(zone) as server:
        identity = {"enabled": True, "trusted_relays": ["127.0.0.1/32"]}
        with Serving(config_for(server, identity=identity, listeners=[trusted])) as serving:
            assert send(serving, octets, sender="a@club.example")[0] == 250
            (mail,) = serving.spool.mails
    assert mail.results["relay_spf"] == word
    assert "which gave the mail to our 127.0.0.1" in mail.results["relay_hop_detail"]


@pytest.mark.parametrize("front", ["proxy_protocol", "xclient", "xforward"])
@pytest.mark.parametrize(
    ("client", "word"), [("198.51.100.6", "pass"), ("198.51.100.9", "fail"), ("10.0.0.9", None)]
)
def test_client_that_a_front_end_names_is_judged_on_a_trusted_listener(front, client, word):
    """PROXY, XCLIENT and XFORWARD name the client whose SPF counts; one of our own network is not judged."""
    zone = {("club.example", "TXT"): ['"v=spf1 ip4:198.51.100.6 -all"']}
    trusted = {"bind": "127.0.0.1:0", "tls": "none", "role": "trusted", "allow": ["0.0.0.0/0"]}
    trusted |= {front: ["127.0.0.1"]}
    said = {
        "proxy_protocol": f"PROXY TCP4 {client} 127.0.0.1 4000 25\r\n",
        "xclient": f"EHLO fe.ours\r\nXCLIENT ADDR={client}\r\n",
        "xforward": f"EHLO fe.ours\r\nXFORWARD ADDR={client}\r\n",
    }[front]
    said += (
        "EHLO mx.club.example\r\nMAIL FROM:<a@club.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"
        if front != "xforward"
        else "MAIL FROM:<a@club.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"
    )
    with dns_in_a_thread(zone) as server, Serving(config_for(server, listeners=[trusted])) as serving:
        with serving.connect() as peer, peer.makefile("rb") as lines:
            peer.sendall(said.encode())
            while not lines.readline().startswith(b"354"):
                pass
            peer.sendall(b"From: a@club.example\r\n\r\nHello\r\n.\r\n")
            assert lines.readline().startswith(b"250")
        (mail,) = serving.spool.mails
    assert mail.results.get("relay_spf") == word
    named = f"judged as of {client}, as our front-end 127.0.0.1 named it"
    assert mail.results.get("relay_hop_detail") == (named if word else None)


@pytest.mark.parametrize(("client", "code"), [("192.0.2.66", 550), ("192.0.2.67", 250)])
def test_policy_refuses_a_listed_peer(client, code):
    """With `listed = "reject"` mail of a client on a list gets 550 5.7.1; the dry run says the same."""
    zone = {("66.2.0.192.list.example", "A"): ["127.0.0.2"]}
    rules = {
        "listeners": [{"bind": "127.0.0.1:0", "tls": "none", "xforward": ["127.0.0.1"]}],
        "routes": [{"match": ["support@example.com"], "policy": {"listed": "reject"}}],
        "identity": {"enabled": True, "dnsbl": ["list.example", "other.example"]},
    }
    with dns_in_a_thread(zone) as server, Serving(config_for(server, **rules)) as serving:
        with smtplib.SMTP("127.0.0.1", serving.ports[0], timeout=20, local_hostname="c.example") as peer:
            peer.ehlo()
            assert peer.docmd("XFORWARD", f"ADDR={client}")[0] == 250
            peer.mail("a@club.example")
            peer.rcpt("support@example.com")
            told = peer.data(FORGED)
        origin = Origin(attributes={"relay_dnsbl": "fail" if code == 550 else "none"})
        (one,) = Explainer(serving.config).read("f", FORGED, origin)
        assert [mail.results["relay_dnsbl"] for mail in serving.spool.mails] == ["none"] * (code == 250)
    assert (told[0], told[1].startswith(b"5.7.1 Your address is on a list")) == (code, code == 550)
    assert (one.reply.code if one.reply else 250) == code


def test_trusted_listener_checks_no_mail_of_others(dns):
    """A legacy system that is no trusted relay hands its own mail in, and nobody is judged."""
    identity = {"enabled": True, "trusted_relays": ["192.0.2.0/24"]}
    trusted = {"bind": "127.0.0.1:0", "tls": "none", "role": "trusted"}
    with Serving(config_for(dns, identity=identity, listeners=[trusted])) as serving:
        assert send(serving, build_signed(500))[0] == 250
        assert serving.spool.mails[0].results == {}


def test_a_reload_keeps_what_the_resolver_knows(dns):
    """A new configuration that asks the same servers asks nothing again; one with checks switched off makes
    none.
    """
    with Serving(config_for(dns), spool=FakeSpool()) as serving:
        send(serving, build_signed(500, 1))
        asked = len(dns.asked)
        serving.soon(lambda: serving.server.reload(config_for(dns, max_message_bytes=1_000_000)))
        send(serving, build_signed(500, 2))
        assert len(dns.asked) == asked
        serving.soon(lambda: serving.server.reload(config_for(dns, identity={"enabled": False})))
        send(serving, build_signed(500, 3))
        assert [bool(mail.results) for mail in serving.spool.mails] == [True, True, False]


def test_a_reload_to_other_servers_ends_an_absence(dns):
    """Where no server answers, another one in a new configuration is asked at once."""
    with dns_in_a_thread(ZONE) as silent, Serving(config_for(silent)) as serving:
        silent.is_silent = True
        send(serving, build_signed(500, 1))
        until(lambda: serving.server.away == {"dns": "no DNS server answers"})
        serving.soon(lambda: serving.server.reload(config_for(dns)))
        send(serving, build_signed(500, 2))
        assert serving.server.away == {}
        assert [mail.results["relay_dkim"] for mail in serving.spool.mails] == ["temperror", "pass"]
