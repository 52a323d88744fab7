"""The operator's view of a fleet's spool (`Desk`), from any node or from a machine beside them.

Owns an event loop in a thread of its own, on which all questions run: a desk's calls block.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from relay.config.model import Config
from relay.envelope import SpoolId
from relay.errors import SpoolError
from relay.spool.action import Action
from relay.spool.archive import BackedUp, Progress
from relay.spool.audit import Audited, AuditFilter, Stage
from relay.spool.change import Changed, Target
from relay.spool.desk import LAST_DAY, Desk
from relay.spool.fleet import changes, control, days, fence, listing, questions
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.octets import open_raw
from relay.spool.fleet.running import key_of
from relay.spool.fleet.store import Store
from relay.spool.model import (
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
from relay.spool.page import EntryPage, EntryQuery, Listed
from relay.timing import MACHINE, Clocks

Answer = TypeVar("Answer")
_NOT_YET = "the page and the audit do not know the spool of a fleet yet"


class FleetDesk(Desk):
    """The `Desk` over a table and S3; its calls may come from any thread."""

    def __init__(self, config: Config, *, clocks: Clocks = MACHINE) -> None:
        self._config = config
        self._folder = config.data_dir / "fleet"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet-desk", daemon=True)
        self._thread.start()
        self._store = Store(config, clocks=clocks)

    def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer of a question that runs on the loop."""
        if self._loop.is_closed():
            question.close()
            raise SpoolError("the spool is closed")
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()

    def now(self) -> datetime:
        return self._store.clock.now()

    def clock_step_seconds(self) -> float:
        return 0.0  # it is the clock of AWS

    @staticmethod
    def _check_audit(action: Action | None) -> None:
        """Refuse a change whose row of the audit cannot be written with it."""
        if action is not None:
            raise SpoolError(_NOT_YET)

    def select(self, wanted: Filter) -> Sequence[Entry]:
        return self._ask(self._select(wanted))

    async def _select(self, wanted: Filter) -> Sequence[Entry]:
        found = await listing.find(self._store, wanted)
        return await listing.show(self._store, found[: wanted.limit], requests=bool(wanted.ids))

    def retry(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        self._check_audit(action)
        change = changes.requeue(event="retried", now=now, agreed=agreed)
        return self._ask(changes.change_each(self._store, ids, RETRIABLE, change))

    def hold(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        self._check_audit(action)
        return self._ask(changes.change_each(self._store, ids, HOLDABLE, changes.hold(now=now)))

    def release(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        self._check_audit(action)
        change = changes.requeue(event="released", now=now, agreed=agreed)
        return self._ask(changes.change_each(self._store, ids, RELEASABLE, change))

    def reroute(
        self,
        ids: Sequence[str],
        target: Target,
        *,
        now: datetime,
        agreed: bool = False,
        action: Action | None = None,
    ) -> Changed:
        self._check_audit(action)
        return self._ask(changes.reroute(self._store, ids, target, now=now, agreed=agreed))

    def drop(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        self._check_audit(action)
        return self._ask(changes.drop(self._store, ids, now=now))

    def others(self, submission: Submission) -> Sequence[SpoolId]:
        return self._ask(questions.others(self._store, submission))

    def unknown(self, ids: Sequence[str]) -> Sequence[str]:
        return self._ask(listing.find_named(self._store, ids))[1]

    def export(self, word: str) -> bytes | None:
        return self._ask(self._export(word))

    async def _export(self, word: str) -> bytes | None:
        found, _ = await listing.find_named(self._store, [word])
        if not found or found[0].mail is None:
            return None
        async with open_raw(self._store, found[0].mail, self._folder) as (raw, _):
            return bytes(raw)

    def trace(self, word: str, *, limit: int = 1_000) -> Sequence[Entry]:
        return self._ask(questions.trace(self._store, word, limit=limit))

    def history(self, entry: Entry) -> Sequence[Event]:
        key = key_of(entry.reference)
        found = self._ask(fence.read(self._store, key)) if key else None
        return found.history if found else ()

    def remembered(self, word: str, *, limit: int = 1_000) -> Sequence[Remembered]:
        return self._ask(questions.remembered(self._store, word, limit=limit))

    def counts(self) -> Mapping[State, int]:
        return self._ask(questions.counts(self._store))

    def tally(self, wanted: Filter) -> Mapping[State, int]:
        return self._ask(questions.tally(self._store, wanted))

    def aside(self) -> Mapping[State, tuple[int, datetime | None]]:
        return self._ask(questions.aside(self._store))

    def holds_after(self, after: datetime | None, *, limit: int) -> Sequence[tuple[datetime, str]]:
        return self._ask(questions.holds_after(self._store, after, limit=limit))

    def held_by_policy(self) -> int:
        return self._ask(questions.held_by_policy(self._store))

    def originals(self, *, reasons: Sequence[str], since: datetime) -> tuple[int, datetime | None]:
        return self._ask(questions.originals(self._store, reasons=reasons, since=since))

    def policy_counts(self, *, since: str, until: str = LAST_DAY) -> Sequence[PolicyCount]:
        return self._ask(days.read_policy(self._store, since=since, until=until))

    def day_counts(self, *, since: str, until: str = LAST_DAY) -> Sequence[DayCount]:
        return self._ask(days.read_days(self._store, since=since, until=until))

    def routes(self) -> Sequence[str]:
        return sorted(self._ask(control.look(self._store)).routes)

    def attended(self) -> bool:
        return self._ask(self._attended())

    async def _attended(self) -> bool:
        lead = Leadership(self._store, lease_seconds=self._config.fleet.lease_seconds)
        lease = await lead.look()
        return lease is not None and not lease.is_released

    def disk_full(self) -> bool:
        return False  # S3 has no end

    def bulk(self) -> Bulk:
        return Bulk()

    def oldest_at(self) -> datetime | None:
        return self._ask(questions.oldest_at(self._store))

    def backlog(self, *, limits: Sequence[timedelta], now: datetime) -> Sequence[Backlog]:
        return self._ask(questions.backlog(self._store, limits=limits, now=now))

    def pause(self, subject: str, *, now: datetime, action: Action | None = None) -> bool:
        self._check_audit(action)
        return self._ask(control.pause(self._store, subject, now=now))

    def resume(self, subject: str, *, action: Action | None = None) -> bool:
        self._check_audit(action)
        return False if subject == "clock" else self._ask(control.resume(self._store, subject))

    def paused(self) -> Paused:
        return self._ask(control.look(self._store)).paused

    def page(self, wanted: EntryQuery) -> EntryPage:  # noqa: ARG002 - see below
        raise SpoolError(_NOT_YET)

    def listed(self, ids: Sequence[str]) -> Sequence[Listed]:  # noqa: ARG002 - see below
        raise SpoolError(_NOT_YET)

    def accepted(self, *, since: datetime) -> int:  # noqa: ARG002 - see below
        raise SpoolError(_NOT_YET)

    def reasons(self) -> Mapping[State, Mapping[str, int]]:
        raise SpoolError(_NOT_YET)

    def contacts(self, *, since: datetime) -> int:  # noqa: ARG002 - see below
        raise SpoolError(_NOT_YET)

    def version(self) -> str:
        raise SpoolError(_NOT_YET)

    def note_action(
        self,
        action: Action,  # noqa: ARG002 - see below
        *,
        stage: Stage = Stage.DONE,  # noqa: ARG002 - see below
        counts: Mapping[str, int] | None = None,  # noqa: ARG002 - see below
        detail: str = "",  # noqa: ARG002 - see below
        begun: int | None = None,  # noqa: ARG002 - see below
    ) -> int:
        raise SpoolError(_NOT_YET)

    def actions(self, wanted: AuditFilter) -> Sequence[Audited]:  # noqa: ARG002 - see below
        raise SpoolError(_NOT_YET)

    def back_up(self, archive: Path, *, progress: Progress) -> BackedUp:  # noqa: ARG002 - there is no archive
        raise SpoolError(
            "a fleet's spool is kept by AWS: turn on point-in-time recovery of the table and versions of the bucket "
            "(docs/fleet.md)"
        )

    def explain(self, error: SpoolError) -> SpoolError:
        return error

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._ask(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
