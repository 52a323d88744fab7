"""The operator's view of the local spool (`Desk`): works while the daemon runs, and while it does not.

Owns what an operator may do to an entry: an entry that is under way is never touched. Calls block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from relay.config.model import Config
from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError, SpoolError
from relay.faults import fault_point
from relay.spool.archive import BackedUp, Progress
from relay.spool.change import Changed, Left, Target
from relay.spool.desk import LAST_DAY, Desk
from relay.spool.doubt import is_too_old
from relay.spool.ids import split_id
from relay.spool.local import clock, control, listing, search
from relay.spool.local.accept import find_others
from relay.spool.local.backup import back_up
from relay.spool.local.checkpoints import log_bytes, shorten_log
from relay.spool.local.clock import Display
from relay.spool.local.database import (
    Readers,
    WriteLock,
    check_current,
    check_in_place,
    close_database,
    open_to_look,
    query,
)
from relay.spool.local.days import read_counts, read_days
from relay.spool.local.errors import translated
from relay.spool.local.health import deliverer_runs, diagnosed, explain_failure
from relay.spool.local.layout import Layout
from relay.spool.local.listing import Named, find_named, sort_named
from relay.spool.local.outcomes import remember
from relay.spool.local.raw import open_raw, remove_raw
from relay.spool.local.requeue import plan_move, requeue, reroute
from relay.spool.local.retention import Gone, note_dropped, remove_entries
from relay.spool.local.room import Reserve
from relay.spool.local.slices import View
from relay.spool.local.wake import ring
from relay.spool.model import (
    DROPPABLE,
    HOLDABLE,
    RELEASABLE,
    RETRIABLE,
    Backlog,
    Bulk,
    DayCount,
    Entry,
    Event,
    Filter,
    Paused,
    PolicyCount,
    Remembered,
    State,
    Submission,
)
from relay.spool.records import from_microseconds, hours_in_microseconds, to_microseconds
from relay.timing import MACHINE, Clocks, utc_now

Answer = TypeVar("Answer")

#: Entries dropped in one transaction: their octets are overwritten, and that goes through the log.
_DROPS = 200
#: Milliseconds for which readers may keep the log as it is after a drop; writers wait meanwhile.
_READERS_MILLISECONDS = 250


class LocalDesk(Desk):
    """The `Desk` over SQLite and files; used from one thread at a time."""

    def __init__(self, config: Config, *, clocks: Clocks = MACHINE) -> None:
        self._layout = Layout(data_dir=config.data_dir)
        with translated():
            there = self._layout.database.exists()
        if not there:
            raise SpoolError(
                f"there is no spool in {self._layout.data_dir} (data_dir) yet; the daemon makes it when it starts"
            )
        self._window = hours_in_microseconds(config.spool.duplicate_window_hours)
        self._reserve = Reserve(self._layout)
        self._connection = self._reserve.pay(lambda: open_to_look(self._layout.database))
        self._write_lock = WriteLock(self._layout.gate)
        self._readers = Readers(self._layout.database)
        self._clocks = clocks

    def now(self) -> datetime:
        with self._told():
            state = clock.load(self._connection)
        return from_microseconds(clock.estimate(state, self._clocks)) if state else utc_now()

    def clock_step_seconds(self) -> float:
        with self._told():
            state = clock.load(self._connection)
        return clock.estimate_step(state, self._clocks) if state else 0.0

    def select(self, wanted: Filter) -> Sequence[Entry]:
        with self._view() as view:
            display = Display(view.connection, self._clocks)
            found = listing.select(view, display.read_filter(wanted))
        return display.show_entries(found)

    def retry(self, ids: Sequence[str], *, now: datetime, agreed: bool = False) -> Changed:
        return self._requeue(ids, RETRIABLE, event="retried", now=now, agreed=agreed)

    def release(self, ids: Sequence[str], *, now: datetime, agreed: bool = False) -> Changed:
        return self._requeue(ids, RELEASABLE, event="released", now=now, agreed=agreed)

    def reroute(self, ids: Sequence[str], target: Target, *, now: datetime, agreed: bool = False) -> Changed:
        at = to_microseconds(self._read(now))

        def refuse(one: Named) -> Left | None:
            if twin := plan_move(self._connection, one, target).twin:
                return Left(id=one.id, state=one.shown, twin=twin)
            return self._doubt(one) if one.in_doubt_since and not agreed else None

        def change(one: Named) -> None:
            reroute(self._connection, one, target, at=at)

        changed = self._each(ids, RETRIABLE, change, refuse=refuse)
        ring(self._layout.data_dir)
        return replace(changed, routes=(target.route,) if changed.count else ())

    def hold(self, ids: Sequence[str], *, now: datetime) -> Changed:
        at = to_microseconds(self._read(now))

        def change(one: Named) -> None:
            self._connection.execute(
                "UPDATE entries SET state = 'held', reason = 'operator', detail = '', updated_at = ? "
                "WHERE entry_id = ?",
                (at, one.entry_id),
            )
            remember(self._connection, one.entry_id, at=at, event="held", reason="operator")

        return self._each(ids, HOLDABLE, change)

    def drop(self, ids: Sequence[str], *, now: datetime) -> Changed:
        with self._view() as view:
            named, unknown = find_named(view.connection, ids)
        parts = [
            self._drop([one.id for one in named[start : start + _DROPS]], now=now)
            for start in range(0, len(named), _DROPS)
        ]
        with self._told():
            # The log still holds the mail's pages as they were.
            shorten_log(
                self._connection, self._write_lock, mode="TRUNCATE", milliseconds=_READERS_MILLISECONDS
            )
        left = [
            *(one for part in parts for one in part.left),
            *(Left(id=word, state=None) for word in unknown),
        ]
        routes = {route for part in parts for route in part.routes}
        return Changed(
            count=sum(part.count for part in parts), left=tuple(left), routes=tuple(sorted(routes))
        )

    def _drop(self, ids: Sequence[str], *, now: datetime) -> Changed:
        def remove() -> tuple[Changed, Gone]:
            able, changed = sort_named(self._connection, ids, DROPPABLE)
            at = self._read(now)
            note_dropped(self._connection, [one.entry_id for one in able], now=at)
            return changed, remove_entries(self._connection, [(one.entry_id, one.mail_id) for one in able])

        changed, gone = self._change(remove)
        with self._told():
            fault_point("spool.drop.committed")
            for spool_id in gone.filed:
                remove_raw(self._layout.raw_path(spool_id))
        return changed

    def others(self, submission: Submission) -> Sequence[SpoolId]:
        with self._view() as view:
            return find_others(view.connection, submission, window_microseconds=self._window)

    def unknown(self, ids: Sequence[str]) -> Sequence[str]:
        with self._view() as view:
            return find_named(view.connection, ids)[1]

    def export(self, word: str) -> bytes | None:
        if self.unknown([word]):
            return None
        spool_id, _ = split_id(word)
        try:
            with open_raw(self._readers, self._layout, spool_id) as view:
                return bytes(view)
        except SpoolCorruptError:
            if self.unknown([word]):  # removed while we looked
                return None
            raise

    def trace(self, word: str, *, limit: int = 1_000) -> Sequence[Entry]:
        with self._view() as view:
            found = search.trace(view, word, limit=limit)
            return Display(view.connection, self._clocks).show_entries(found)

    def history(self, entry: Entry) -> Sequence[Event]:
        with self._told():
            display = Display(self._connection, self._clocks)
            events = search.history(self._connection, entry.entry_id)
            return [replace(event, at=display.show(event.at)) for event in events]

    def remembered(self, word: str, *, limit: int = 1_000) -> Sequence[Remembered]:
        with self._told():
            found = search.remembered(self._connection, word, limit=limit)
            return Display(self._connection, self._clocks).show_remembered(found)

    def counts(self) -> Mapping[State, int]:
        with self._told():
            check_in_place(self._connection)
            rows: dict[str, int] = dict(query(self._connection, "SELECT name, value FROM totals"))
        return {state: rows[state] for state in State}

    def tally(self, wanted: Filter) -> Mapping[State, int]:
        with self._view() as view:
            check_in_place(view.connection)
            return listing.count(view, Display(view.connection, self._clocks).read_filter(wanted))

    def aside(self) -> Mapping[State, tuple[int, datetime | None]]:
        with self._told():
            return search.aside(self._connection)

    def holds_after(self, after: datetime | None, *, limit: int) -> Sequence[tuple[datetime, str]]:
        with self._told():
            return search.holds_after(self._connection, after, limit=limit)

    def originals(self, *, reasons: Sequence[str], since: datetime) -> tuple[int, datetime | None]:
        with self._told():
            return search.originals(self._connection, reasons=reasons, since=since)

    def oldest_at(self) -> datetime | None:
        with self._told():
            return search.oldest_at(self._connection)

    def held_by_policy(self) -> int:
        with self._told():
            return search.held_by_policy(self._connection)

    def backlog(self, *, limits: Sequence[timedelta], now: datetime) -> Sequence[Backlog]:
        with self._view() as view:
            show = Display(view.connection, self._clocks).show
            found = search.backlog(view, limits=limits, now=now)
        return [replace(each, oldest_at=show(each.oldest_at) if each.oldest_at else None) for each in found]

    def pause(self, subject: str, *, now: datetime) -> bool:
        return self._change(lambda: control.pause(self._connection, subject, now=self._read(now)))

    def resume(self, subject: str) -> bool:
        if subject == "clock":
            doubted = bool(self.clock_step_seconds())
            self._change(lambda: clock.look(self._connection, self._clocks, trusted=True))
            return doubted
        found = self._change(lambda: control.resume(self._connection, subject))
        ring(self._layout.data_dir)
        return found

    def paused(self) -> Paused:
        with self._told():
            paused = control.read_paused(self._connection)
            display = Display(self._connection, self._clocks)
        return replace(paused, holds=tuple(map(display.show_hold, paused.holds)))

    def _read(self, now: datetime) -> datetime:
        """The instant of the spool's clock that a command means by what the wall clock shows."""
        return Display(self._connection, self._clocks).read(now)

    def policy_counts(self, *, since: str, until: str = LAST_DAY) -> Sequence[PolicyCount]:
        with self._told():
            return read_counts(self._connection, since=since, until=until)

    def day_counts(self, *, since: str, until: str = LAST_DAY) -> Sequence[DayCount]:
        with self._told():
            return read_days(self._connection, since=since, until=until)

    def routes(self) -> Sequence[str]:
        with self._view() as view:
            return search.find_routes(view)

    def attended(self) -> bool:
        return deliverer_runs(self._layout.data_dir)

    def disk_full(self) -> bool:
        return self._reserve.is_out()

    def bulk(self) -> Bulk:
        with self._told():
            rows = search.count_ledger(self._connection)
        return Bulk(log_bytes=log_bytes(self._layout.database), ledger_rows=rows)

    def back_up(self, archive: Path, *, progress: Progress) -> BackedUp:
        with self._told():
            check_current(self._connection, self._layout.database)
            check_in_place(self._connection)
            state = clock.load(self._connection)
            at = clock.estimate(state, self._clocks) if state else to_microseconds(utc_now())
        # Not in an operator's words for the spool: it is the archive's disk that may be full.
        with translated(archive):
            return back_up(self._connection, self._layout, archive, at=at, progress=progress)

    def explain(self, error: SpoolError) -> SpoolError:
        return explain_failure(self._layout.data_dir, error)

    def close(self) -> None:
        self._readers.close()
        self._write_lock.close()
        close_database(self._connection)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A block in which errors of SQLite and of the system become ours, in an operator's words."""
        with diagnosed(self._layout.data_dir), translated():
            yield

    @contextmanager
    def _view(self) -> Iterator[View]:
        """The spool as it is at one instant, for several queries: entries move meanwhile."""
        with self._told(), View(self._connection) as view:
            yield view

    def _requeue(
        self, ids: Sequence[str], states: Sequence[State], *, event: str, now: datetime, agreed: bool
    ) -> Changed:
        read_at = self._read(now)
        at = to_microseconds(read_at)

        def refuse(one: Named) -> Left | None:
            return None if agreed or not is_too_old(one.in_doubt_since, now=read_at) else self._doubt(one)

        def change(one: Named) -> None:
            doubtful = is_too_old(one.in_doubt_since, now=read_at)
            requeue(self._connection, one, at=at, event=event, doubtful=doubtful)

        changed = self._each(ids, states, change, refuse=refuse)
        ring(self._layout.data_dir)
        return changed

    def _doubt(self, one: Named) -> Left:
        since = one.in_doubt_since
        shown = Display(self._connection, self._clocks).show(since) if since else None
        return Left(id=one.id, state=one.shown, in_doubt_since=shown)

    def _each(
        self,
        ids: Sequence[str],
        states: Sequence[State],
        change: Callable[[Named], None],
        *,
        refuse: Callable[[Named], Left | None] = lambda _: None,
    ) -> Changed:
        def run() -> Changed:
            able, changed = sort_named(self._connection, ids, states)
            left = []
            for one in able:  # one by one: a change may stand in the way of the next
                if (refused := refuse(one)) is not None:
                    left.append(refused)
                else:
                    change(one)
            return replace(changed, count=len(able) - len(left), left=(*changed.left, *left))

        changed = self._change(run)
        with self._told():
            fault_point("spool.desk.committed")
        return changed

    def _change(self, change: Callable[[], Answer]) -> Answer:
        """Run a change in a transaction of its own; on a full disk the reserve is released for it, because an
        operator who makes room needs room. Returns its answer.

        Raises:
            SpoolOlderError: the spool belongs to an older relay: it can be read, but not changed.
        """

        def run() -> Answer:
            with self._told():  # first without the lock, which an older relay may hold for long
                check_current(self._connection, self._layout.database)
            with self._told(), self._write_lock.transaction(self._connection):
                check_current(self._connection, self._layout.database)
                return change()

        return self._reserve.pay(run)
