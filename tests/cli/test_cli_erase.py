"""`relay erase`: what it lists, what it asks, and what it says of what stays."""

from __future__ import annotations

import pytest
from spool_helpers import tables_of
from test_cli_queue import Spool

from relay.config.data_dir import REFUSALS
from relay.telemetry.refusals import Refusal, Refusals, find_refusals

ANN = "ann@customer.example"


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path)


def test_list_then_erase(spool):
    """Without --yes it lists alone; with it, it removes, and the audit tells of it by the name alone."""
    spool_id = spool.put()
    spool.deliver(contact_id="c-1")
    listed = spool.json("erase", ANN)
    assert [entry["contact_id"] for entry in listed["mails"][0]["entries"]] == ["c-1"]
    assert listed["erased"] is None
    assert "say --yes" in spool.run("erase", ANN, code=2).output
    told = spool.run("erase", ANN, "--yes", "--spool-only", "--reason", f"{ANN} asked")
    assert f"{spool_id}.1  done" in told.stdout
    assert "erased: 1 mail, the names in 1 records of the ledger" in told.stdout
    assert ANN not in told.output
    assert ANN not in repr(spool.json("audit"))
    (row,) = spool.json("audit")
    assert (row["command"], row["outcome"], row["counts"]["mails"]) == ("erase", "done", 1)
    assert row["about"] == [listed["name"]]
    assert row["reason"] == f"{listed['name']} asked"
    (record,) = spool.json("trace", ANN)
    assert (record["state"], record["contact_id"]) == ("erased", "c-1")
    assert record["erased_at"]


def test_owed_mail_is_told(spool):
    """What stays has its reason on standard error, and the exit code says so."""
    spool_id = spool.put()
    result = spool.run("erase", "-", "--yes", "--spool-only", code=1, input=f"{ANN}\n")
    assert f"{spool_id}.1: is queued: wait until it is delivered, or drop it first" in result.stderr
    assert spool.json("erase", ANN)["mails"][0]["owed"]
    assert spool.json("audit")[0]["outcome"] == "refused"
    spool.run("queue", "drop", spool_id)
    assert spool.json("erase", ANN, "--yes", "--spool-only")["erased"]["records"] == 1


def test_nothing_is_known(spool):
    """Nobody's address ends with a sentence; a part of one is bad usage, since it may mean many people."""
    spool.put()
    assert (
        "nothing is known of this"
        in spool.run("erase", "bob@b.example", "--yes", "--spool-only", code=1).stderr
    )
    assert "a whole address" in spool.run("erase", "@customer.example", "--yes", code=2).output


def test_refusals_of_a_person_are_forgotten(spool):
    """The memory of refusals loses what has the address, and keeps that of others."""
    spool.put()
    folder = spool.config.data_dir / REFUSALS
    memory = Refusals(folder / "receiver-0")
    for reference, who in (("A", ANN), ("B", f"jo{ANN}")):
        memory.remember(
            Refusal(
                reference=reference,
                at=1.0,
                peer="192.0.2.1",
                helo="h",
                listener="l",
                reverse_path=who,
                said=f"MAIL FROM:<{who}>",
                reply="550",
            )
        )
    memory.close()
    spool.run("queue", "drop", "--sender", ANN, "--yes")
    assert spool.json("erase", ANN, "--yes", "--spool-only")["erased"]["refusals"] == 1
    assert (find_refusals(folder, "A"), len(find_refusals(folder, "B"))) == ([], 1)
    with tables_of(spool.config.data_dir) as connection:
        assert ANN not in repr(connection.execute("SELECT * FROM actions").fetchall())
