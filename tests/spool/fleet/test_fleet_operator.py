"""Every command of an operator on a fleet's spool, from a machine that has permissions alone: no data_dir, no
daemon.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from fleet_helpers import BUCKET, environment, make_table
from spool_helpers import build_destination, build_submission

from relay.cli import main
from relay.config.load import load_config
from relay.spool.model import DayCount
from relay.spool.nodes import Reach
from relay.spool.opening import open_intake, open_outbox

pytestmark = pytest.mark.system
CONFIG = """
hostname = "mx.example.com"
data_dir = "{data_dir}"
[s3]
bucket = "{bucket}"
[connect]
instance_id = "00000000-0000-0000-0000-000000000001"
[[routes]]
match = ["support@example.com"]
name = "support"
[[routes]]
match = ["sales@example.com"]
name = "sales"
[fleet]
table = "{table}"
prefix = "spool-{table}/"
node = "{node}"
"""
MAIL = b"From: bob@customer.example\r\nSubject: by hand\r\nMessage-ID: <by-hand@customer.example>\r\n\r\nHello\r\n"


class Fleet:
    """A fleet with mail in it, and the command line on a laptop."""

    def __init__(self, home, url):
        self.home = home
        table = make_table(url)
        # Nothing can be made below a file: not even root has a data_dir there.
        (home / "file").touch()
        self.laptop = self._write("laptop", home / "file" / "data", table)
        self.node = load_config(str(self._write("node1", home / "data", table)))
        self.ids = asyncio.run(self._fill())

    def _write(self, node, data_dir, table):
        path = self.home / f"{node}.toml"
        path.write_text(CONFIG.format(data_dir=data_dir, bucket=BUCKET, table=table, node=node))
        return path

    async def _fill(self):
        """Mail that a node took: some that waits, one held, one dead, one a contact, and one large."""
        intake, outbox = open_intake(self.node), open_outbox(self.node)
        now = datetime.now(UTC)
        large = b"Subject: large\r\n\r\n" + b"x" * 9_000_000
        mails = [
            build_submission(intake.new_id(), at=now, **like)
            for like in (
                {"destinations": (build_destination("sales@example.com", "sales"),)},
                {},
                {},
                {"author": "ann@customer.example"},
                {"body": large},
            )
        ]
        for mail in mails:
            await intake.put(mail)
        intake.note_counts(
            [DayCount(day=f"{now:%Y-%m-%d}", name="received", label="customer.example", number=5)]
        )
        claimed = {entry.spool_id: entry for entry in await outbox.claim(now=now, limit=9, lease_seconds=60)}
        waits, held, dead, done, large = (claimed[mail.spool_id] for mail in mails)
        for entry in (waits, large):
            await outbox.defer(
                entry, until=now + timedelta(hours=1), reason="connect.timeout", detail="", now=now
            )
        await outbox.hold(held, reason="connect.AccessDenied", detail="no right", now=now)
        await outbox.bury(dead, reason="expired", detail="too old", now=now)
        await outbox.finish(done, contact_id="contact-1", now=now)
        await intake.close()
        await outbox.close()
        return dict(
            zip(("waits", "held", "dead", "done", "large"), (mail.spool_id for mail in mails), strict=True)
        )

    def run(self, *words, code=0, **more):
        """The result of a command that was given on the laptop."""
        result = CliRunner().invoke(main, [*words, "--config", str(self.laptop)], **more)
        assert result.exit_code == code, (words, result.output, result.exception)
        return result

    def json(self, *words, **more):
        return json.loads(self.run(*words, "--json", **more).stdout)

    def states(self):
        """The state of each entry, by the name of its mail."""
        found = {each["spool_id"]: each["state"] for each in self.json("queue", "list", "--all")}
        return {name: found[spool_id] for name, spool_id in self.ids.items() if spool_id in found}


@pytest.fixture(scope="module")
def fleet(ministack, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(ministack).items():
            patch.setenv(name, value)
        yield Fleet(tmp_path_factory.mktemp("fleet"), ministack)


def test_queue_is_listed_shown_and_exported(fleet):
    """What is owed, what was finished and the octets of any mail are seen from anywhere."""
    assert fleet.states() == {
        "waits": "queued", "held": "held", "dead": "dead", "done": "done", "large": "queued"
    }  # fmt: skip
    assert "1 entry fits: 1 queued" in fleet.run("queue", "list", "--route", "sales").stdout
    (shown,) = fleet.json("queue", "show", fleet.ids["held"])
    assert shown["reason"] == "connect.AccessDenied"
    assert "contact-1" in fleet.run("queue", "show", fleet.ids["done"]).stdout
    assert fleet.run("queue", "export", fleet.ids["dead"]).stdout_bytes.startswith(b"Received: from x\r\n")
    assert len(fleet.run("queue", "export", fleet.ids["large"]).stdout_bytes) > 9_000_000
    summary = fleet.json("queue", "summary")
    assert (summary["counts"]["queued"], summary["counts"]["dead"]) == (2, 1)


def test_mail_is_traced_by_each_of_its_names(fleet):
    """A spool id, a contact, a Message-ID and an address lead to the mail."""
    (done,) = fleet.json("trace", fleet.ids["done"])
    for word in ("contact-1", done["message_id"]):
        assert fleet.json("trace", word) == [done]
    found = {each["spool_id"] for each in fleet.json("trace", "sales@example.com")}
    assert found == {fleet.ids["waits"]}


def test_mail_is_changed(fleet):
    """Hold, release, reroute and retry change the fleet's entries, and each is in the audit of all nodes."""
    waits = fleet.ids["waits"]
    fleet.run("queue", "hold", waits, "--because", "as the customer wishes")
    assert fleet.states()["waits"] == "held"
    fleet.run("queue", "release", waits)
    fleet.run("queue", "reroute", waits, "--to", "support")
    (shown,) = fleet.json("queue", "show", waits)
    assert (shown["state"], shown["route"]) == ("queued", "support")
    fleet.run("queue", "retry", fleet.ids["dead"])
    assert fleet.states()["dead"] == "queued"
    rows = fleet.json("audit")
    assert [row["command"] for row in rows[-4:]] == [
        "queue hold",
        "queue release",
        "queue reroute",
        "queue retry",
    ]
    assert rows[-4]["reason"] == "as the customer wishes"


def test_halves_and_routes_are_stopped_and_started(fleet):
    """A pause is one of the whole fleet, and is shown wherever somebody looks."""
    for words in (("intake",), ("delivery",), ("route", "sales")):
        assert "paused" in fleet.run("pause", *words).stdout
    assert fleet.json("queue", "summary")["paused"]["routes"] == ["sales"]
    for words in (("intake",), ("delivery",), ("route", "sales")):
        assert "resumed" in fleet.run("resume", *words).stdout
    assert fleet.run("resume", "clock").stdout


def test_mail_from_a_file_is_put_in_and_dropped(fleet):
    """A mail by hand goes to the fleet, waits for a node, is a duplicate when it comes again, and may be
    dropped.
    """
    file = fleet.home / "mail.eml"
    file.write_bytes(MAIL)
    words = ("replay", "--rcpt", "support@example.com", str(file))
    result = fleet.run(*words, "--json")
    first = json.loads(result.stdout)
    assert "no daemon runs that delivers" in result.stderr
    assert not first["duplicate"]
    assert fleet.json(*words) == {**first, "duplicate": True}
    fleet.run("queue", "drop", first["spool_id"], "--yes")
    assert first["spool_id"] not in {each["spool_id"] for each in fleet.json("queue", "list", "--all")}
    (line,) = fleet.json("trace", "<by-hand@customer.example>")
    assert line["dropped_at"]


def test_days_and_rules_are_reported(fleet):
    """The counts of all nodes are one report."""
    assert fleet.json("report")["received"]["mails"] >= 5
    fleet.run("policy", "report")


def test_fleet_is_looked_at(fleet):
    """The leader with its epoch and lease, and what is owed, are one look. A node that ended has given the
    lead back, and is no node any more.
    """
    status = fleet.json("fleet", "status")
    assert (status["leader"]["node"], status["leader"]["epoch"], status["delivers"]) == ("node1", 1, False)
    assert status["leader"]["released"]
    assert sum(status["owed"].values()) == 4
    assert status["nodes"] == []
    lines = fleet.run("fleet", "status").stdout
    assert "leader    none: node1 gave epoch 1 back" in lines
    assert "nodes     none has told of itself in the last week" in lines
    assert asyncio.run(_watch(fleet)) == {"deliverer": True, "receiver-0": None}


async def _watch(fleet):
    """What the status says of a node at work: for each process, whether it reaches Connect."""
    intake, outbox = open_intake(fleet.node, process="receiver-0"), open_outbox(fleet.node)
    try:
        await outbox.recover(now=datetime.now(UTC))
        await outbox.note_reach(Reach(is_reached=True))
        intake.paused()  # begins to look, and to tell of itself
        while True:
            status = await asyncio.to_thread(fleet.json, "fleet", "status")
            if status["nodes"] and len(status["nodes"][0]["processes"]) == 2:
                break
        lines = (await asyncio.to_thread(fleet.run, "fleet", "status")).stdout
        assert (status["leader"]["epoch"], status["delivers"]) == (2, True)
        assert status["leader"]["lease_age_seconds"] < status["lease_seconds"]
        assert "leader    node1, epoch 2, lease renewed" in lines
        assert ", leads, reaches Connect, told " in lines
        assert " mails a minute, told " in lines
        (node,) = status["nodes"]
        return {each["process"]: each["reaches_connect"] for each in node["processes"]}
    finally:
        await intake.close()
        await outbox.close()


def test_what_is_of_one_machine_says_so(fleet):
    """A backup says what stands in its place; a restore, too."""
    said = fleet.run("backup", str(fleet.home / "spool.tar"), code=1).stderr
    assert "point-in-time recovery restores the table" in said
    assert "old versions" in said
    (fleet.home / "old.tar").touch()
    assert "restored by AWS" in fleet.run("restore", str(fleet.home / "old.tar"), code=1).stderr


def test_local_spool_is_moved_in_and_out(fleet):
    """A node that still owes mail of its own does not start, and names the command that moves it; what that
    did is in the audit. All comes out again once the intake is paused.
    """
    data_dir = fleet.home / "old"
    data_dir.mkdir()
    alone = fleet.home / "alone.toml"
    alone.write_text(CONFIG.partition("[fleet]")[0].format(data_dir=data_dir, bucket=BUCKET))
    spool_ids = asyncio.run(_put(load_config(str(alone)), count=2))
    node = fleet._write("node2", data_dir, fleet.node.fleet.table)
    refused = CliRunner().invoke(main, ["serve", "--config", str(node)])
    assert refused.exit_code == 2
    assert (
        f"still has 2 entries that nobody would deliver; move them: relay fleet import --from {data_dir}"
        in refused.stderr
    )
    words = ("fleet", "import", "--from", str(data_dir))
    assert fleet.json(*words, "--reason", "to the fleet") == {
        "mails": 2, "waiting": 2, "known": 0, "records": 0, "left": []
    }  # fmt: skip
    assert spool_ids <= {each["spool_id"] for each in fleet.json("queue", "list")}
    assert "moved 0 mails, 0 entries waiting; 0 records of earlier mail" in fleet.run(*words).stdout
    row = next(row for row in fleet.json("audit") if row["command"] == "fleet import")
    assert (row["reason"], row["counts"]["mails"]) == ("to the fleet", 2)
    words = ("fleet", "export", "--to", str(data_dir))
    assert "have it take none first: relay pause intake" in fleet.run(*words, code=1).stderr
    fleet.run("pause", "intake")
    moved = fleet.json(*words)
    assert (moved["mails"], moved["left"]) == (7, [])
    assert fleet.json("queue", "list", "--all") == []
    result = CliRunner().invoke(main, ["queue", "list", "--all", "--json", "--config", str(alone)])
    assert {each["spool_id"] for each in json.loads(result.stdout)} == spool_ids | set(fleet.ids.values())


async def _put(config, *, count):
    """The ids of some mails in a spool."""
    intake = open_intake(config)
    mails = [build_submission(intake.new_id(), at=datetime.now(UTC)) for _ in range(count)]
    for mail in mails:
        await intake.put(mail)
    await intake.close()
    return {mail.spool_id for mail in mails}


def test_nothing_was_made_on_the_laptop(fleet):
    """No command needs a data_dir, or makes one."""
    assert (fleet.home / "file").read_bytes() == b""
