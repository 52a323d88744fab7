"""`relay replay`: a file becomes an accepted mail, with the daemon's half of the spool open beside it
or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness import Daemon, build_mail, subjects, until
from spool_helpers import hold_delivery

from relay.cli import main
from relay.config.load import load_config
from relay.spool.model import Filter
from relay.spool.opening import open_desk, open_intake, open_outbox

MAIL = b"From: Ada <ada@customer.example>\nSubject: Again\nMessage-ID: <1@customer.example>\n\nHello\n.\n"
CONFIG = """
hostname = "mx.example.com"
data_dir = "{home}/data"
max_message_bytes = 700000
[spool]
min_free_bytes = 0
min_free_inodes = 0
[s3]
bucket = "mail-bucket"
[connect]
instance_id = "00000000-0000-0000-0000-000000000001"
[[routes]]
match = ["support@example.com", "help@example.com"]
destination = "support@example.com"
[[routes]]
match = ["sales@example.com"]
name = "sales"
"""


@pytest.fixture
def home(tmp_path):
    """A configuration without a spool yet, and a mail."""
    (tmp_path / "relay.toml").write_text(CONFIG.format(home=tmp_path))
    (tmp_path / "mail.eml").write_bytes(MAIL)
    return tmp_path


def replay(home: Path, *words: str, code: int = 0, stdin: bytes | None = None):
    result = CliRunner().invoke(
        main, ["replay", *words, "--config", str(home / "relay.toml")], input=stdin, catch_exceptions=False
    )
    assert result.exit_code == code, result.output
    return result


def entries(home: Path):
    config = load_config(str(home / "relay.toml"))
    with contextlib.closing(open_desk(config)) as desk:
        return [(entry, desk.export(entry.spool_id)) for entry in desk.select(Filter())]


def test_file_becomes_an_accepted_mail(home):
    """The spool has the octets with CRLF after a Received line "with local", and one entry for each
    destination.
    """
    told = replay(
        home, str(home / "mail.eml"), "--rcpt", "support@example.com", "--rcpt", "sales@example.com"
    )
    (support, raw), (sales, _) = entries(home)
    assert told.stdout == f"{support.spool_id}\n"
    assert sales.spool_id == support.spool_id
    assert [e.destination.address for e in (support, sales)] == ["support@example.com", "sales@example.com"]
    assert sales.destination.route == "sales"
    assert raw.endswith(b"\r\n" + MAIL.replace(b"\n", b"\r\n").partition(b"\r\n")[2])
    trace = raw[: support.trace_size]
    assert trace.startswith(
        b"Received: from mx.example.com ([127.0.0.1])\r\n\tby mx.example.com with local id "
    )
    assert raw[support.trace_size :] == MAIL.replace(b"\n", b"\r\n")
    assert support.message_id == "<1@customer.example>"


@pytest.mark.parametrize(
    ("words", "reverse_path"),
    [
        ((), "ada@customer.example"),
        (("--from", "bob@customer.example"), "bob@customer.example"),
        (("--from", "<>"), None),
    ],
)
def test_reverse_path(home, words, reverse_path):
    """It is what --from says, else the author's address."""
    replay(home, str(home / "mail.eml"), "--rcpt", "help@example.com", *words)
    ((entry, _),) = entries(home)
    assert entry.envelope.reverse_path == reverse_path
    assert entry.destination.forward_paths == ("help@example.com",)
    assert entry.destination.address == "support@example.com"


@pytest.mark.parametrize("raw", [b"Subject: x\n\nno author\n", b"From: <not an address\n\nx\n"])
def test_mail_without_an_author_has_the_null_reverse_path(home, raw):
    """Nothing is made up for an envelope."""
    replay(home, "-", "--rcpt", "support@example.com", stdin=raw)
    ((entry, _),) = entries(home)
    assert entry.envelope.reverse_path is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--rcpt", "nobody@example.com"),
            "relay: nobody@example.com: No such address here (RCPT in a domain",
        ),
        (("--rcpt", "a@elsewhere.example"), "relay: a@elsewhere.example: Not our domain; we do not relay"),
        (
            ("--rcpt", "support@example.com", "--rcpt", "no address"),
            "relay: no address: Bad recipient address",
        ),
        (("--rcpt", "support@example.com", "--from", "a b@c"), "relay: a b@c: Bad sender address syntax"),
    ],
)
def test_bad_address_is_a_sentence(home, words, said):
    """What RCPT or MAIL would refuse is a sentence and exit code 1, and nothing is stored."""
    assert replay(home, str(home / "mail.eml"), *words, code=1).stderr.startswith(said)
    with contextlib.suppress(Exception):
        assert entries(home) == []


@pytest.mark.parametrize(
    ("file", "stdin", "said"),
    [
        ("/nowhere/mail.eml", None, "relay: /nowhere/mail.eml: cannot be read: No such file or directory"),
        ("-", b"\n", "relay: -: there is no mail in it"),
        ("-", b"Subject: x\n\n" + b"x" * 700_000, "relay: Message too big; at most 700000 octets"),
        ("-", b"Received: from a by b;\n x\n" * 60 + b"\nx\n", "relay: Too many hops"),
    ],
)
def test_mail_that_would_be_refused_is_a_sentence(home, file, stdin, said):
    """A file that is not there, is empty, too large or in a loop is refused as over SMTP."""
    assert replay(home, file, "--rcpt", "support@example.com", code=1, stdin=stdin).stderr.startswith(said)


def test_rcpt_is_needed(home):
    """Without a recipient the command is bad usage."""
    assert "--rcpt" in replay(home, str(home / "mail.eml"), code=2).stderr


def test_same_mail_again_is_recognised(home):
    """A second replay of the same octets stores nothing, says so, and prints the first id."""
    first = replay(home, str(home / "mail.eml"), "--rcpt", "support@example.com")
    again = replay(home, str(home / "mail.eml"), "--rcpt", "support@example.com")
    assert again.stdout == first.stdout
    assert "was here before" in again.stderr
    assert len(entries(home)) == 1


def test_recipient_may_stand_in_brackets(home):
    """As mail logs have it."""
    replay(home, str(home / "mail.eml"), "--rcpt", "<help@example.com>", "--from", "<bob@customer.example>")
    ((entry, _),) = entries(home)
    assert entry.destination.forward_paths == ("help@example.com",)
    assert entry.envelope.reverse_path == "bob@customer.example"


def test_answer_for_programs(home):
    """The spool id, and whether the mail was here before."""
    words = (str(home / "mail.eml"), "--rcpt", "support@example.com", "--json")
    first, again = (json.loads(replay(home, *words).stdout) for _ in range(2))
    assert first == {"spool_id": first["spool_id"], "duplicate": False}
    assert again == {**first, "duplicate": True}


def test_nobody_delivers_is_told(home):
    """What no daemon takes up says so, and only then."""
    told = replay(home, str(home / "mail.eml"), "--rcpt", "support@example.com")
    assert told.stderr == (
        "relay: no daemon runs that delivers: the mail is stored, and goes out when one is started\n"
    )
    handle = hold_delivery(home / "data")
    assert replay(home, "-", "--rcpt", "support@example.com", stdin=b"Subject: x\n\ny\n").stderr == ""
    os.close(handle)


def test_large_mail_is_whole(home):
    """A mail that lies in a file of its own is stored octet for octet."""
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 30_000
    replay(home, "-", "--rcpt", "support@example.com", stdin=body)
    ((entry, raw),) = entries(home)
    assert raw[entry.trace_size :] == body
    assert len(list((home / "data" / "spool" / "raw").glob("*/*"))) == 1


def test_both_halves_may_be_at_work(home):
    """With a receiver and the deliverer on the same spool the mail is put in, and can be claimed at once."""
    config = load_config(str(home / "relay.toml"))

    async def claim():
        intake, outbox = open_intake(config), open_outbox(config)
        replaying = replay, home, str(home / "mail.eml"), "--rcpt", "support@example.com"
        await asyncio.to_thread(*replaying)
        claimed = await outbox.claim(now=datetime.now(UTC), limit=9, lease_seconds=9)
        await outbox.close()
        await intake.close()
        return claimed

    assert len(asyncio.run(claim())) == 1


@pytest.mark.process
def test_running_daemon_delivers_it(box, tmp_path):
    """What is replayed beside a running daemon becomes a contact without further ado."""
    with Daemon(tmp_path, env=box.environ()).start() as daemon:
        mail = tmp_path / "mail.eml"
        mail.write_bytes(build_mail("replayed").as_bytes())
        words = ["replay", str(mail), "--rcpt", "support@example.com", "--config", str(daemon.config_path)]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        until(lambda: len(box.book) == 1, so="the contact")
        assert subjects(box.contacts()) == ["Mail replayed"]
        assert daemon.stop() == 0


def test_known_mail_from_another_sender_asks_first(home):
    """Octets that the spool has for that destination, and that are no retransmission, may be a second
    contact: --yes.
    """
    words = (str(home / "mail.eml"), "--rcpt", "support@example.com")
    first = replay(home, *words).stdout
    assert replay(home, *words).stdout == first  # from the same sender: a duplicate
    told = replay(home, *words, "--from", "eve@customer.example", code=2)
    assert "a second contact may come" in told.stderr
    assert first.strip() in told.stderr
    assert len(entries(home)) == 1
    replay(home, *words, "--from", "eve@customer.example", "--yes")
    assert len(entries(home)) == 2
    replay(home, str(home / "mail.eml"), "--rcpt", "sales@example.com")
    assert len(entries(home)) == 3


def test_several_files_are_replayed_in_order(home):
    """Each mail has its spool id, in the order of the files; one that is none has its line, ends nothing, and
    makes the command fail.
    """
    paths = []
    for number in range(3):
        paths.append(home / f"{number}.eml")
        paths[-1].write_bytes(MAIL.replace(b"<1@", b"<%d@" % number) if number != 1 else b"\n")
    words = [str(path) for path in (*paths, paths[0])]
    told = replay(home, *words, "--rcpt", "support@example.com", "--json", code=1)
    ids = [entry.spool_id for entry, _ in entries(home)]
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(line["file"], line["spool_id"], line["duplicate"]) for line in lines] == [
        (words[0], ids[0], False),
        (words[2], ids[1], False),
        (words[0], ids[0], True),
    ]
    assert f"{words[1]}: there is no mail in it" in told.stderr
    assert f"{words[0]}: this mail was here before" in told.stderr
