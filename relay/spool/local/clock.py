"""The spool's clock in the database: the last look at it, and the steps of the wall clock since.

Owns the tables `clock` and `clock_offsets`; `relay.spool.clock` has the rules. One look is written when a
daemon opens the spool, and others while it runs. Between two of them the clock is computed without a query:
within one start of the machine its base never changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import apsw

from relay.spool import clock as rules
from relay.spool.clock import LEAST_STEP, ClockState
from relay.spool.local.database import WriteLock, query, reading
from relay.spool.model import Entry, Filter, Hold, Remembered
from relay.spool.page import EntryPage
from relay.spool.records import from_microseconds, to_microseconds
from relay.timing import Clocks

_COLUMNS = tuple(field.name for field in fields(ClockState))
_LOAD = f"SELECT {', '.join(_COLUMNS)} FROM clock"  # noqa: S608 - names of ours
_HAS_CLOCK = "SELECT 1 FROM sqlite_schema WHERE name = 'clock'"
_HOLES = ", ".join("?" * len(_COLUMNS))
_SAVE = f"INSERT OR REPLACE INTO clock (one, {', '.join(_COLUMNS)}) VALUES (1, {_HOLES})"  # noqa: S608 - names of ours
#: Time that nobody counted makes doubts older, because Connect has counted it.
_AGE_DOUBTS = """
UPDATE entries SET in_doubt_since = in_doubt_since - ?1
WHERE state IN ('queued', 'leased', 'held', 'dead') AND in_doubt_since <= ?2
"""
_NEWEST_DOUBT = """
SELECT coalesce(max(in_doubt_since), 0) FROM entries WHERE state IN ('queued', 'leased', 'held', 'dead')
"""
#: Steps that are kept, for what is shown: as many as a clock that is wrong makes in weeks.
_STEPS_KEPT = 1_000


def load(connection: apsw.Connection) -> ClockState | None:
    """The last look. Returns None in the spool of an earlier version."""
    rows = query(connection, _LOAD)
    if not rows:
        return None
    values = dict(zip(_COLUMNS, rows[0], strict=True))
    return ClockState(**{**values, "doubted": bool(values["doubted"])})


def establish(connection: apsw.Connection, clocks: Clocks) -> ClockState:
    """The clock from now on; runs within a transaction, when a process opens the spool."""
    before = load(connection)
    boot, passed, wall = clocks.boot(), clocks.passed(), clocks.wall()
    if before is None:
        return _save(connection, None, rules.begin(boot=boot, passed=passed, wall=wall))
    if rules.is_same_start(before, boot=boot, passed=passed):
        return before
    ((least,),) = query(connection, _NEWEST_DOUBT)
    again = rules.begin_again(before, boot=boot, passed=passed, wall=wall, least=least)
    return _save(connection, before, again)


def look(connection: apsw.Connection, clocks: Clocks, *, trusted: bool = False) -> ClockState:
    """Look at the machine's clocks, and keep the look; runs within a transaction. `trusted`: a person says
    that the wall clock is right.
    """
    before = establish(connection, clocks)
    advance = rules.trust if trusted else rules.look
    return _save(connection, before, advance(before, passed=clocks.passed(), wall=clocks.wall()))


def _save(connection: apsw.Connection, before: ClockState | None, now: ClockState) -> ClockState:
    connection.execute(_SAVE, tuple(asdict(now).values()))
    offsets = query(connection, "SELECT offset FROM clock_offsets ORDER BY since DESC LIMIT 1")
    if not offsets or abs(now.offset - offsets[0][0]) >= LEAST_STEP:
        connection.execute("INSERT OR REPLACE INTO clock_offsets VALUES (?, ?)", (now.shown, now.offset))
        connection.execute(
            "DELETE FROM clock_offsets WHERE since <= "
            "(SELECT since FROM clock_offsets ORDER BY since DESC LIMIT 1 OFFSET ?)",
            (_STEPS_KEPT,),
        )
    open_before = before is not None and before.gap_at is not None
    gap_at = before.gap_at if before is not None and now.gap_at is None else now.gap_at
    unsure = now.gap_unsure - (before.gap_unsure if before is not None and open_before else 0)
    if gap_at is not None and abs(unsure) >= LEAST_STEP:
        connection.execute(_AGE_DOUBTS, (unsure, gap_at))
    return now


@lru_cache(maxsize=4)
def _second(since_1970: int) -> datetime:
    """The beginning of a second, which all mails of that second share: to compute it costs each 1 us."""
    return from_microseconds(since_1970 * 1_000_000)


class SpoolClock:
    """The spool's clock as one process reads it."""

    def __init__(self, connection: apsw.Connection, write_lock: WriteLock, clocks: Clocks) -> None:
        self._clocks = clocks
        state = load(connection)
        if state is None or not rules.is_same_start(state, boot=clocks.boot(), passed=clocks.passed()):
            with write_lock.transaction(connection):
                state = establish(connection, clocks)
        #: The last look that this process knows of.
        self.state = state

    def microseconds(self) -> int:
        """The present instant, as a row keeps it."""
        return self.state.base + self._clocks.passed()

    def now(self) -> datetime:
        """The present instant."""
        seconds, microseconds = divmod(self.state.base + self._clocks.passed(), 1_000_000)
        return _second(seconds).replace(microsecond=microseconds)

    def is_doubted(self) -> bool:
        """Compare both clocks now. Returns whether nothing may be given up or removed for its age."""
        return rules.is_doubted(self.state, offset=self._clocks.wall() - self.microseconds())


class Display:
    """The instants of the spool's clock as the wall clock showed them, and back."""

    def __init__(self, connection: apsw.Connection, clocks: Clocks) -> None:
        rows = query(connection, "SELECT since, offset FROM clock_offsets ORDER BY since")
        self._since: Sequence[int] = [row[0] for row in rows]
        self._offsets: Sequence[timedelta] = [timedelta(microseconds=row[1]) for row in rows]
        state = load(connection)
        self._offset, self._now = timedelta(), 0
        if state is not None:
            self._now = shown = estimate(state, clocks)
            offset = clocks.wall() - shown
            last = rows[-1][1] if rows else 0
            self._offset = timedelta(microseconds=last if abs(offset - last) < LEAST_STEP else offset)
        #: True if both clocks have always shown the same.
        self.is_plain = not self._offset and not any(self._offsets)

    def show(self, at: datetime) -> datetime:
        """The instant that the wall clock showed at this instant of the spool's clock, or will show if it
        stays as it is.
        """
        return at if self.is_plain else at + self._offset_at(at)

    def _offset_at(self, at: datetime) -> timedelta:
        instant = to_microseconds(at)
        if instant >= self._now or not self._offsets:
            return self._offset
        return self._offsets[max(bisect_right(self._since, instant) - 1, 0)]

    def set_since(self, at: datetime) -> timedelta:
        """By how much the wall clock was set since this instant of the spool's clock."""
        return timedelta() if self.is_plain else self._offset - self._offset_at(at)

    def show_hold(self, hold: Hold) -> Hold:
        """The hold of a route with its instant as the wall clock showed it."""
        return replace(hold, since=self.show(hold.since), set_since=self.set_since(hold.since))

    def show_entries(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries with their instants as the wall clock showed them."""
        return entries if self.is_plain else [self._show_entry(entry) for entry in entries]

    def show_page(self, page: EntryPage) -> EntryPage:
        """The page with all instants as the wall clock showed them."""
        if self.is_plain:
            return page
        rows = tuple(replace(row, entry=self._show_entry(row.entry)) for row in page.rows)
        return replace(page, rows=rows, stopped_at=self.show(page.stopped_at) if page.stopped_at else None)

    def _show_entry(self, entry: Entry) -> Entry:
        return replace(
            entry,
            accepted_at=self.show(entry.accepted_at),
            set_since=self.set_since(entry.accepted_at),
            updated_at=self.show(entry.updated_at),
            next_attempt_at=self.show(entry.next_attempt_at),
            lease_until=self.show(entry.lease_until) if entry.lease_until else None,
            in_doubt_since=self.show(entry.in_doubt_since) if entry.in_doubt_since else None,
        )

    def show_remembered(self, found: Sequence[Remembered]) -> Sequence[Remembered]:
        """The same for records of the ledger."""
        return [
            replace(
                one,
                accepted_at=self.show(one.accepted_at),
                dropped_at=self.show(one.dropped_at) if one.dropped_at else None,
                erased_at=self.show(one.erased_at) if one.erased_at else None,
            )
            for one in found
        ]

    def read_filter(self, wanted: Filter) -> Filter:
        """The filter with its instant by the spool's clock."""
        return replace(wanted, older_than=self.read(wanted.older_than)) if wanted.older_than else wanted

    def read(self, at: datetime) -> datetime:
        """The instant of the spool's clock that the wall clock, as it is set now, calls by this name."""
        return at - self._offset


def estimate_step(state: ClockState, clocks: Clocks) -> float:
    """The step of the wall clock that is doubted now, in seconds; 0.0 if none is."""
    return replace(state, offset=clocks.wall() - estimate(state, clocks)).step_seconds


def read_step(path: Path, clocks: Clocks) -> float:
    """The step that is doubted in a spool that is only read. Returns 0.0 if none is, or if there is no spool
    yet.

    Raises:
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
        SpoolFullError, SpoolSickError: it cannot be read now.
    """
    with reading(path) as connection:
        # Spools of earlier versions have no clock.
        if connection is None or not query(connection, _HAS_CLOCK):
            return 0.0
        state = load(connection)
    return estimate_step(state, clocks) if state is not None else 0.0


def estimate(state: ClockState, clocks: Clocks) -> int:
    """The present instant, without a word to the spool that would have to be kept."""
    boot, passed = clocks.boot(), clocks.passed()
    if not rules.is_same_start(state, boot=boot, passed=passed):
        state = rules.begin_again(state, boot=boot, passed=passed, wall=clocks.wall())
    return state.base + passed
