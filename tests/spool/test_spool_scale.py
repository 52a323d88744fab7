"""A long queue: every question goes through an index, and none over the octets of mails."""

from __future__ import annotations

import asyncio
import json
import math
import re
from datetime import timedelta

import pytest
from spool_helpers import NOW, build_destination, build_submission, later

from relay.spool.local import accept, aging, claims, conversations, listing, outcomes, retention, search
from relay.spool.local.database import open_database, query, transaction
from relay.spool.local.slices import View
from relay.spool.local.suspects import Suspects
from relay.spool.local.turns import Turns
from relay.spool.model import Filter
from relay.vocabulary import Rung

pytestmark = pytest.mark.slow

#: Three times as many as one claim or one step of an expiry takes.
ENTRIES = 800


@pytest.fixture
async def filled(request, spool, intake):
    """A spool with entries on five routes, hundreds or as many as the test asks for."""
    await asyncio.gather(
        *(
            intake.put(
                build_submission(
                    intake.new_id(),
                    destinations=(build_destination(f"{n % 5}@example.com", route=f"r{n % 5}"),),
                )
            )
            for n in range(getattr(request, "param", ENTRIES))
        )
    )
    connection = open_database(spool.config.data_dir / "spool" / "spool.db")
    yield connection
    connection.close()


def watched(connection, work) -> list[str]:
    """The plans of every statement that the work ran."""
    statements: dict[str, object] = {}

    def trace(cursor, sql, values):
        statements[sql] = values
        return True

    connection.exec_trace = trace
    with transaction(connection):
        work(connection)
    connection.exec_trace = None
    plans = []
    for sql, values in statements.items():
        if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)", sql):
            plans += [
                f"{row[3]}  <-  {sql}" for row in query(connection, f"EXPLAIN QUERY PLAN {sql}", values or ())
            ]
    assert plans
    return plans


def claim(connection, *, limit=8):
    return claims.claim(
        connection,
        Turns(),
        now=NOW,
        limit=limit,
        lease_seconds=60,
        held_routes=(),
        probes=(),
        suspects=Suspects(),
    )


def view(connection) -> View:
    """One that stays within the transaction of the test."""
    return View(connection, seconds=math.inf)


WORK = {
    "duplicates": lambda c: query(c, accept._EARLIER, (json.dumps(["0" * 64, "f" * 64]),)),
    "claim": claim,
    "probe": lambda c: claims.find_probes(c, "r1"),
    "claim of probes": lambda c: claims._queued(c, ["M.1", "M.2"], {"r1"}),
    "next due": lambda c: claims.next_due_at(c, held_routes=()),
    "return leases": lambda c: claims.return_leases(c, now=NOW, everyone=False),
    "defer": lambda c: outcomes.defer(
        c, claim(c)[0], until=NOW, reason="r", detail="", rung=Rung.TEXT, settled=True, void=False, now=NOW
    ),
    "finish": lambda c: outcomes.finish(
        c, claim(c)[0], contact_id="c", reason="", detail="", dropped=False, now=NOW
    ),
    "save": lambda c: outcomes.save_request(
        c, claim(c)[0], request=b"", rung=Rung.FULL, token="t", expires_at=NOW, now=NOW
    ),
    "find contact": lambda c: conversations.find_contact(
        c, claim(c)[0], message_ids=["<1@x>"], since=NOW, instance_id="i"
    ),
    "find answers": lambda c: conversations.find_answers(c, [(["<1@x>"], "a@x", "b@x")], at=0),
    "bury aged": lambda c: aging.bury_aged(c, accepted_before=NOW, reason="", detail="", now=NOW),
    "expire": lambda c: retention.expire_done(c, before=later(99)),
    "expire ledger": lambda c: retention.expire_ledger(c, now=NOW + timedelta(days=200), window_hours=1),
    "find": lambda c: listing.find_named(c, ["x", "x.1"]),
    "trace id": lambda c: search.trace(view(c), "0ABCDEFGHJK12345", limit=9),
    "remembered": lambda c: search.remembered(c, "<1@x>", limit=9, key=None),
    "list": lambda c: listing.select(view(c), Filter()),
    "count": lambda c: listing.count(view(c), Filter()),
    "history": lambda c: search.history(c, 1),
}


# The plan of a statement does not depend on how many rows there are: no statistics are kept (ANALYZE).
@pytest.mark.parametrize("filled", [20], indirect=True, ids=["few"])
@pytest.mark.parametrize("name", WORK)
async def test_no_statement_walks_a_whole_table(filled, name):
    """What runs all day, and what an operator looks up, finds its rows through an index.

    The index of leased entries is as short as the list of deliveries under way.
    """
    walked = [
        plan
        for plan in watched(filled, WORK[name])
        if re.match(r"SCAN (entries|e|mails|m|raws|r|ledger)\b(?! USING .*INDEX entries_leased)", plan)
    ]
    assert walked == []


@pytest.mark.parametrize("filled", [20], indirect=True, ids=["few"])
@pytest.mark.parametrize("name", ["list", "find", "claim", "next due", "trace id"])
async def test_lists_never_touch_the_octets(filled, name):
    """The table of raw mails is not read by what reads many rows."""
    assert [plan for plan in watched(filled, WORK[name]) if "raws" in plan.split("  <-  ")[0]] == []


async def test_claims_empty_a_long_queue_in_order(filled, outbox):
    """Hundreds of entries are each claimed once, oldest first within their route."""
    seen: dict[str, list[int]] = {}
    while entries := await outbox.claim(now=later(1), limit=256, lease_seconds=3600):
        for entry in entries:
            seen.setdefault(entry.destination.route, []).append(entry.entry_id)
    assert sum(map(len, seen.values())) == ENTRIES
    assert all(ids == sorted(ids) for ids in seen.values())


async def test_expiry_goes_step_by_step(filled, outbox, desk):
    """More finished mail than one step takes is removed all the same, files and ledger apart."""
    while entries := await outbox.claim(now=later(1), limit=256, lease_seconds=3600):
        await asyncio.gather(*(outbox.finish(entry, contact_id="c", now=later(2)) for entry in entries))
    assert await outbox.expire(now=NOW + timedelta(days=15)) == ENTRIES
    assert sum(desk.counts().values()) == 0
    await outbox.expire(now=NOW + timedelta(days=120))
    assert query(filled, "SELECT count(*) FROM ledger") == [(0,)]


async def test_expiry_pauses_between_its_steps_and_ends_when_told_to(filled, outbox):
    """Other processes have the write lock between two steps; a stop leaves the rest to the next expiry."""
    while entries := await outbox.claim(now=later(1), limit=256, lease_seconds=3600):
        await asyncio.gather(*(outbox.finish(entry, contact_id="c", now=later(2)) for entry in entries))
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        with transaction(filled):  # the lock is free
            return len(pauses) == 3

    now = NOW + timedelta(days=15)
    assert await outbox.expire(now=now, pause=pause) == 3 * retention.STEP
    assert min(pauses) > 0
    assert await outbox.expire(now=now) == ENTRIES - 3 * retention.STEP


async def test_space_of_a_long_jam_is_given_back(spool, intake, outbox, monkeypatch):
    """When much of the database is free, the file becomes smaller, and until then its free pages count as
    room.
    """
    monkeypatch.setattr(retention, "_PAGES_KEPT", 100)
    database = spool.config.data_dir / "spool" / "spool.db"
    await asyncio.gather(
        *(intake.put(build_submission(intake.new_id(), body=b"%100000d" % number)) for number in range(50))
    )
    while entries := await outbox.claim(now=NOW, limit=256, lease_seconds=60):
        await asyncio.gather(*(outbox.finish(entry, contact_id="c", now=NOW) for entry in entries))
    connection = open_database(database)
    before = connection.pragma("page_count")
    assert await outbox.expire(now=NOW + timedelta(days=15)) == 50
    assert connection.pragma("page_count") < before / 4
    connection.close()
