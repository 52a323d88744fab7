"""Long readings of the spool: what they find, and for how long they hold its log."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import apsw
import pytest
from spool_helpers import NOW, fill

from relay.spool.local import listing, search
from relay.spool.local.database import open_database, open_to_look, query, transaction
from relay.spool.local.slices import View
from relay.spool.model import Filter, State

WAITING = 5_000
#: Readings of many entries: with how many results.
READINGS = {
    "list": (lambda view: listing.select(view, Filter(limit=100_000)), WAITING + 4),
    "filter": (lambda view: listing.select(view, Filter(sender="nobody@else.example")), 0),
    "count": (lambda view: listing.count(view, Filter(sender="@life.example"))[State.QUEUED], WAITING),
    "trace a part": (lambda view: search.trace(view, "@else.example", limit=9), 0),
    "trace a word": (lambda view: search.trace(view, "nothing", limit=9), 0),
    "ages": (lambda view: sum(each.queued for each in search.backlog(view, limits=(), now=NOW)), WAITING),
    "routes": (search.find_routes, 5),
}


@pytest.fixture
async def database(spool):
    """A spool in which some thousand mails wait."""
    await spool.open_intake().close()
    path = spool.config.data_dir / "spool" / "spool.db"
    fill(path, finished=0, waiting=WAITING, aside=2, began=NOW - timedelta(days=1))
    return path


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.slow
async def test_a_long_reading_lets_the_log_begin_anew(database, name):
    """Between its slices nobody reads the log as it was, so a checkpoint can empty it; what is found is the
    same.
    """
    read, count = READINGS[name]
    emptied = 0

    def write(event) -> None:
        nonlocal emptied
        if event["sql"] == "COMMIT":
            with transaction(writer):
                writer.execute("UPDATE totals SET value = value + 1 WHERE name = 'bytes'")
            busy, *_ = query(writer, "PRAGMA wal_checkpoint(RESTART)")[0]
            emptied += not busy

    with closing(open_database(database)) as writer, closing(open_to_look(database)) as connection:
        writer.set_busy_timeout(0)
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, write)
        with View(connection, seconds=0.0) as view:
            found = read(view)
    assert (len(found) if isinstance(found, list) else found) == count
    assert emptied >= 3  # after each of three slices, and at the end


async def test_a_short_reading_sees_one_instant(database):
    """As long as it takes less than its time, what is written meanwhile is not seen, whatever it asks."""
    with closing(open_database(database)) as writer, closing(open_to_look(database)) as connection:
        now = 0.0
        with View(connection, monotonic=lambda: now) as view:
            held = listing.count(view, Filter(route="r1"))[State.HELD]
            spans = view.spans("e.state = 'queued'")
            next(spans)
            with transaction(writer):
                writer.execute("UPDATE entries SET state = 'held' WHERE state = 'queued'")
            next(spans)
            assert listing.count(view, Filter(route="r1"))[State.HELD] == held
            now = 0.5
            assert list(spans) == []
            assert listing.count(view, Filter(route="r1"))[State.HELD] >= WAITING // 5


@pytest.mark.slow
async def test_an_entry_that_moves_while_it_is_listed_is_shown_once(database):
    """An entry that was listed as queued, and is held by the time that held ones are read, is one entry."""
    with closing(open_database(database)) as writer, closing(open_to_look(database)) as connection:

        def move(event) -> None:
            if event["sql"] == "COMMIT":
                writer.execute("UPDATE entries SET state = 'held' WHERE state = 'queued' AND entry_id < 100")

        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, move)
        with View(connection, seconds=0.0) as view:
            found = [entry.entry_id for entry in listing.select(view, Filter(limit=100_000))]
    assert found == sorted(set(found))
    assert len(found) == WAITING + 4
