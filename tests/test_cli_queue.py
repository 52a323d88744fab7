"""`relay queue`, `relay pause` and `relay resume`: what they print and change, with the daemon's spool open beside."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from spoolkit import build_destination, build_submission, raw_files

from relay.cli import main
from relay.cli.entries import printable, span
from relay.cli.queue import parse_age
from relay.config.load import load_config
from relay.spool.local import open_intake, open_outbox

CONFIG = """
hostname = "mx.example.com"
data_dir = "{data_dir}"
[spool]
min_free_bytes = 0
[s3]
bucket = "mail-bucket"
[connect]
instance_id = "instance-1"
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
        (("--sender", "BOB@"), [new]),
        (("--recipient", "sales"), [new]),
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
    assert "no such entry" in spool.run("queue", "show", "nothing", code=1).stderr


def test_hold_release_retry_drop(spool):
    """The four changes say how many entries they changed, and are seen in the list."""
    spool_id = spool.put()
    for command, state in (("hold", "held"), ("release", "queued"), ("retry", "queued")):
        assert spool.json("queue", command, spool_id) == {"changed": 1}
        assert [r["state"] for r in spool.json("queue", "list")] == [state]
    assert "1 entry dropped" in spool.run("queue", "drop", spool_id).stdout
    assert spool.json("queue", "list") == []
    assert spool.json("queue", "drop", spool_id, code=1) == {"changed": 0}


def test_change_by_filter_asks_first(spool):
    """Many entries are changed only by who says --yes, or answers yes; without ids or filter none is."""
    for _ in range(3):
        spool.put(destinations=SALES)
    other = spool.put()
    assert "say which" in spool.run("queue", "hold", code=2).stderr
    assert "3 entries would be changed" in spool.run("queue", "hold", "--route", "sales", code=2).stderr
    assert spool.json("queue", "hold", "--route", "sales", "--yes") == {"changed": 3}
    assert [r["spool_id"] for r in spool.json("queue", "list", "--state", "queued")] == [other]


def test_change_refuses_states_it_cannot_take(spool):
    """Releasing what is dead is a mistake, told as one."""
    spool.put()
    assert "held" in spool.run("queue", "release", "--state", "dead", code=2).stderr


def test_commands_leave_an_entry_under_way_alone(spool):
    """What is being delivered cannot be dropped."""
    spool_id = spool.put()
    spool.deliver(outcome="nothing")
    assert spool.json("queue", "drop", spool_id, code=1) == {"changed": 0}


def test_export_to_standard_output_and_file(spool, tmp_path):
    """The octets come out as they went in, whatever they are."""
    body = b"Subject: x\r\n\r\n\x00\xff" + b"x" * 300_000
    spool_id = spool.put(body=body)
    assert len(raw_files(spool.config.data_dir)) == 1
    whole = b"Received: from x\r\n" + body
    assert spool.run("queue", "export", spool_id).stdout_bytes == whole
    spool.run("queue", "export", spool_id, "-o", str(tmp_path / "out.eml"))
    assert (tmp_path / "out.eml").read_bytes() == whole
    assert "not in the spool" in spool.run("queue", "export", "nothing", code=1).stderr


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
    assert "The route sales is paused." in printed
    assert "support" in printed


def test_pause_and_resume(spool):
    """A pause holds until it is ended, and both say what was."""
    spool.put()
    assert "intake paused" in spool.run("pause", "intake").stdout
    assert "was paused before" in spool.run("pause", "intake").stdout
    assert "no mail is accepted" in spool.run("queue", "list").stdout
    assert "delivery paused" in spool.run("pause", "delivery").stdout
    assert "intake resumed" in spool.run("resume", "intake").stdout
    assert "was not paused" in spool.run("resume", "intake").stdout
    assert "cannot be paused" in spool.run("pause", "everything", code=1).stderr


def test_pause_of_an_unknown_route_is_a_mistake(spool):
    """A mistyped route is told, and nothing stands still."""
    spool.put()
    assert "suport" in spool.run("pause", "route", "suport", code=2).stderr
    assert spool.json("queue", "summary")["paused"]["routes"] == []


def test_no_spool_is_a_sentence(spool):
    """Before the daemon's first start there is nothing to list, and the reason is said."""
    assert "there is no spool in" in spool.run("queue", "list", code=1).stderr


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "1w", "9" * 20 + "d"])
def test_age_that_is_none(spool, text):
    """A span that cannot be read is bad usage."""
    spool.put()
    spool.run("queue", "list", "--older-than", text or " ", code=2)


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
