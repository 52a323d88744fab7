"""The last rung: whatever the octets are, a contact that Connect takes comes of them."""

from __future__ import annotations

import hashlib
import time

import pytest
from examples import examples
from factory import make_config, make_context, make_route
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relay.aws.request_limits import check_request
from relay.contact.original import fit_original
from relay.contact.request import build_request
from relay.message.glimpse import GLIMPSE_BYTES, glimpse_header, glimpse_message
from relay.vocabulary import Cause, Classification, Rung

URL = "https://bucket.s3.eu-central-1.amazonaws.com/mail/1?" + "x" * 1_400
MAIL = (
    b"From: =?utf-8?q?Jos=C3=A9?= <jose@customer.example>\r\nTo: support@example.com\r\n"
    b"Subject: =?utf-8?b?QW5nZWJvdA==?=\r\nMessage-ID: <1@customer.example>\r\nIn-Reply-To: <0@example.com>\r\n"
    b"References: <00@example.com>\r\n <0@example.com>\r\nDate: Sat, 1 Mar 2025 11:00:00 +0100\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe aus K=F6ln\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjcK\r\n--b--\r\n"
)

#: Octets that readers stumble over, and what a header or a part may begin with.
PIECES = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b":", b"<", b">", b'"', b"@", b".", b";", b"=", b"=?", b"?=", b"=?utf-8?b?",
    b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\x1b$B", b"\x1b", b"A", b"--", b"\r\n\r\n", b"--b\r\nContent-Type: ",
    b"From: ", b"Subject: ", b"Message-ID: <", b"References: ", b"Sender: ", b"To: ", b"Content-Type: text/html; charset=",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"<style", b"&#99999;",
    b"iso-2022-jp", b"\xe2\x80\xae", b"\xf3\xa0\x81\x81",
)  # fmt: skip


def plan(raw, *, why=Cause.EXCEPTION, context=None, config=None, **more):
    config = config or make_config()
    return fit_original(raw, context or make_context(), make_route(config), config, why=why, **more)


def problems(made):
    attached = [file for file in made.files if file.attached]
    request = build_request(made, [URL] * len(attached), client_token="t")
    return check_request(request, sizes=[file.size for file in attached])


def octets():
    pieces = st.one_of(st.sampled_from(PIECES), st.binary(max_size=40))
    runs = st.tuples(pieces, st.integers(1, 400)).map(lambda run: run[0] * run[1])
    return st.lists(st.one_of(pieces, runs), max_size=30).map(b"".join)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw=octets(), reverse_path=st.one_of(st.none(), st.text(max_size=30)), why=st.sampled_from(Cause))
@example(raw=b"", reverse_path=None, why=Cause.REFUSED)
@example(raw=b"\0" * 70_000, reverse_path="", why=Cause.LIMIT)
@example(raw=b"Subject: " + bytes(range(32)) * 100, reverse_path="no address", why=Cause.CRASH)
@example(raw=b"From: a@b\r\nTo: <@>\r\n" * 9_000, reverse_path="\0@x.y", why=Cause.CHECK)
@pytest.mark.slow
def test_any_octets_become_a_valid_request(raw, reverse_path, why):
    """Connect's limits hold for whatever was sent, from whomever; the body says why, and names the
    original.
    """
    made = plan(raw, why=why, context=make_context(reverse_path=reverse_path))
    assert problems(made) == ()
    assert made.rung is Rung.ORIGINAL
    assert made.original_key
    assert why.sentence in made.body
    assert made.original_key in made.body
    assert "message.not_understood" in [str(change.code) for change in made.adaptations]
    assert [file.sha256 for file in made.files] == ([hashlib.sha256(raw).hexdigest()] if raw else [])
    assert all(b"".join(file.chunks()) == raw for file in made.files)


@pytest.mark.parametrize("piece", PIECES, ids=repr)
@pytest.mark.parametrize("lead", [b"", b"From: ", b"Subject: ", b"Content-Type: text/html\r\n\r\n"], ids=repr)
@pytest.mark.slow
def test_no_run_of_octets_costs_much(lead, piece):
    """64 KiB of whatever octets are read in a blink: what makes the parser slow makes nothing slow here."""
    raw = lead + piece * (GLIMPSE_BYTES // len(piece))
    begun = time.thread_time()
    made = plan(raw)
    assert time.thread_time() - begun < 1
    assert problems(made) == ()


def test_nothing_behind_the_first_64_kib_is_read():
    """The octets behind the look change nothing of what is shown: forty megabytes cost what one costs."""
    line = b"A" * 40_000_000
    made = plan(line)
    assert problems(made) == ()
    assert made.files == ()
    assert "40.0 MB" in made.body
    assert glimpse_message(line) == glimpse_message(line[:GLIMPSE_BYTES])


HEADER_PIECES = st.sampled_from(
    [
        b"Subject: a",
        b"From: A <a@b>",
        b" folded",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"words",
        b": ",
        b"\x00\xff",
    ]
)


@given(pieces=st.lists(HEADER_PIECES, max_size=12))
def test_a_look_at_the_header_sees_what_a_look_at_the_mail_sees(pieces):
    """The header alone shows the same people, subject and ids as the whole beginning does."""
    raw = b"".join(pieces)
    header, whole = glimpse_header(raw), glimpse_message(raw + b"\n\n")
    assert (header.subject, header.author, header.message_id) == (
        whole.subject,
        whole.author,
        whole.message_id,
    )
    assert header.headers == () or header.text == ""


def test_people_ids_and_words_are_shown():
    """Subject, author, ids and readable words of a mail stand in the contact; a file is named by its type."""
    made = plan(MAIL)
    assert (made.subject, made.from_address, made.from_name) == ("Angebot", "jose@customer.example", "José")
    assert made.headers == {
        "MESSAGE_ID": "<1@customer.example>",
        "IN_REPLY_TO": "<0@example.com>",
        "REFERENCES": "<00@example.com> <0@example.com>",
    }
    assert "Grüße aus Köln" in made.body
    assert "[application/pdf: see the original]" in made.body
    assert "JVBERi0" not in made.body
    assert "Received: 2025-03-01 12:00:00 UTC" in made.body
    assert "Sent by: jane@customer.example" in made.body


@pytest.mark.parametrize(
    ("body", "shown", "hidden"),
    [
        (b"Content-Type: text/html\r\n\r\n<style>p{}</style><p>Hi &amp; bye</p>", "Hi & bye", "p{}"),
        (b"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n", "Hello", "SGVs"),
        (b"\r\n" + b"QUJD" * 18 + b"\r\n", "QUJDQUJD", "[encoded data"),
        (b"\r\n" + (b"QUJD" * 18 + b"\r\n") * 9 + b"end\r\n", "[encoded data: see the original]", "QUJD"),
        (b"\r\nred\x1b[31m\x00 \xe2\x80\xaetxt.exe", "red[31m txt.exe", "\x1b"),
    ],
)
def test_encoding_is_no_reading(body, shown, hidden):
    """Words come out of their encodings; markup, controls, invisible characters and unannounced base64 do
    not.
    """
    made = plan(b"Subject: x\r\n" + body)
    assert shown in made.body
    assert hidden not in made.body


def test_text_without_header_is_shown_whole():
    """Octets that begin with no field are all text."""
    made = plan(b"Dear all,\n\nthe printer is broken.\n")
    assert "Dear all," in made.body
    assert "printer" in made.body


@pytest.mark.parametrize(
    ("sender", "reverse_path", "address", "name"),
    [
        (
            b"=?utf-8?q?x?= <not an address>",
            "ada@customer.example",
            "ada@customer.example",
            "x <not an address>",
        ),
        (b"<support@example.com>", "ada@customer.example", "ada@customer.example", "support@example.com"),
        (b"nobody", None, "unknown@invalid.example", "nobody"),
        (b'"boss@bank.example" <eve@evil.example>', None, "eve@evil.example", "boss@bank.example"),
    ],
)
def test_author_falls_back_as_on_other_rungs(sender, reverse_path, address, name):
    """Without a usable From the reverse-path stands in its place, then the fallback; our own
    address never.
    """
    made = plan(b"From: " + sender + b"\r\n\r\nx", context=make_context(reverse_path=reverse_path))
    assert (made.from_address, made.from_name) == (address, name)


@pytest.mark.parametrize(
    ("connect", "said"),
    [
        ({"max_attachment_bytes": 10}, "too large to be attached"),
        ({"max_total_bytes": 100}, "too large to be attached"),
        ({"max_attachments": 0}, "not passed on"),
        ({"allowed_extensions": ("pdf",)}, "not passed on"),
    ],
)
def test_file_that_the_instance_does_not_take_is_only_stored(connect, said):
    """Where original.txt cannot be attached the body says why, and where the original is."""
    made = plan(MAIL, config=make_config(connect=connect))
    assert made.files == ()
    assert said in made.body
    assert made.original_key in made.body
    assert plan(MAIL, attach=False).files == ()


@pytest.mark.parametrize(("size", "attached"), [(20_971_520, True), (20_971_521, False)])
def test_original_is_attached_up_to_20_mb(size, attached):
    """The largest file that Connect takes is attached; one octet more, and the original is only stored and
    named.
    """
    made = plan(b"Subject: x\r\n\r\n".ljust(size, b"\n"))
    assert problems(made) == ()
    assert [file.size for file in made.files] == ([size] if attached else [])
    assert ("attached as original.txt" in made.body) is attached
    assert made.original_key in made.body


@pytest.mark.parametrize("keep", ["never", "adapted", "always"])
def test_original_is_kept_whatever_the_configuration_says(keep):
    """`keep_original = "never"` is for mail that was understood."""
    made = plan(MAIL, config=make_config(s3={"keep_original": keep}))
    assert made.original_key == "mail/0123456789ab/original.eml"
    assert made.attributes["relay_original"] == made.original_key


def test_class_comes_from_the_header():
    """A bounce that was not understood is a bounce: flows by class go on working."""
    made = plan(
        b"From: MAILER-DAEMON@x.example\r\nSubject: Undelivered mail\r\n\r\nx",
        context=make_context(reverse_path=None),
    )
    assert made.classification is Classification.BOUNCE


def test_reader_that_fails_costs_its_words_only(monkeypatch):
    """Even a fault in the look at the head leaves a contact with the file, from the envelope's sender."""
    monkeypatch.setattr("relay.contact.original.glimpse_message", lambda raw: 1 / 0)
    made = plan(MAIL)
    assert problems(made) == ()
    assert made.from_address == "jane@customer.example"
    assert [file.name for file in made.files] == ["original.txt"]
