"""The opening of a spool: which backend a configuration means, and what stands in its way."""

from __future__ import annotations

import subprocess
import sys

import pytest
from spool_helpers import NOW, build_submission

from relay.config.fleet import Fleet
from relay.spool.opening import (
    count_entries,
    count_ledger,
    find_clock_step,
    find_unfit,
    open_desk,
    open_intake,
    open_outbox,
)


def in_fleet(config):
    """The same node, with a table."""
    return config.model_copy(update={"fleet": Fleet(table="relay-table")})


async def test_fleet_is_not_begun_while_the_local_spool_owes_mail(config):
    """A node that gets a table is told of the mail in its own spool, which nobody would deliver; once that is
    gone, nothing stands in the way.
    """
    assert find_unfit(in_fleet(config)) == ()
    intake = open_intake(config)
    mail = build_submission(intake.new_id())
    await intake.put(mail)
    await intake.close()
    (sentence,) = find_unfit(in_fleet(config))
    assert sentence.startswith('fleet.table = "relay-table": the spool in ')
    assert "still has 1 entries that nobody would deliver" in sentence
    assert sentence.endswith(f"move them: relay fleet import --from {config.data_dir}")
    desk = open_desk(config)
    desk.drop([mail.spool_id], now=NOW)
    desk.close()
    assert find_unfit(in_fleet(config)) == ()


async def test_local_spool_that_cannot_be_read_stands_in_the_way(config):
    """A node does not begin with a table while nobody knows what its own spool owes."""
    await open_intake(config).close()
    (config.data_dir / "spool" / "spool.db").write_bytes(b"something else")
    (sentence,) = find_unfit(in_fleet(config))
    assert "has a spool of its own" in sentence


async def test_outbox_of_a_local_spool_leads(config):
    """Whoever opened the local outbox has its lock, and delivers."""
    outbox = open_outbox(config)
    assert outbox.leads()
    await outbox.close()


def test_questions_about_a_disk_have_plain_answers_in_a_fleet(config):
    """What only a spool on a disk has is none in a fleet, and no table is asked for it."""
    config = in_fleet(config)
    assert (count_entries(config), count_ledger(config), find_clock_step(config)) == (None, 0, 0.0)


@pytest.mark.process
def test_node_without_a_table_loads_nothing_of_the_fleet(tmp_path):
    """A configuration without [fleet] imports neither the fleet's modules nor the libraries of AWS."""
    code = (
        "import asyncio, sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from spool_helpers import build_config\n"
        "from relay.spool.opening import open_desk, open_intake, open_outbox\n"
        "async def main():\n"
        "    config = build_config(Path(sys.argv[1]))\n"
        "    halves = open_intake(config), open_outbox(config)\n"
        "    open_desk(config).close()\n"
        "    for each in halves: await each.close()\n"
        "asyncio.run(main())\n"
        "names = ('relay.spool.fleet', 'relay.aws', 'botocore', 'aioboto3')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(names)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""
