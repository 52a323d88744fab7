"""`relay explain`: what mails would become, said without network."""

from __future__ import annotations

import json
import socket
from email.message import EmailMessage

import pytest
from click.testing import CliRunner
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import replies
from relay.cli import main
from relay.cli.explanations import build_record
from relay.config.builtin import builtin_config
from relay.explain import Explainer
from relay.faults import arm_fault

PLAIN = b"""\
Return-Path: <bounce@customer.example>
From: Jane Doe <jane@customer.example>
To: Support <support@example.com>, sales@example.com, bob@other.example
Subject: Order 4711
Message-ID: <1@customer.example>
Date: Sat, 01 Mar 2025 12:00:00 +0000

Where is it?
"""


def mail(**headers):
    message = EmailMessage()
    message["From"] = "jane@customer.example"
    message["To"] = "support@example.com"
    message["Subject"] = "Order 4711"
    for name, value in headers.items():
        del message[name]
        message[name.replace("_", "-")] = value
    message.set_content("Where is it?\n")
    return message


def explain(raw, *, config=None, rcpt=()):
    explainer = Explainer(config or builtin_config(), recipients=rcpt)
    return [build_record(one) for one in explainer.explain("mail.eml", raw)]


def run(*arguments, stdin=None):
    result = CliRunner().invoke(main, ["explain", *map(str, arguments)], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_record_has_every_key_of_the_contract():
    """One object for each destination, with the request, the mail as understood, and what became of it."""
    support, sales = explain(PLAIN)
    assert support["file"] == "mail.eml"
    assert (support["destination"], sales["destination"]) == ("support@example.com", "sales@example.com")
    assert support["message"] == {
        "subject": "Order 4711",
        "from": ["jane@customer.example"],
        "to": ["support@example.com", "sales@example.com", "bob@other.example"],
        "cc": [],
        "text": "Where is it?\n",
        "html": "",
        "attachments": [],
        "defects": [],
    }
    request = support["request"]
    assert request["DestinationEmailAddress"] == "support@example.com"
    assert request["FromEmailAddress"] == {"EmailAddress": "jane@customer.example", "DisplayName": "Jane Doe"}
    assert request["EmailMessage"]["RawMessage"]["Body"] == "Where is it?\n"
    assert request["AdditionalRecipients"] == {"ToAddresses": [{"EmailAddress": "bob@other.example"}]}
    assert request["Attributes"]["desk"] == "support"
    assert request["Attributes"]["relay_envelope_from"] == "bounce@customer.example"
    assert request["ClientToken"] != sales["request"]["ClientToken"]
    assert [one["code"] for one in support["adaptations"]] == ["recipient.own"]
    assert support["adaptations"][0]["detail"]
    assert (support["classification"], support["disposition"], support["error"]) == ("human", "accept", None)


def test_attachments_have_urls_of_realistic_length():
    """The placeholder is an https URL as long as a presigned one, within what Connect takes."""
    message = mail()
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="invoice.pdf")
    message.add_attachment(b"PK\x03\x04", maintype="application", subtype="zip", filename="x.zip")
    (record,) = explain(message.as_bytes())
    (attachment,) = record["request"]["Attachments"]
    assert attachment["FileName"] == "invoice.pdf"
    assert attachment["S3Url"].startswith("https://")
    assert len(attachment["S3Url"]) == 1_500
    assert [one["name"] for one in record["message"]["attachments"]] == ["invoice.pdf", "x.zip"]
    assert [(one["name"], one["attached"]) for one in record["files"]] == [
        ("invoice.pdf", True),
        ("x.zip", False),
    ]


def test_picture_named_by_its_place():
    """HTML saved from the web refers to its pictures by Content-Location (RFC 2557)."""
    raw = b"""\
From: jane@customer.example
To: support@example.com
Content-Type: multipart/related; boundary=b

--b
Content-Type: text/html
Content-Location: https://shop.example/index.html

<img src="img/logo.png">
--b
Content-Type: image/png
Content-Location: https://shop.example/img/
 logo.png
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b--
"""
    (record,) = explain(raw)
    assert "data:image/png;base64," in record["request"]["EmailMessage"]["RawMessage"]["Body"]


def test_destination_without_a_match_is_the_first_route():
    """A mail to nobody of ours is explained for the first address of the first route."""
    (record,) = explain(mail(To="someone@elsewhere.example").as_bytes())
    assert record["destination"] == "support@example.com"


def test_destination_as_asked_for():
    """The recipients asked for go before those of the headers; one that no route takes is refused."""
    first, second = explain(PLAIN, rcpt=["nobody@elsewhere.example", "anyone@example.com"])
    assert (first["destination"], first["disposition"], first["request"]) == (
        "nobody@elsewhere.example",
        "reject",
        None,
    )
    assert "no route" in first["reason"]
    assert (second["destination"], second["disposition"]) == ("anyone@example.com", "accept")


@pytest.mark.parametrize(
    ("match", "destination", "expected"),
    [
        ("@example.com", None, "desk@example.com"),
        ("@example.com", "help@example.com", "help@example.com"),
        ("help*@example.com", None, "help@example.com"),
    ],
)
def test_example_address_of_a_pattern(match, destination, expected):
    """A route that matches a whole domain is explained for some address of it."""
    config = builtin_config(routes=[{"match": [match], "destination": destination}])
    assert explain(mail(To="x@elsewhere.example").as_bytes(), config=config)[0]["destination"] == expected


def test_refusals_at_the_door():
    """Size, loops and file types that would be refused before 250 are said."""
    config = builtin_config(max_message_bytes=65_536)
    assert "max_message_bytes" in explain(PLAIN + b"x" * 70_000, config=config)[0]["reason"]
    looped = b"Received: by x; Sat, 01 Mar 2025 12:00:00 +0000\r\n" * 51 + PLAIN
    assert "loop" in explain(looped)[0]["reason"]
    config = builtin_config(routes=[{"match": ["support@example.com"], "disallowed_types": "reject"}])
    message = mail()
    message.add_attachment(b"PK", maintype="application", subtype="zip", filename="x.zip")
    (record,) = explain(message.as_bytes(), config=config)
    assert (record["disposition"], record["reason"]) == ("reject", "file types not allowed: x.zip")


def test_refusals_that_only_the_wire_knew():
    """Loops through our own hostname, a line of over 1 MiB and a bare CR are refused as by a
    session.
    """
    config = builtin_config()
    own = f"Received: from a by {config.hostname}; Sat, 01 Mar 2025 12:00:00 +0000\n".encode() * 6
    long_line = b"Subject: x\n\n" + b"x" * 1_100_000 + b"\n"
    for raw, words in (
        (own + PLAIN, "own hostname"),
        (long_line, "limits.line_bytes"),
        (PLAIN + b"a\rb\r\n", "CR stands alone"),
        (PLAIN + b".\na\r\n", "smuggling"),
    ):
        (record,) = explain(raw, rcpt=["support@example.com"])
        assert record["disposition"] == "reject"
        assert words in record["reason"]
        assert record["request"] is not None
    assert Explainer(config).read("f", PLAIN + b"a\r\n")[0].reply is None
    strict = builtin_config(listeners=[{"strict": True}])
    assert Explainer(strict).read("f", PLAIN + b"a\r\n")[0].reply is replies.BARE_LINE_END


def test_policy_of_the_route_is_said():
    """What the route does with mail of its class stands beside the verdict."""
    config = builtin_config(routes=[{"match": ["support@example.com"], "on": {"auto-reply": "drop"}}])
    raw = b"Auto-Submitted: auto-replied\n" + mail().as_bytes()
    (record,) = explain(raw, config=config)
    assert (record["classification"], record["disposition"]) == ("auto-reply", "accept")
    assert "drop" in record["reason"]


def test_a_broken_limit_is_an_error(monkeypatch):
    """A request that the model check refuses is said in its line."""
    monkeypatch.setattr("relay.explain.URL_LENGTH", 2_001)
    message = mail()
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="invoice.pdf")
    assert "2000" in explain(message.as_bytes())[0]["error"]


def test_a_fault_of_ours_is_an_error(monkeypatch):
    """Whatever is raised stands in the line of its file and ends nothing."""

    def fail(*_args, **_kwargs):
        raise RuntimeError("boom")

    monkeypatch.setattr("relay.explain.fit", fail)
    (record,) = explain(PLAIN)
    assert record["error"] == "a fault of the relay: RuntimeError('boom')"


@pytest.mark.process
def test_json_lines_in_the_order_of_the_files(tmp_path):
    """A file that is missing, a directory and an empty file have their lines; the others are explained."""
    good = tmp_path / "good.eml"
    good.write_bytes(mail().as_bytes())
    empty = tmp_path / "empty.eml"
    empty.write_bytes(b"")
    names = [str(tmp_path / "missing.eml"), str(good), str(tmp_path), str(empty), str(good)]
    result = run("--json", *names)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["file"] for record in records] == names
    assert [bool(record["error"]) for record in records] == [True, False, True, False, False]
    assert "No such file" in records[0]["error"]
    assert records[0]["message"] is None
    assert result.exit_code == 1


@pytest.mark.process
def test_standard_input():
    """A dash is a mail on the standard input."""
    result = run("--json", "-", stdin=mail().as_bytes())
    assert json.loads(result.stdout)["file"] == "-"
    assert result.exit_code == 0


@pytest.mark.process
def test_configuration_of_ones_own(tmp_path):
    """--config takes the routes of a file; a bad one ends with 2 and its sentences."""
    config = tmp_path / "relay.toml"
    config.write_text(
        'hostname = "mx.example.org"\n[s3]\nbucket = "my-bucket"\n[connect]\ninstance_id = "00000000-0000-0000-0000-000000000001"\n'
        '[[routes]]\nmatch = ["desk@example.org"]\n'
    )
    letter = tmp_path / "letter.eml"
    letter.write_bytes(mail().as_bytes())
    assert json.loads(run("--config", config, "--json", letter).stdout)["destination"] == "desk@example.org"
    config.write_text("hostname = 1\n")
    assert run("--config", config, letter).exit_code == 2


def test_bad_usage():
    """No file is bad usage."""
    assert run().exit_code == 2


@pytest.mark.process
def test_page_for_a_person(tmp_path):
    """The tree of parts, what the agent will see, and each change with its reason."""
    message = mail(Subject="Gr\u00fc\u00dfe")
    message.add_alternative('<p>Where is <b>it</b>? <img src="cid:logo@x"></p>', subtype="html")
    message.get_payload()[1].add_related(
        b"\x89PNG\r\n\x1a\n", maintype="image", subtype="png", cid="<logo@x>"
    )
    message.add_attachment(b"PK\x03\x04", maintype="application", subtype="zip", filename="x.zip")
    letter = tmp_path / "letter.eml"
    letter.write_bytes(message.as_bytes())
    page = run(letter).stdout
    for words in (
        "letter.eml  \u2192  support@example.com",
        "Verdict     accept",
        "Route       support@example.com",
        "Class       human",
        'application/zip "x.zip" (4 bytes, attachment)',
        "Subject     Gr\u00fc\u00dfe",
        "Body        text/html",
        "\u2502 Where is it?",
        "Only stored x.zip (4 bytes) as mail/",
        "image.inlined: An image that the HTML shows",
        "attachment.type_not_allowed:",
    ):
        assert words in page, words


@pytest.mark.process
def test_page_of_a_plain_mail(tmp_path):
    """Nothing changed is said as such, and an error in its place."""
    letter = tmp_path / "letter.eml"
    letter.write_bytes(mail().as_bytes())
    result = run(letter, tmp_path / "missing.eml")
    assert "Nothing had to be changed." in result.stdout
    assert "Error       cannot be read: No such file" in result.stdout


@pytest.mark.process
def test_page_never_carries_control_characters(tmp_path):
    """A hostile mail cannot write to the operator's terminal."""
    letter = tmp_path / "letter.eml"
    letter.write_bytes(
        b"From: \x1b[31m <a@b.example>\r\nSubject: \x1b]0;owned\x07\r\n\r\nbody \x1b[2J\x9b end\r\n"
    )
    page = run(letter).stdout
    assert not set(page) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160)]))


@pytest.mark.process
def test_no_network(monkeypatch, tmp_path):
    """A dry run calls nobody."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("somebody was called")

    for way in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, way, refuse)
    letter = tmp_path / "letter.eml"
    letter.write_bytes(mail().as_bytes())
    assert run("--json", letter).exit_code == 0


@pytest.mark.process
@pytest.mark.parametrize("fault", [pytest.param("spin", marks=pytest.mark.long), "segv", "raise", "allocate"])
def test_a_hostile_file_harms_no_command(tmp_path, fault):
    """A file that hangs, bloats or crashes its reader is told as the contact of its original, and the next as
    it is.
    """
    config = tmp_path / "relay.toml"
    config.write_text(
        '[s3]\nbucket = "example-mail"\n[connect]\ninstance_id = "12345678-90ab-cdef-1234-567890abcdef"\n'
        '[understand]\ncpu_seconds = 1\n[[routes]]\nmatch = ["support@example.com"]\n'
    )
    hostile, good = tmp_path / "hostile.eml", tmp_path / "good.eml"
    hostile.write_bytes(mail(Subject="Hostile").as_bytes())
    good.write_bytes(mail(Subject="Good").as_bytes())
    arm_fault(f"delivery.understand:{fault}:0:@Hostile")
    try:
        result = run("--json", "--config", config, hostile, good)
        page = run("--config", config, hostile)
    finally:
        arm_fault("")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (result.exit_code, page.exit_code) == (0, 0)
    assert "message.not_understood" in [one["code"] for one in first["adaptations"]]
    assert (
        first["message"]["subject"] == first["request"]["EmailMessage"]["RawMessage"]["Subject"] == "Hostile"
    )
    assert "it is not understood" in page.stdout
    assert (second["message"]["subject"], second["adaptations"]) == ("Good", [])


@pytest.mark.process
def test_destinations_are_as_many_as_a_session_takes():
    """A mail that names thousands of our addresses is explained for as many as limits.recipients."""
    named = ", ".join(f"desk{number}@example.com" for number in range(3_000))
    assert len(explain(mail(To=named).as_bytes())) == builtin_config().limits.recipients


@settings(deadline=None, max_examples=examples(80))
@given(st.binary(max_size=2_000))
def test_any_octets_are_explained(raw):
    """Whatever the file holds, there is a valid request and a line of JSON."""
    for record in explain(raw):
        assert record["error"] is None
        json.dumps(record).encode("ascii")


PIECES = st.sampled_from(
    [
        b"From: a@b.example\r\n", b"From: =?utf-8?B?////?= <x>\r\n", b"Subject: =?x?q?=00=0A?=\r\n", b"\r\n", b"--x\r\n", b"--x--\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n", b"Content-Type: multipart/alternative; boundary=x\r\n",
        b"Content-Type: text/html; charset=utf-16\r\n", b"Content-Type: message/rfc822\r\n", b"Content-Type: image/png\r\n",
        b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-ID: <i>\r\n",
        b'Content-Disposition: attachment; filename="../\xff\x00.pdf"\r\n', b"<img src=cid:i><!--", b"aGVsbG8=\r\n", b"=FF=\r\n", b"\xff\xfe\x00",
        b"begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n", b"text\r\n",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=examples(120))
@given(st.lists(PIECES, max_size=40).map(b"".join))
@pytest.mark.slow
def test_any_structure_is_explained(raw):
    """Headers, boundaries and encodings in any order give a valid request too."""
    assert [record["error"] for record in explain(raw)] == [None]


def test_route_that_refuses_beside_one_that_takes_holds():
    """As at the door: one reply speaks for all, so only what every route refuses is refused."""
    strict, plain = (
        {"match": ["form@example.com"], "destination": "support@example.com", "disallowed_types": "reject"},
        {"match": ["support@example.com"]},
    )
    mail = (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/zip; name=x.zip\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBBQAAAAIAA==\r\n"
    )
    config = builtin_config(routes=[strict, plain])
    both = Explainer(config, recipients=("form@example.com", "support@example.com")).explain("f", mail)
    assert [(str(one.disposition), one.route.name) for one in both] == [
        ("quarantine", "form@example.com"),
        ("accept", "support@example.com"),
    ]
    assert "policy.disallowed_types" in both[0].reason
    (alone,) = Explainer(config, recipients=("form@example.com",)).explain("f", mail)
    assert str(alone.disposition) == "reject"
