"""Tests of `relay.smtp.handlers` over real sockets: aiosmtpd's handlers, called while mail is received."""

from __future__ import annotations

import asyncio
import io
import json
import mmap
import re
import smtplib
import ssl
import sys
import threading
from types import ModuleType
from typing import ClassVar

import pytest
from aiosmtpd.smtp import SMTP, Envelope, LoginPassword, Session
from fake_spool import FakeSpool
from harness import until
from serving import Serving, build_config

from relay import telemetry
from relay.errors import ConfigError
from relay.smtp.listeners import Listeners
from relay.telemetry import log as log_module

MODULE = "handlers_under_test"
MAIL = b"From: <a@b.example>\r\nMessage-ID: <1@b.example>\r\nSubject: hi\r\n\r\nhello\r\n"
BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"


@pytest.fixture
def hooks(monkeypatch):
    """Puts classes into a module, and gives the tables of the configuration that name them."""
    module = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)

    def name(*classes, seconds=10.0):
        for each in classes:
            setattr(module, each.__name__, each)
        return [{"handler": f"{MODULE}:{each.__name__}", "seconds": seconds} for each in classes]

    return name


class Log:
    """The lines of the log as they come."""

    def __init__(self, monkeypatch):
        self.stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", self.stream)
        telemetry.configure("json", "info")

    def events(self, beginning="hook."):
        log_module._lines.flush()
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["event"].startswith(beginning)]


def serve(tables, spool=None, **changes):
    """A server with these handlers."""
    return Serving(build_config(hooks=tables, **changes), spool=spool)


def client(serving):
    """A client that has said EHLO."""
    smtp = smtplib.SMTP("127.0.0.1", serving.ports[0], timeout=10)
    smtp.ehlo("c.example")
    return smtp


def last_replies(sock, octets, count):
    """The last lines of so many replies to a group of commands."""
    sock.sendall(octets)
    file = sock.makefile("rb")
    found = []
    while len(found) < count:
        line = file.readline()
        if not line:
            break
        if line[3:4] == b" ":
            found.append(line.rstrip(b"\r\n").decode())
    return found


def answering(name, **answers):
    """A class of handlers whose methods give these answers, and count their calls."""
    calls = []
    members = {"calls": calls}
    for command, answer in answers.items():

        async def method(_self, _server, _session, _envelope, *args, _answer=answer, _command=command):
            calls.append((_command, *args))
            await asyncio.sleep(0)
            if isinstance(_answer, BaseException):
                raise _answer
            return _answer(*args) if callable(_answer) else _answer

        members[f"handle_{command}"] = method
    return type(name, (), members)


# --- The values that a handler sees


class Recorder:
    """A handler that keeps what it is given."""

    seen: ClassVar[list[tuple]] = []

    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        self.seen.append(("MAIL", address, list(mail_options), envelope.mail_from, list(envelope.rcpt_tos)))
        session.note = "kept"
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        self.seen.append(("RCPT", address, list(rcpt_options), list(envelope.rcpt_tos)))
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.seen.append(("DATA", server, session, envelope, envelope.content, list(envelope.rcpt_tos)))
        return "250 Message accepted for delivery"


def test_values_are_aiosmtpds(hooks):
    """A handler gets aiosmtpd's own types with the values of this session; the last word is ours."""
    Recorder.seen = []
    with serve(hooks(Recorder)) as serving, client(serving) as smtp:
        assert smtp.docmd("MAIL", f"FROM:<a@b.example> size={len(MAIL)} BODY=8BITMIME SMTPUTF8")[0] == 250
        assert smtp.docmd("RCPT", "TO:<support@example.com> NOTIFY=never")[0] == 250
        assert smtp.docmd("RCPT", "TO:<sales@example.com>")[0] == 250
        code, said = smtp.data(MAIL)
        port = smtp.sock.getsockname()[1]
    assert (code, said) == (250, b"2.0.0 Ok: queued as " + serving.spool.mails[0].spool_id.encode())
    mail, first, second, data = Recorder.seen
    options = [f"SIZE={len(MAIL)}", "BODY=8BITMIME", "SMTPUTF8"]
    assert mail == ("MAIL", "a@b.example", options, "a@b.example", [])
    assert first == ("RCPT", "support@example.com", ["NOTIFY=NEVER"], [])
    assert second == ("RCPT", "sales@example.com", [], ["support@example.com"])
    _, server, session, envelope, content, rcpt_tos = data
    assert isinstance(server, SMTP)
    assert (server.hostname, server.data_size_limit) == ("mx.test.example", 41_943_040)
    assert type(server.event_handler) is Recorder
    assert (server.session, server.envelope) == (session, envelope)
    assert isinstance(session, Session)
    assert session.peer == ("127.0.0.1", port)
    assert (session.host_name, session.extended_smtp, session.ssl) == ("c.example", True, None)
    assert (session.authenticated, session.auth_data, session.note) == (None, None, "kept")
    assert isinstance(envelope, Envelope)
    assert content == MAIL
    assert (envelope.mail_from, envelope.mail_options, envelope.smtp_utf8) == ("a@b.example", options, True)
    assert rcpt_tos == ["support@example.com", "sales@example.com"]
    assert envelope.rcpt_options == ["NOTIFY=NEVER"]


def test_session_stays_and_envelope_is_new(hooks):
    """One session is one Session, with what a handler has put on it; each transaction has its Envelope."""
    Recorder.seen = []
    with serve(hooks(Recorder)) as serving, client(serving) as smtp:
        smtp.sendmail("a@b.example", ["support@example.com"], MAIL)
        smtp.sendmail("", ["sales@example.com"], MAIL + b"more\r\n")
    first, second = [each for each in Recorder.seen if each[0] == "DATA"]
    assert first[2] is second[2]
    assert first[3] is not second[3]
    assert [each[1] for each in Recorder.seen if each[0] == "MAIL"] == ["a@b.example", "<>"]
    assert second[3].mail_from == "<>"
    assert serving.spool.mails[1].envelope.reverse_path is None


def test_tls_and_login_are_told(hooks, papers):
    """Under TLS `session.ssl` has cipher and version; after AUTH there is the login, and no password."""
    Recorder.seen = []
    config = build_config(
        papers,
        hooks=hooks(Recorder),
        server={"users_file": str(papers.users)},
        listeners=[{"bind": "127.0.0.1:0", "role": "trusted", "auth": "optional"}],
    )
    context = ssl.create_default_context(cafile=str(papers.ca))
    context.check_hostname = False
    with Serving(config) as serving, client(serving) as smtp:
        smtp.starttls(context=context)
        smtp.ehlo("c.example")
        smtp.login("printer", "s3cret")
        smtp.sendmail("a@b.example", ["support@example.com"], MAIL)
    session = Recorder.seen[-1][2]
    name, version, _ = session.ssl["cipher"]
    assert version == "TLSv1.3"
    assert name.startswith("TLS_")
    assert session.authenticated is True
    assert session.auth_data == LoginPassword(b"printer", b"")


@pytest.mark.parametrize("size", [1_000, 300_000, 1_048_576, 1_048_577, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["data", "bdat"])
def test_content_is_the_mail_as_it_came(hooks, tmp_path, size, chunked):
    """In memory or in a file, by DATA or BDAT: the octets of the mail without our header, `bytes` up to 1
    MiB.
    """
    seen = []

    class Reader:
        async def handle_DATA(self, server, session, envelope):
            content = envelope.content
            seen.append((type(content), len(content), bytes(content[-100:]), content.find(b"Subject:")))
            assert envelope.original_content is content

    line = b"." * 50 + b"x" * 26 + b"\r\n"
    mail = MAIL + line * ((size - len(MAIL)) // 78)
    mail += b"y" * (size - len(mail) - 2) + b"\r\n"
    with serve(hooks(Reader), data_dir=str(tmp_path)) as serving, client(serving) as smtp:
        if chunked:
            smtp.docmd("MAIL", "FROM:<a@b.example>")
            smtp.docmd("RCPT", "TO:<support@example.com>")
            smtp.sock.sendall(b"BDAT %d LAST\r\n%b" % (len(mail), mail))
            assert smtp.getreply()[0] == 250
        else:
            assert smtp.sendmail("a@b.example", ["support@example.com"], mail) == {}
    kind = bytes if size <= 1_048_576 else mmap.mmap
    assert seen == [(kind, len(mail), mail[-100:], mail.find(b"Subject:"))]
    assert serving.spool.body() == mail


def test_stock_handler_of_aiosmtpd():
    """A handler that comes with aiosmtpd is used as it is."""
    tables = [{"handler": "aiosmtpd.handlers:Debugging"}]
    with serve(tables) as serving, client(serving) as smtp:
        assert smtp.sendmail("a@b.example", ["support@example.com"], MAIL) == {}
    assert len(serving.spool.mails) == 1


# --- Order


def test_handlers_are_called_in_order_until_one_refuses(hooks):
    """The first that refuses decides; those behind it are not asked."""
    first = answering("First", MAIL=None, DATA=None)
    second = answering("Second", RCPT="250 fine", DATA="554 5.7.1 no")
    third = answering("Third", MAIL=None, DATA=None)
    with (
        serve(hooks(first, second, third)) as serving,
        client(serving) as smtp,
        pytest.raises(smtplib.SMTPDataError) as caught,
    ):
        smtp.sendmail("a@b.example", ["support@example.com"], MAIL)
    assert caught.value.smtp_code == 554
    assert re.fullmatch(rb"5\.7\.1 no \[T\d+\]", caught.value.smtp_error)
    assert [call[0] for call in first.calls] == ["MAIL", "DATA"]
    assert [call[0] for call in second.calls] == ["RCPT", "DATA"]
    assert [call[0] for call in third.calls] == ["MAIL"]
    assert serving.spool.mails == []


def test_our_own_refusals_come_first(hooks):
    """A handler sees no command and no mail that we refuse ourselves."""
    every = answering("Every", MAIL=None, RCPT=None, DATA=None)
    with serve(hooks(every), max_message_bytes=65_536) as serving, client(serving) as smtp:
        assert smtp.docmd("MAIL", "FROM:<a@b.example> SIZE=99999")[0] == 552
        assert smtp.docmd("MAIL", "FROM:<a b@c.example>")[0] == 501
        assert every.calls == []
        assert smtp.docmd("MAIL", "FROM:<a@b.example>")[0] == 250
        assert smtp.docmd("RCPT", "TO:<nobody@example.com>")[0] == 550
        assert smtp.docmd("RCPT", "TO:<a@elsewhere.example>")[0] == 550
        assert smtp.docmd("RCPT", "TO:<support@example.com>")[0] == 250
        assert smtp.data(MAIL + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 1_000)[0] == 552
        loops = b"Received: from x by mx.test.example\r\n" * 6
        for mail in (loops + MAIL, MAIL + b"bare\rline\r\n"):
            smtp.docmd("MAIL", "FROM:<a@b.example>")
            smtp.docmd("RCPT", "TO:<support@example.com>")
            smtp.docmd("DATA")
            smtp.sock.sendall(mail + b".\r\n")
            assert smtp.getreply()[0] in (550, 554)
    assert [call[0] for call in every.calls] == ["MAIL", "RCPT", "MAIL", "RCPT", "MAIL", "RCPT"]
    assert serving.spool.mails == []


def test_pipelined_commands_wait_for_handlers(hooks):
    """A pipelined group is answered in its order, each command after the handlers of the one before it."""
    by_address = {
        "support@example.com": None,
        "sales@example.com": "450 4.2.1 full",
        "team1@example.com": "250 OK",
    }
    every = answering("Every", MAIL="250 OK", RCPT=lambda address, _options: by_address[address], DATA=None)
    group = (
        b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\n"
        b"RCPT TO:<nobody@example.com>\r\nRCPT TO:<sales@example.com>\r\nRCPT TO:<team1@example.com>\r\nDATA\r\n"
    )
    with serve(hooks(every)) as serving, serving.connect() as sock:
        said = last_replies(sock, group + MAIL + b".\r\nNOOP\r\nMAIL FROM:<c@b.example>\r\nQUIT\r\n", 12)
    codes = [line[:3] for line in said]
    assert codes == ["220", "250", "250", "250", "550", "450", "250", "354", "250", "250", "250", "221"]
    assert [path.address for path in serving.spool.mails[0].envelope.forward_paths] == [
        "support@example.com",
        "team1@example.com",
    ]


# --- Refusals


def test_refused_sender_begins_no_transaction(hooks):
    """After a handler has refused MAIL there is no transaction, and the next MAIL is as good as the first."""
    picky = answering(
        "Picky", MAIL=lambda address, _options: "550 5.7.1 not you" if address == "bad@b.example" else None
    )
    with serve(hooks(picky)) as serving, client(serving) as smtp:
        code, said = smtp.docmd("MAIL", "FROM:<bad@b.example>")
        assert code == 550
        assert re.fullmatch(rb"5\.7\.1 not you \[T\d+\]", said)
        assert smtp.docmd("RCPT", "TO:<support@example.com>")[0] == 503
        assert smtp.sendmail("good@b.example", ["support@example.com"], MAIL) == {}
    assert [mail.envelope.reverse_path for mail in serving.spool.mails] == ["good@b.example"]


def test_first_refusals_of_a_session_are_logged(hooks, monkeypatch):
    """Each refusal is logged under the handler's name, but a session's sixth and later ones at debug only."""
    log = Log(monkeypatch)
    no = answering("No", RCPT="450 4.2.1 later")
    with serve(hooks(no)) as serving:
        telemetry.configure("json", "info")
        with client(serving) as smtp:
            smtp.docmd("MAIL", "FROM:<a@b.example>")
            for _ in range(7):
                assert smtp.docmd("RCPT", "TO:<support@example.com>")[0] == 450
    told = log.events()
    assert [(line["event"], line["hook"], line["command"]) for line in told] == [
        ("hook.refused", f"{MODULE}:No", "RCPT")
    ] * 5
    assert {line["reply"] for line in told} == {"450 4.2.1 later"}


def test_mail_whose_recipients_are_all_refused(hooks):
    """When handlers refuse every recipient there is nothing to send data for, and a deferral stays one."""
    picky = answering(
        "Picky", RCPT=lambda address, _options: "450 4.2.1 later" if address.startswith("sales") else "550 no"
    )
    with serve(hooks(picky)) as serving, client(serving) as smtp:
        smtp.docmd("MAIL", "FROM:<a@b.example>")
        assert smtp.docmd("RCPT", "TO:<support@example.com>")[0] == 550
        assert smtp.docmd("DATA")[0] == 554
        assert smtp.docmd("RCPT", "TO:<sales@example.com>") == (450, b"4.2.1 later")
        assert smtp.docmd("DATA") == (450, b"4.2.1 later")
    assert serving.spool.mails == []


def test_closing_reply_of_a_handler_closes(hooks):
    """A 421 is the last word of a session, whoever says it (RFC 5321 §3.8)."""
    for command in ("MAIL", "RCPT", "DATA"):
        closing = answering("Closing", **{command: "421 4.3.2 closing"})
        with serve(hooks(closing)) as serving, serving.connect() as sock:
            said = last_replies(sock, BEGIN + MAIL + b".\r\nNOOP\r\n", 99)
        assert said[-1] == "421 4.3.2 closing", command
        assert serving.spool.mails == []


def test_refusal_over_lmtp_is_for_each_recipient(hooks):
    """Over LMTP each recipient that was taken gets the reply of the handler (RFC 2033 §4.2)."""
    no = answering("No", DATA="451 4.7.1 not now")
    listeners = [{"bind": "127.0.0.1:0", "role": "trusted", "protocol": "lmtp", "tls": "none"}]
    group = BEGIN.replace(b"EHLO", b"LHLO").replace(b"DATA", b"RCPT TO:<sales@example.com>\r\nDATA")
    with serve(hooks(no), listeners=listeners) as serving, serving.connect() as sock:
        said = last_replies(sock, group + MAIL + b".\r\n", 8)
    assert said[-2:] == ["451 4.7.1 not now", "451 4.7.1 not now"]


def test_longest_reply_stays_within_a_reply_line(hooks):
    """A 5yz of 512 octets is sent as it is: our id is left off where it does not fit (RFC 5321)."""
    no = answering("No", DATA="550 5.7.1 " + "x" * 500)
    with serve(hooks(no)) as serving, serving.connect() as sock:
        said = last_replies(sock, BEGIN + MAIL + b".\r\n", 6)
    assert said[-1] == "550 5.7.1 " + "x" * 500


# --- Faults


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "answer", [RuntimeError("dsn=secret"), "550 two\r\n250 lines", 7], ids=["raises", "lines", "type"]
)
def test_fault_defers_and_says_nothing(hooks, monkeypatch, command, answer):
    """A fault of a handler at any command is 451 4.3.0, is told in the log, and the session goes on."""
    log = Log(monkeypatch)
    broken = answering("Broken", **{command: answer})
    with serve(hooks(broken)) as serving:
        telemetry.configure("json", "info")
        with serving.connect() as sock:
            said = last_replies(
                sock,
                BEGIN + (MAIL + b".\r\n" if command == "DATA" else b"") + b"NOOP\r\n",
                7 if command == "DATA" else 6,
            )
    assert said[-1] == "250 2.0.0 OK"
    assert [line for line in said if line.startswith("451")][:1] == [
        "451 4.3.0 Local trouble, try again later"
    ]
    assert "secret" not in "".join(said)
    assert serving.spool.mails == []
    (event,) = log.events()
    assert (event["event"], event["hook"], event["command"]) == ("hook.failed", f"{MODULE}:Broken", command)


def test_time_out_defers(hooks):
    """A handler that does not answer within its seconds has the mail deferred."""

    class Hanging:
        async def handle_DATA(self, server, session, envelope):
            await asyncio.Event().wait()

    with (
        serve(hooks(Hanging, seconds=0.2)) as serving,
        client(serving) as smtp,
        pytest.raises(smtplib.SMTPDataError) as caught,
    ):
        smtp.sendmail("a@b.example", ["support@example.com"], MAIL)
    assert (caught.value.smtp_code, caught.value.smtp_error) == (451, b"4.3.0 Local trouble, try again later")
    assert serving.spool.mails == []


def test_handlers_have_more_time_than_the_commit(hooks):
    """A handler within its seconds makes no mail late: the limits of commands and commits begin after it."""

    class Slow:
        async def handle_MAIL(self, server, session, envelope, address, mail_options):
            await asyncio.sleep(0.8)

        async def handle_DATA(self, server, session, envelope):
            await asyncio.sleep(0.8)

    limits = {"commit_seconds": 0.3, "command_seconds": 0.3}
    with serve(hooks(Slow), limits=limits) as serving, client(serving) as smtp:
        assert smtp.sendmail("a@b.example", ["support@example.com"], MAIL) == {}
        assert serving.server._server.overload.closed() is False


# --- What a handler cannot change


def test_changes_of_the_envelope_are_ignored_and_told_once(hooks, monkeypatch):
    """The envelope and the octets are ours: what a handler makes of them is ignored, and told once for
    each field.
    """
    log = Log(monkeypatch)
    seen = []

    class Meddling:
        async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
            envelope.rcpt_tos.append("other@example.com")

        async def handle_DATA(self, server, session, envelope):
            envelope.mail_from = "somebody@else.example"
            envelope.rcpt_tos = ["sales@example.com"]
            envelope.content = b"Subject: forged\r\n\r\n"

    class Behind:
        async def handle_DATA(self, server, session, envelope):
            seen.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))

    with serve(hooks(Meddling, Behind)) as serving:
        telemetry.configure("json", "info")
        with client(serving) as smtp:
            for number in range(2):
                smtp.sendmail("a@b.example", ["support@example.com"], MAIL + b"%d\r\n" % number)
    for number, mail in enumerate(serving.spool.mails):
        assert mail.envelope.reverse_path == "a@b.example"
        assert [path.address for path in mail.envelope.forward_paths] == ["support@example.com"]
        assert serving.spool.body(number) == MAIL + b"%d\r\n" % number
    assert seen == [
        ("a@b.example", ["support@example.com"], MAIL + b"%d\r\n" % number) for number in range(2)
    ]
    told = [(line["event"], line["hook"], line["field"]) for line in log.events()]
    assert sorted(told) == [
        ("hook.overruled", f"{MODULE}:Meddling", field) for field in ("content", "mail_from", "rcpt_tos")
    ]


def test_handler_that_sets_the_envelope_as_aiosmtpd_wants_is_not_told(hooks, monkeypatch):
    """A handler that sets mail_from and appends to rcpt_tos, as aiosmtpd asks, changes nothing."""
    log = Log(monkeypatch)

    class Dutiful:
        async def handle_MAIL(self, server, session, envelope, address, mail_options):
            envelope.mail_from = address
            envelope.mail_options.extend(mail_options)
            return "250 OK"

        async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(rcpt_options)
            return "250 OK"

    with serve(hooks(Dutiful, answering("Other", RCPT="250 OK"))) as serving:
        telemetry.configure("json", "info")
        with client(serving) as smtp:
            assert smtp.sendmail("a@b.example", ["support@example.com", "sales@example.com"], MAIL) == {}
    assert len(serving.spool.mails[0].envelope.forward_paths) == 2
    assert log.events() == []


def test_handler_cannot_write_to_the_peer(hooks):
    """`server.push` is an error of the handler: a reply in the middle would put all others out of step."""

    class Pushing:
        async def handle_DATA(self, server, session, envelope):
            await server.push("250 OK")

    with serve(hooks(Pushing)) as serving, serving.connect() as sock:
        said = last_replies(sock, BEGIN + MAIL + b".\r\nNOOP\r\n", 7)
    assert said[-2:] == ["451 4.3.0 Local trouble, try again later", "250 2.0.0 OK"]


# --- Attributes


def test_attributes_are_stored_with_the_mail(hooks, monkeypatch):
    """What handlers put into envelope.attributes is stored before the 250; what no contact can have is
    left out and told.
    """
    log = Log(monkeypatch)

    class First:
        async def handle_MAIL(self, server, session, envelope, address, mail_options):
            envelope.attributes["customer"] = "4711"

        async def handle_DATA(self, server, session, envelope):
            envelope.attributes |= {"relay_spf": "pass", "score": 7, "": "x", "city": "München"}

    class Second:
        async def handle_DATA(self, server, session, envelope):
            envelope.attributes["seen"] = envelope.attributes["customer"]
            return "250 OK"

    with serve(hooks(First, Second)) as serving:
        telemetry.configure("json", "info")
        with client(serving) as smtp:
            smtp.sendmail("a@b.example", ["support@example.com"], MAIL)
            smtp.docmd("MAIL", "FROM:<a@b.example>")
            smtp.docmd("RSET")
            smtp.sendmail("a@b.example", ["support@example.com"], MAIL + b"2\r\n")
    for mail in serving.spool.mails:
        assert dict(mail.envelope.attributes) == {"customer": "4711", "city": "München", "seen": "4711"}
    assert [line["event"] for line in log.events()] == ["hook.attributes_dropped"] * 2
    assert log.events()[0]["names"] == ["relay_spf", "score", ""]


def test_mail_without_attributes_has_none(hooks):
    """A handler that sets nothing, or nonsense in place of the attributes, leaves the mail as it is."""

    class Nonsense:
        async def handle_DATA(self, server, session, envelope):
            del envelope.attributes

    for each in (answering("Plain", DATA=None), Nonsense):
        with serve(hooks(each)) as serving, client(serving) as smtp:
            assert smtp.sendmail("a@b.example", ["support@example.com"], MAIL) == {}
        assert serving.spool.mails[0].envelope.attributes == ()


# --- Peers that leave, and the end


def test_peer_that_leaves_while_a_handler_looks_at_its_mail(hooks):
    """A mail that was whole is committed, although its peer goes away while a handler looks at it."""
    asked, release = threading.Event(), threading.Event()

    class Waiting:
        async def handle_DATA(self, server, session, envelope):
            asked.set()
            await asyncio.to_thread(release.wait, 10)

    with serve(hooks(Waiting)) as serving:
        with serving.connect() as sock:
            sock.sendall(BEGIN + MAIL + b".\r\n")
            assert asked.wait(10)
        release.set()
        until(lambda: len(serving.spool.mails) == 1)


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
def test_peer_that_leaves_during_a_command(hooks, command):
    """A peer that goes away while a handler looks at its command leaves nothing behind."""
    asked, release = threading.Event(), threading.Event()

    async def wait(*_):
        asked.set()
        await asyncio.to_thread(release.wait, 10)

    waiting = type("Waiting", (), {f"handle_{command}": wait})
    with serve(hooks(waiting)) as serving:
        with serving.connect() as sock:
            sock.sendall(BEGIN)
            assert asked.wait(10)
        until(lambda: not serving.server._server.sessions)
        release.set()
        until(lambda: not serving.server._server.works)
    assert serving.spool.mails == []


def test_retransmission_is_shown_again(hooks):
    """A mail that a sender sends again is shown to the handlers again, and stored once."""
    every = answering("Every", DATA=None)
    with serve(hooks(every)) as serving, client(serving) as smtp:
        first = smtp.sendmail("a@b.example", ["support@example.com"], MAIL)
        assert smtp.sendmail("a@b.example", ["support@example.com"], MAIL) == first == {}
    assert [call[0] for call in every.calls] == ["DATA", "DATA"]
    assert len(serving.spool.mails) == 1


def test_full_disk_for_a_large_mail_defers(hooks, tmp_path):
    """A mail that cannot be shown for want of room is deferred as one that cannot be stored."""
    every = answering("Every", DATA=None)
    (tmp_path / "work").write_text("in the way")
    with (
        serve(hooks(every), data_dir=str(tmp_path)) as serving,
        client(serving) as smtp,
        pytest.raises(smtplib.SMTPDataError) as caught,
    ):
        smtp.sendmail(
            "a@b.example",
            ["support@example.com"],
            MAIL + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 20_000,
        )
    assert caught.value.smtp_code == 451
    assert every.calls == serving.spool.mails == []


# --- Configuration


def test_reload_is_for_new_sessions(hooks):
    """New sessions have the handlers of the new configuration, open ones keep theirs."""
    old, new = answering("Old", DATA="550 old"), answering("New", DATA="550 new")
    tables = hooks(old)
    with serve(tables) as serving, serving.connect() as first:
        assert len(last_replies(first, BEGIN, 5)) == 5

        async def reload():
            serving.server.reload(build_config(hooks=hooks(new)))

        serving.call(reload())
        with serving.connect() as second:
            assert last_replies(second, BEGIN + MAIL + b".\r\n", 6)[-1].startswith("550 5.0.0 new")
        assert last_replies(first, MAIL + b".\r\n", 1)[-1].startswith("550 5.0.0 old")


def test_handler_stays_the_same_object_over_a_reload(hooks):
    """A handler that both configurations name keeps what it remembers."""
    made = []

    class Remembering:
        def __init__(self):
            made.append(self)

        async def handle_DATA(self, server, session, envelope):
            return f"550 number {len(made)}"

        def __len__(self):
            return 0

    with serve(hooks(Remembering)) as serving:

        async def reload():
            serving.server.reload(build_config(hooks=hooks(Remembering, seconds=3)))

        serving.call(reload())
        with serving.connect() as sock:
            assert last_replies(sock, BEGIN + MAIL + b".\r\n", 6)[-1].startswith("550 5.0.0 number 1")


async def test_handler_that_cannot_be_made_stops_the_start(hooks):
    """A receiver does not begin without a handler that its configuration names: mail would pass unseen."""

    class Needy:
        def __init__(self):
            raise RuntimeError("no database")

        async def handle_DATA(self, server, session, envelope):
            return None

    config = build_config(hooks=hooks(Needy))
    with pytest.raises(ConfigError) as caught:
        await Listeners(config=config, intake=FakeSpool()).start({})
    assert caught.value.sentences == (
        f'hooks[0].handler = "{MODULE}:Needy": cannot be made (RuntimeError: no database); it is called without arguments',
    )
