"""The cost of a claim: a hundred thousand entries that wait make it no dearer than ten."""

from __future__ import annotations

import pytest
from spool_helpers import NOW, build_submission

from relay.spool.local import claims
from relay.spool.local.database import open_database, query, transaction
from relay.spool.local.suspects import Suspects
from relay.spool.local.turns import Turns
from relay.spool.records import to_microseconds

MANY, FEWER = 100_000, 20_000
#: Queues of so many entries (?1) of the one mail: ready in one group, ready in a group each, due again all at
#: once, or to be due later, in a group each.
SHAPES = {
    "one group": "7, 7, 1, ?2",
    "a network each": "value * 7919, 7, 1, ?2",
    "a domain each": "7, value * 7919, 1, ?2",
    "all due again": "value * 7919, value, 0, ?2 - value",
    "all later": "value * 7919, value, 0, ?2 + 1000 + value",
}


@pytest.fixture
async def database(spool, intake):
    """A spool with one mail and its entry, behind which others are put."""
    await intake.put(build_submission(intake.new_id()))
    connection = open_database(spool.config.data_dir / "spool" / "spool.db")
    yield connection
    connection.close()


def fill(connection, shape, count) -> None:
    """Put more entries of the first mail into its route."""
    with transaction(connection):
        connection.execute(
            "WITH RECURSIVE series (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < ?1) "
            "INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, priority, accepted_at, updated_at, "
            "network, domain, ready, due_at) SELECT 1, 'i', 'a@example.com', '[\"a@example.com\"]', 'support', value % 2, "
            f"?2, ?2, {SHAPES[shape]} FROM series",
            (count, to_microseconds(NOW)),
        )


def steps(connection, turns) -> tuple[int, int]:
    """What a claim of eight and the look for the next instant cost, in tens of SQLite's instructions; entries
    claimed.
    """
    counted = 0

    def count() -> bool:
        nonlocal counted
        counted += 1
        return False

    connection.set_progress_handler(count, 10)
    with transaction(connection):
        entries = claims.claim(
            connection,
            turns,
            now=NOW,
            limit=8,
            lease_seconds=60,
            held_routes=(),
            probes=(),
            suspects=Suspects(),
        )
    claims.next_due_at(connection, held_routes=())
    connection.set_progress_handler(None)
    return counted, len(entries)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.slow
async def test_long_queue_makes_no_claim_dearer(database, shape):
    """Whatever the queue is made of, a claim takes as many steps with 100,000 entries as with some hundred.

    Two shapes have a fifth of that: they differ from another in one column only.
    """
    turns = Turns()
    fill(database, shape, 500)
    few = steps(database, turns)
    fill(database, shape, FEWER if shape in {"a domain each", "all later"} else MANY)
    many = [steps(database, turns) for _ in range(3)]
    assert {found for _, found in (few, *many)} == ({8} if shape != "all later" else {1, 0})
    assert max(cost for cost, _ in many) < 1.5 * few[0] + 50


async def test_steps_of_a_claim_are_seeks(database):
    """No statement of a claim walks a table or sorts, but for the few rows of what it leases."""
    plans: list[str] = []
    statements: dict[str, object] = {}

    def trace(_cursor, sql, values):
        statements.setdefault(sql, values)
        return True

    fill(database, "a network each", 500)
    fill(database, "all due again", 500)
    database.exec_trace = trace
    steps(database, Turns())
    database.exec_trace = None
    for sql, values in statements.items():
        if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
            rows = query(database, f"EXPLAIN QUERY PLAN {sql}", values or ())
            plans += [f"{row[3]}  <-  {sql}" for row in rows]
    turns = [plan for plan in plans if "entries_turn" in plan.split("  <-  ")[0]]
    assert turns
    assert all("SEARCH" in plan for plan in turns)
    once = "SELECT * FROM turns ORDER BY served"  # at the first claim after a start
    assert not [
        plan for plan in plans if "TEMP B-TREE" in plan and once not in plan and "json_each" not in plan
    ]
    walks = [plan for plan in plans if plan.startswith(("SCAN entries", "SCAN e ", "SCAN mails"))]
    assert not [plan for plan in walks if "INDEX entries_leased" not in plan]  # as short as what is under way
