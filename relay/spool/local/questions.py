"""The questions that an operator asks of the local spool, beside the daemon or without it.

Owns the connections of a `Desk` for reading, and the words of an operator for their errors. Never changes a
row. Calls block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from relay.config.model import Config
from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.audit import Audited, AuditFilter
from relay.spool.desk import LAST_DAY
from relay.spool.erasure import FoundPerson
from relay.spool.ids import split_id
from relay.spool.local import actions, clock, control, erasure, listing, search
from relay.spool.local.accept import find_others
from relay.spool.local.checkpoints import log_bytes
from relay.spool.local.clock import Display
from relay.spool.local.database import (
    Readers,
    WriteLock,
    check_in_place,
    close_database,
    open_to_look,
    query,
)
from relay.spool.local.days import read_counts, read_days
from relay.spool.local.errors import translated
from relay.spool.local.figures import count_accepted, count_contacts, count_reasons
from relay.spool.local.forgotten import is_forgotten
from relay.spool.local.heads import Heads
from relay.spool.local.health import deliverer_runs, diagnosed, explain_failure
from relay.spool.local.key import KeyFile
from relay.spool.local.layout import Layout
from relay.spool.local.listing import find_named
from relay.spool.local.paging import Search, read_rows
from relay.spool.local.raw import open_raw
from relay.spool.local.room import Reserve
from relay.spool.local.slices import View
from relay.spool.model import (
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
from relay.spool.page import EntryPage, EntryQuery, Listed
from relay.spool.records import from_microseconds, hours_in_microseconds
from relay.timing import MACHINE, Clocks, utc_now

#: Entries that are listed by their ids at once.
_LISTED = 100


class LocalQuestions:
    """The half of `LocalDesk` that only reads; used from one thread at a time."""

    def __init__(self, config: Config, *, clocks: Clocks = MACHINE) -> None:
        self._layout = Layout(data_dir=config.data_dir)
        with translated():
            there = self._layout.database.exists()
        if not there:
            raise SpoolError(
                f"there is no spool in {self._layout.data_dir} (data_dir) yet; the daemon makes it when it starts"
            )
        self._window = hours_in_microseconds(config.spool.duplicate_window_hours)
        self._key = KeyFile(self._layout.key)
        self._reserve = Reserve(self._layout)
        self._connection = self._reserve.pay(lambda: open_to_look(self._layout.database))
        self._write_lock = WriteLock(self._layout.gate)
        self._readers = Readers(self._layout.database)
        self._heads = Heads(self._layout)
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

    def others(self, submission: Submission) -> Sequence[SpoolId]:
        with self._view() as view:
            return find_others(
                view.connection, submission, window_microseconds=self._window, find_key=self._key.find
            )

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
            if self.unknown([word]) or self._is_forgotten(spool_id):
                return None
            raise

    def _is_forgotten(self, spool_id: str) -> bool:
        with self._view() as view:
            return is_forgotten(view.connection, spool_id)

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
            found = search.remembered(self._connection, word, limit=limit, key=self._key.find())
            return Display(self._connection, self._clocks).show_remembered(found)

    def find_person(self, word: str) -> FoundPerson:
        with self._view() as view:
            found = erasure.find_person(view, word, key=self._key.find())
            show = Display(view.connection, self._clocks).show
            mails = tuple(replace(mail, accepted_at=show(mail.accepted_at)) for mail in found.mails)
        return replace(found, mails=mails)

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

    def backlog(self, *, limits: Sequence[timedelta], now: datetime) -> Sequence[Backlog]:
        with self._view() as view:
            show = Display(view.connection, self._clocks).show
            found = search.backlog(view, limits=limits, now=now)
        return [replace(each, oldest_at=show(each.oldest_at) if each.oldest_at else None) for each in found]

    def paused(self) -> Paused:
        with self._told():
            paused = control.read_paused(self._connection)
            display = Display(self._connection, self._clocks)
        return replace(paused, holds=tuple(map(display.show_hold, paused.holds)))

    def actions(self, wanted: AuditFilter) -> Sequence[Audited]:
        with self._told():
            display = Display(self._connection, self._clocks)
            found = actions.read(
                self._connection,
                replace(
                    wanted,
                    since=display.read(wanted.since) if wanted.since else None,
                    until=display.read(wanted.until) if wanted.until else None,
                ),
            )
            return [replace(row, at=display.show(row.at)) for row in found]

    def _read(self, now: datetime) -> datetime:
        """The instant of the spool's clock that a command means by what the wall clock shows."""
        return Display(self._connection, self._clocks).read(now)

    def page(self, wanted: EntryQuery) -> EntryPage:
        with self._view() as view:
            check_in_place(view.connection)
            found = Search(view=view, wanted=wanted, heads=self._heads).run()
            display = Display(view.connection, self._clocks)
        return display.show_page(found)

    def listed(self, ids: Sequence[str]) -> Sequence[Listed]:
        with self._view() as view:
            named, _ = find_named(view.connection, ids)
            newest = sorted((one.entry_id for one in named), reverse=True)[:_LISTED]
            display = Display(view.connection, self._clocks)
            return display.show_page(EntryPage(rows=read_rows(view, self._heads, newest))).rows

    def thread(self, message_ids: Sequence[str], *, contact_id: str = "", limit: int) -> Sequence[Listed]:
        with self._view() as view:
            newest = search.find_finished(view.connection, message_ids, contact_id=contact_id, limit=limit)
            display = Display(view.connection, self._clocks)
            return display.show_page(EntryPage(rows=read_rows(view, self._heads, newest))).rows

    def accepted(self, *, since: datetime) -> int:
        with self._told():
            return count_accepted(self._connection, since=since)

    def reasons(self) -> Mapping[State, Mapping[str, int]]:
        with self._told():
            return count_reasons(self._connection)

    def contacts(self, *, since: datetime) -> int:
        with self._told():
            return count_contacts(self._connection, since=since)

    def version(self) -> str:
        with self._told():
            check_in_place(self._connection)
            return f"{self._connection.pragma('data_version')}.{self._connection.total_changes()}"

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
