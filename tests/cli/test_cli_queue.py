"""`relay queue list`, `show`, `export` and `summary`: what they print, with the daemon's spool open
beside.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from spool_helpers import build_destination, build_submission, hold_delivery, raw_files, tables_of

from relay.cli import main
from relay.cli.entries import printable, span
from relay.cli.filters import parse_age
from relay.cli.pages import short_size
from relay.config.load import load_config
from relay.spool.opening import open_intake, open_outbox

CONFIG = """
hostname = "mx.example.com"
data_dir = "{data_dir}"
[spool]
min_free_bytes = 0
[s3]
bucket = "mail-bucket"
[connect]
instance_id = "00000000-0000-0000-0000-000000000001"
[[routes]]
match = ["support@example.com"]
name = "support"
[[routes]]
match = ["sales@example.com"]
name = "sales"
"""
KEYS = {
    "spool_id",
    "entry",
    "destination",
    "route",
    "state",
    "attempts",
    "next_attempt_at",
    "accepted_at",
    "reason",
    "detail",
    "contact_id",
    "message_id",
    "reverse_path",
    "size",
    "stopped_by",
}


class Spool:
    """A spool with its configuration file, and the command line on it."""

    def __init__(self, home: Path) -> None:
        self.path = home / "relay.toml"
        self.path.write_text(CONFIG.format(data_dir=home / "data"))
        self.config = load_config(str(self.path))

    def run(self, *words: str, code: int = 0, **more):
        result = CliRunner().invoke(main, [*words, "--config", str(self.path)], **more)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    def json(self, *words: str, code: int = 0):
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def put(self, **like) -> str:
        async def put():
            intake = open_intake(self.config)
            receipt = await intake.put(build_submission(intake.new_id(), **{"at": datetime.now(UTC), **like}))
            await intake.close()
            return receipt.spool_id

        return asyncio.run(put())

    def hold_route(self, route: str = "sales", *, detail: str = "no right") -> None:
        """What the deliverer does after an error of configuration."""

        async def hold():
            outbox = open_outbox(self.config)
            now = datetime.now(UTC)
            await outbox.hold_route(route, reason="connect.AccessDenied", detail=detail, now=now)
            await outbox.close()

        asyncio.run(hold())

    @contextmanager
    def attended(self):
        """As if a deliverer ran: its lock is held."""
        handle = hold_delivery(self.config.data_dir)
        yield
        os.close(handle)

    def deliver(self, *, outcome: str = "finish", **words) -> None:
        """Claim one entry and end its attempt so."""

        async def deliver():
            outbox = open_outbox(self.config)
            now = datetime.now(UTC)
            (entry,) = await outbox.claim(now=now, limit=1, lease_seconds=60)
            if outcome != "nothing":
                await getattr(outbox, outcome)(entry, now=now, **words)
            await outbox.close()

        asyncio.run(deliver())


SALES = (build_destination("sales@example.com", route="sales"),)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path)


def test_list_json_has_every_promised_key(spool):
    """The JSON list has an object for each entry that is not finished, oldest first, with all its keys."""
    first, second = spool.put(), spool.put(destinations=SALES, reverse_path=None)
    listed = spool.json("queue", "list")
    assert [record["spool_id"] for record in listed] == [first, second]
    assert set(listed[0]) >= KEYS
    assert listed[0]["entry"] == f"{first}.1"
    assert (listed[1]["route"], listed[1]["state"], listed[1]["reverse_path"]) == ("sales", "queued", None)
    assert datetime.fromisoformat(listed[0]["next_attempt_at"]).tzinfo


def test_list_of_an_empty_spool(spool):
    """Nothing waiting is an empty list, and no failure."""
    spool.put()
    spool.deliver(contact_id="c")
    assert spool.json("queue", "list") == []
    assert "1 done" in spool.run("queue", "list").stdout
    assert [r["contact_id"] for r in spool.json("queue", "list", "--all")] == ["c"]


def test_list_by_filters(spool):
    """Each filter of the command reaches the spool."""
    old = spool.put(at=datetime.now(UTC) - timedelta(hours=3))
    spool.deliver(outcome="bury", reason="payload_refused", detail="no")
    new = spool.put(destinations=SALES, reverse_path="bob@other.example")
    for words, found in (
        (("--state", "dead"), [old]),
        (("--state", "dead", "--state", "queued"), [old, new]),
        (("--route", "sales"), [new]),
        (("--reason", "payload_refused"), [old]),
        (("--reason", "payload_"), [old]),
        (("--sender", "BOB@"), [new]),
        (("--sender", "<Bob@other.example>"), [new]),
        (("--sender", "bob@other"), []),
        (("--recipient", "sales"), [new]),
        (("--recipient", "@example.com"), [old, new]),
        (("--recipient", '"'), []),
        (("--older-than", "2h"), [old]),
        (("--limit", "1"), [old]),
    ):
        assert [r["spool_id"] for r in spool.json("queue", "list", *words)] == found, words


def test_list_says_when_it_is_cut(spool):
    """Who sees a part is told so, beside the list and not within it."""
    spool.put()
    spool.put()
    result = spool.run("queue", "list", "--limit", "1", "--json")
    assert len(json.loads(result.stdout)) == 1
    assert "--limit" in result.stderr
    assert spool.run("queue", "list", "--limit", "2").stderr == ""


def test_list_for_people_escapes_what_a_peer_chose(spool):
    """A terminal is never moved by a sender's escape sequences."""
    spool.put(reverse_path="a\x1b[2J\u202e@x")
    printed = spool.run("queue", "list").stdout
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "a\\x1b[2J\\u202e@x -> support@example.com" in printed


def test_list_has_heads_sizes_and_the_original_recipient(spool):
    """A table: what an operator of any mail server looks for first, in one line."""
    alias = replace(SALES[0], forward_paths=tuple(f"{name}@example.com" for name in "abcde"))
    spool_id = spool.put(destinations=(alias,), reverse_path=None, body=b"x" * 12_345)
    head, line, *_ = spool.run("queue", "list").stdout.splitlines()
    assert head.split() == ["ENTRY", "STATE", "AGE", "SIZE", "TRIES", "SENDER", "->", "RECIPIENT"]
    assert re.fullmatch(
        rf"{spool_id}\.1  queued  +\ds +12k +0  "
        r"<> -> a@example\.com, b@example\.com, c@example\.com and 2 more => sales@example\.com",
        line,
    )
    assert [head.index("STATE"), head.index("SENDER")] == [line.index("queued"), line.index("<>")]


def test_list_of_what_is_done_names_the_contact(spool):
    """Which contact a mail became stands in the list."""
    spool.put()
    spool.deliver(contact_id="contact-1")
    spool.put()
    spool.deliver(contact_id=None, reason="already_there")
    printed = spool.run("queue", "list", "--state", "done").stdout
    assert "    contact contact-1\n" in printed
    assert "    already_there\n    no contact id of ours\n" in printed


def test_totals_follow_the_filter(spool):
    """Below a list stands how many fit, however few are listed, and how many there are."""
    spool.put()
    spool.deliver(contact_id="c")
    spool.put(destinations=SALES)
    spool.put(destinations=SALES)
    spool.put()
    with spool.attended():
        lines = spool.run("queue", "list").stdout.splitlines()
        assert lines[-1] == "3 queued, 0 leased, 0 held, 0 dead, 1 done"
        lines = spool.run("queue", "list", "--route", "sales", "--limit", "1").stdout.splitlines()
    assert lines[2:] == ["2 entries fit: 2 queued", "in all: 3 queued, 0 leased, 0 held, 0 dead, 1 done"]
    assert "1 entry fits: 1 done\n" in spool.run("queue", "list", "--state", "done").stdout
    assert "4 entries fit: 3 queued, 1 done\n" in spool.run("queue", "list", "--all").stdout
    assert spool.run("queue", "list", "--state", "dead").stdout.startswith("0 entries fit\n")


def test_entry_of_a_held_route_is_listed_as_held(spool):
    """After an error of configuration an operator sees what it holds, and why, wherever he looks."""
    support, sales = spool.put(), spool.put(destinations=SALES)
    spool.hold_route()
    assert [r["spool_id"] for r in spool.json("queue", "list", "--state", "held")] == [sales]
    assert [r["spool_id"] for r in spool.json("queue", "list", "--state", "queued")] == [support]
    assert [r["spool_id"] for r in spool.json("queue", "list", "--reason", "connect.")] == [sales]
    for words in (("queue", "show", sales), ("trace", sales), ("queue", "list", "--route", "sales")):
        (record,) = spool.json(*words)
        assert {
            "state": "held",
            "reason": "connect.AccessDenied",
            "detail": "no right",
            "next_attempt_at": None,
            "stopped_by": ["route sales"],
        }.items() <= record.items()
    printed = spool.run("queue", "list").stdout
    assert f"{sales}.2  held " in printed
    assert "    connect.AccessDenied\n" in printed
    assert "1 queued, 0 leased, 1 held, 0 dead, 0 done\n" in printed
    assert "The route sales is held for " in printed
    assert "until a probe succeeds or: relay resume route sales" in printed
    summary = spool.json("queue", "summary")
    assert (summary["counts"]["queued"], summary["counts"]["held"]) == (1, 1)
    assert [(r["route"], r["queued"], r["held"]) for r in summary["routes"]] == [
        ("sales", 0, 1),
        ("support", 1, 0),
    ]


def test_list_says_what_keeps_each_entry(spool):
    """Programs read in `stopped_by` what `relay resume` has to be told before an entry goes out."""
    spool.put(destinations=SALES)
    spool.put()
    for words in (("delivery",), ("route", "sales")):
        spool.run("pause", *words)
    spool.hold_route()
    assert [r["stopped_by"] for r in spool.json("queue", "list")] == [
        ["route sales", "delivery"],
        ["delivery"],
    ]


@pytest.mark.parametrize("command", ["list", "summary"])
def test_nobody_delivers_is_told(spool, command):
    """What nobody takes out of the queue is no riddle."""
    spool.put()
    assert spool.run("queue", command).stdout.endswith("done\nNo daemon runs that delivers.\n")
    with spool.attended():
        assert spool.run("queue", command).stdout.endswith("done\n")


def test_unknown_route_is_told(spool):
    """A filter with a mistyped name lists nothing, and says which names there are; one of old mail
    is known.
    """
    spool.put(destinations=(build_destination("old@example.com", route="old"),))
    result = spool.run("queue", "list", "--route", "suport", "--json")
    assert json.loads(result.stdout) == []
    assert result.stderr == 'relay: no route is named "suport"; there are: old, sales, support\n'
    assert spool.run("queue", "list", "--route", "sales").stderr == ""
    assert len(spool.json("queue", "list", "--route", "old")) == 1
    assert 'named "suport"' in spool.run("queue", "drop", "--route", "suport", "--yes", code=1).stderr


@pytest.mark.parametrize("option", ["--route", "--reason", "--sender", "--recipient"])
def test_empty_filter_is_a_mistake(spool, option):
    """A variable that is not set would choose everything."""
    spool.put()
    assert "is empty" in spool.run("queue", "drop", option, "", "--yes", code=2).stderr
    assert "is empty" in spool.run("queue", "list", option, " ", code=2).stderr


def test_show_tells_peer_history_and_results(spool):
    """`show` has the peer, the checks and what happened; unknown ids are exit code 1."""
    spool_id = spool.put()
    spool.deliver(
        outcome="defer", until=datetime.now(UTC) + timedelta(hours=1), reason="connect.timeout", detail="slow"
    )
    (record,) = spool.json("queue", "show", spool_id)
    assert record["peer"]["address"] == "192.0.2.7"
    assert record["results"] == {"relay_spf": "pass"}
    assert [event["reason"] for event in record["history"]] == ["connect.timeout"]
    assert "connect.timeout: slow" in spool.run("queue", "show", spool_id).stdout
    assert spool.run("queue", "show", "nothing", code=1).stderr == "relay: nothing: no such id\n"


def test_show_tells_of_each_id_that_is_none(spool):
    """What is known is shown, and what is not is named beside it."""
    spool_id = spool.put()
    result = spool.run("queue", "show", spool_id, "unknown", f"{spool_id}.", f"{spool_id}.7", "--json")
    assert [record["spool_id"] for record in json.loads(result.stdout)] == [spool_id]
    assert result.stderr.splitlines() == [
        "relay: unknown: no such id",
        f"relay: {spool_id}.: no such id",
        f"relay: {spool_id}.7: no such id",
    ]


def test_show_of_a_record_that_cannot_be_read(spool):
    """What is there and cannot be shown is not said to be away, and can be dropped."""
    spool_id = spool.put()
    with tables_of(spool.config.data_dir) as connection:
        connection.execute("UPDATE mails SET envelope = '{'")
    assert "its record cannot be read" in spool.run("queue", "show", spool_id, code=1).stderr
    assert spool.json("queue", "drop", spool_id)["changed"] == 1


def test_show_for_people_leaves_out_what_says_nothing(spool):
    """No brackets of a program, no empty lines, no reason of a hold that is over."""
    spool_id = spool.put()
    spool.run("queue", "hold", spool_id)
    assert "reason:             operator\n" in spool.run("queue", "show", spool_id).stdout
    spool.run("queue", "release", spool_id)
    printed = spool.run("queue", "show", spool_id).stdout
    assert "forward_paths:      support@example.com\n" in printed
    assert not re.search(r"^(reason|detail|repairs|contact_id|lease_until)", printed, re.MULTILINE)
    assert not re.search(r"[:=] *$", printed, re.MULTILINE)
    assert "attempt 0  held  operator\n" in printed
    assert "now:                waits: no daemon runs that delivers\n" in printed
    assert "operator:" not in spool.run("queue", "list").stdout


def test_show_has_what_was_repaired_and_set(spool):
    """What a trusted listener mended, and what handlers set, is part of everything."""

    async def put():
        intake = open_intake(spool.config)
        sent = build_submission(intake.new_id(), at=datetime.now(UTC))
        envelope = replace(sent.envelope, repairs=("bare-lf", "date"), smtputf8=True, ret="HDRS", envid="e1")
        envelope = replace(envelope, attributes=(("customer", "4711"),))
        await intake.put(sent._replace(envelope=envelope))
        await intake.close()
        return sent.spool_id

    spool_id = asyncio.run(put())
    (record,) = spool.json("queue", "show", spool_id)
    assert record["repairs"] == ["bare-lf", "date"]
    assert (record["smtputf8"], record["ret"], record["envid"]) == (True, "HDRS", "e1")
    assert record["released"] is False
    assert record["attributes"] == {"customer": "4711"}
    assert "  handlers  customer=4711\n" in spool.run("trace", spool_id).stdout
    assert "repairs:            bare-lf, date\n" in spool.run("queue", "show", spool_id).stdout


def test_export_to_standard_output_and_file(spool, tmp_path):
    """The octets come out as they went in, whatever they are."""
    body = b"Subject: x\r\n\r\n\x00\xff" + b"x" * 300_000
    spool_id = spool.put(body=body)
    assert len(raw_files(spool.config.data_dir)) == 1
    whole = b"Received: from x\r\n" + body
    assert spool.run("queue", "export", spool_id).stdout_bytes == whole
    spool.run("queue", "export", spool_id, "-o", str(tmp_path / "out.eml"))
    assert (tmp_path / "out.eml").read_bytes() == whole
    for word in ("nothing", f"{spool_id}.99", f"{spool_id}."):
        result = spool.run("queue", "export", word, code=1)
        assert result.stderr == f"relay: {word}: no such id, the mail is not in the spool\n"
        assert result.stdout_bytes == b""


def test_export_with_results_has_them_in_front(spool):
    """`--results` writes our Authentication-Results in front of the mail as it is stored."""
    spool_id = spool.put()
    plain = spool.run("queue", "export", spool_id).stdout_bytes
    told = spool.run("queue", "export", spool_id, "--results").stdout_bytes
    field = told.removesuffix(plain)
    assert field.startswith(b"Authentication-Results: ")
    assert b"spf=pass" in field
    assert told == field + plain


def test_export_in_json_has_the_octets_in_base64(spool, tmp_path):
    """A program gets the mail in one document, or its place."""
    spool_id = spool.put(body=b"\x00\xff")
    whole = b"Received: from x\r\n\x00\xff"
    record = spool.json("queue", "export", f"{spool_id}.1")
    assert base64.b64decode(record.pop("raw_base64")) == whole
    assert record == {"spool_id": spool_id, "size": len(whole), "output": None}
    file = str(tmp_path / "out.eml")
    assert spool.json("queue", "export", spool_id, "-o", file) == {
        "spool_id": spool_id,
        "size": len(whole),
        "raw_base64": None,
        "output": file,
    }
    assert (tmp_path / "out.eml").read_bytes() == whole


def test_export_is_for_the_eyes_of_its_owner(spool, tmp_path):
    """Whatever the umask, a file with a mail in it has mode 0600; one that is there, or a link, is left alone
    without --force.
    """
    spool_id, file = spool.put(), tmp_path / "out.eml"
    before = os.umask(0)
    try:
        spool.run("queue", "export", spool_id, "-o", str(file))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.write_text("mine")
        file.chmod(0o644)
        link = tmp_path / "link.eml"
        link.symlink_to(tmp_path / "elsewhere")
        for there in (file, link):
            result = spool.run("queue", "export", spool_id, "-o", str(there), code=1)
            assert (
                result.stderr == f"relay: {there}: cannot be written: File exists; --force writes over it\n"
            )
        assert (file.read_text(), (tmp_path / "elsewhere").exists()) == ("mine", False)
        spool.run("queue", "export", spool_id, "-o", str(file), "--force")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_bytes().startswith(b"Received: ")
    finally:
        os.umask(before)


@pytest.mark.parametrize("file", ["/nonexistent/x", "/dev/full", "/", "a\0b"])
def test_export_to_a_file_that_cannot_be_written(spool, file):
    """A folder that is not there, or a full disk, is a sentence."""
    result = spool.run("queue", "export", spool.put(), "-o", file, "--force", code=1)
    assert result.stderr.startswith(f"relay: {printable(file)}: cannot be written: ")


def test_summary_counts_by_route_and_age(spool):
    """The summary tells how much of which age waits for each route, and what stands still."""
    spool.put(at=datetime.now(UTC) - timedelta(hours=1))
    spool.put()
    spool.put(destinations=SALES)
    spool.run("pause", "route", "sales")
    summary = spool.json("queue", "summary")
    assert summary["counts"]["queued"] == 3
    routes = {record["route"]: record for record in summary["routes"]}
    assert [routes["support"]["ages"][index] for index in (0, 4)] == [1, 1]
    assert summary["age_limits_seconds"][:2] == [300, 600]
    assert summary["paused"]["routes"] == ["sales"]
    printed = spool.run("queue", "summary").stdout
    assert "The route sales is paused: relay resume route sales" in printed
    assert "support" in printed


def test_no_spool_is_a_sentence(spool):
    """Before the daemon's first start there is nothing to list, and the reason is said."""
    assert "there is no spool in" in spool.run("queue", "list", code=1).stderr


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "1w", "9" * 20 + "d"])
def test_age_that_is_none(spool, text):
    """A span that cannot be read is bad usage."""
    spool.put()
    spool.run("queue", "list", "--older-than", text or " ", code=2)


def test_age_before_all_time(spool):
    """A span longer than the calendar is bad usage, too."""
    spool.put()
    assert "is before all time" in spool.run("queue", "list", "--older-than", "999999999d", code=2).stderr
    assert spool.json("queue", "list", "--older-than", "20000d") == []


def test_age_words():
    """Seconds, minutes, hours and days."""
    assert [parse_age(text).total_seconds() for text in ("90s", "15m", "6h", "2d")] == [
        90,
        900,
        21_600,
        172_800,
    ]


def test_span_and_printable():
    """Spans in two units at most; text in one line."""
    assert [span(s) for s in (-5, 0, 59, 3_661, 200_000)] == ["0s", "0s", "59s", "1h 1m", "2d 7h"]
    assert printable("a\r\nb\tü") == "a\\r\\nb\\tü"
    assert [short_size(size) for size in (0, 999, 1_000, 9_999, 12_345, 4_100_000, 40_000_000)] == [
        "0",
        "999",
        "1.0k",
        "10.0k",
        "12k",
        "4.1M",
        "40M",
    ]


@pytest.mark.parametrize("command", ["list", "show", "retry", "hold", "release", "drop", "export", "summary"])
def test_help_of_a_command_is_whole(command):
    """The list of commands cuts no line, and what takes a filter has examples and says how addresses are
    meant.
    """
    printed = CliRunner().invoke(main, ["queue", "--help"]).stdout
    assert "..." not in printed.partition("Commands:")[2]
    assert "Examples:\n" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith(f"  {command} "))
    assert line.endswith(".")
    own = CliRunner().invoke(main, ["queue", command, "--help"]).stdout
    if "--recipient" in own:
        assert "Examples:\n" in own
        assert "@b (domain)" in own


def test_commands_work_while_the_daemon_delivers(spool):
    """With receiver and deliverer open in another process's place, list and hold go on."""
    spool_id = spool.put()

    async def beside():
        intake, outbox = open_intake(spool.config), open_outbox(spool.config)
        await asyncio.to_thread(spool.run, "queue", "hold", spool_id)
        claimed = await outbox.claim(now=datetime.now(UTC), limit=1, lease_seconds=60)
        await intake.close()
        await outbox.close()
        return claimed

    assert asyncio.run(beside()) == []


def keys_of(value) -> set[str]:
    """Every key of a JSON document, at any depth, but for those that are data."""
    if isinstance(value, list):
        return {key for each in value for key in keys_of(each)}
    if isinstance(value, dict):
        return {*value, *keys_of([each for key, each in value.items() if key not in {"results", "counts"}])}
    return set()


def test_every_key_for_programs_is_documented(spool):
    """What a program may rely on stands in docs/spool.md."""
    dropped, spool_id = spool.put(message_id="<m@x>"), spool.put(message_id="<m@x>", destinations=SALES)
    spool.run("queue", "drop", dropped)
    spool.run("queue", "hold", spool_id)
    spool.hold_route()
    documents = [
        spool.json("queue", "list"),
        spool.json("queue", "show", spool_id),
        spool.json("trace", "m@x"),
        spool.json("queue", "summary"),
        spool.json("queue", "release", spool_id, "unknown"),
        spool.json("queue", "export", spool_id),
        spool.json("pause", "intake"),
    ]
    assert {record["state"] for record in documents[2]} == {"dropped", "held"}
    page = (Path(__file__).parent.parent.parent / "docs" / "spool.md").read_text().partition("## JSON")[2]
    named = set(re.findall(r"`([a-z0-9_]+)`", page.partition("## ")[0]))
    assert keys_of(documents) - named == set()
    assert {"spool_id", "duplicate"} <= named


#: A refusal as long as AWS writes them.
LONG = (
    "User: arn:aws:sts::123456789012:assumed-role/relay/i-0123456789abcdef0 is not authorized to perform " * 3
)


@pytest.mark.parametrize("is_paused", [False, True], ids=["held", "held and paused"])
@pytest.mark.parametrize(
    "words",
    [
        ("queue", "list"),
        ("queue", "summary"),
        ("queue", "retry"),
        ("queue", "release"),
        ("trace", "ann@customer.example"),
        ("pause", "intake"),
        ("resume", "delivery"),
    ],
    ids=" ".join,
)
def test_answer_tells_of_a_held_route_once_and_shortly(spool, words, is_paused):
    """However many entries wait for the route, its error stands once in the answer, by its beginning, with
    the one command that ends all that stops it.
    """
    ids = [spool.put(destinations=SALES) for _ in range(3)]
    spool.hold_route(detail=LONG)
    if is_paused:
        spool.run("pause", "route", "sales")
    spool.run("pause", "delivery")
    more = ids if words[-1] in ("retry", "release") else ()
    printed = spool.run(*words, *more).stdout
    assert printed.count("route sales is held") == printed.count(LONG[:60]) == 1
    assert LONG[:120] not in printed
    assert printed.count("relay resume route sales") == 1
    assert ("and paused" in printed) is is_paused
    assert "route sales is paused" not in printed
