"""The operator's view of a fleet's spool (`Desk`), from any node or from a machine beside them.

Owns an event loop in a thread of its own, on which all questions run: a desk's calls block.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from relay.aws.database import SECONDS
from relay.config.model import Config
from relay.envelope import SpoolId
from relay.errors import SpoolError
from relay.spool.action import Action
from relay.spool.archive import BackedUp, Progress
from relay.spool.audit import Audited, AuditFilter, Stage, tell_all_left
from relay.spool.change import Changed, Target
from relay.spool.desk import LAST_DAY, Desk
from relay.spool.erasure import Erased, FoundPerson
from relay.spool.fleet import aging, audit, beats, changes, control, days, erasure, fence, listing, questions
from relay.spool.fleet.cache import find_folder
from relay.spool.fleet.figures import Figures
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.octets import open_raw
from relay.spool.fleet.paging import Pages
from relay.spool.fleet.running import key_of
from relay.spool.fleet.store import Store
from relay.spool.fleet.walk import Walk, unless_away
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
from relay.spool.nodes import Beat
from relay.spool.page import EntryPage, EntryQuery, Listed
from relay.spool.pseudonyms import name_address
from relay.spool.records import to_microseconds
from relay.timing import MACHINE, Clocks

Answer = TypeVar("Answer")
#: Seconds between two looks for changes: each takes some 70 units of reads, and one list of S3.
_LOOK_SECONDS = 2.0
#: Leases after which a leader that is silent counts as dead to an operator.
_SILENT_LEASES = 3


class FleetDesk(Desk):
    """The `Desk` over a table and S3; its calls may come from any thread."""

    def __init__(self, config: Config, *, clocks: Clocks = MACHINE) -> None:
        self._config = config
        self._folder = find_folder(config.data_dir)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet-desk", daemon=True)
        self._thread.start()
        self._store = Store(config, clocks=clocks)
        self._walk = Walk(self._store)
        self._figures = Figures(self._store, self._walk)
        self._pages = Pages(self._store, self._walk, self._figures)
        self._unlooked = ""

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

    async def _audited(
        self,
        change: Coroutine[Any, Any, Answer],
        action: Action | None,
        *,
        tell: Callable[[Answer], tuple[bool, Mapping[str, int], str]],
    ) -> Answer:
        """Make a change, with a row of the audit before it and one about its end; `tell` says whether
        anything was done, how much, and what was left.
        """
        if action is None:
            return await change
        try:
            begun = await audit.add(self._store, action, at=self.now(), stage=Stage.BEGUN)
        except SpoolError:
            change.close()
            raise
        try:
            answer = await change
        except SpoolError as exc:
            await audit.add(
                self._store, action, at=self.now(), stage=Stage.FAILED, detail=str(exc), begun=begun
            )
            raise
        done, counts, detail = tell(answer)
        stage = Stage.DONE if done else Stage.REFUSED
        await audit.add(
            self._store, action, at=self.now(), stage=stage, counts=counts, detail=detail, begun=begun
        )
        return answer

    def _change(self, change: Coroutine[Any, Any, Changed], action: Action | None) -> Changed:
        self._figures.forget()
        return self._ask(self._audited(change, action, tell=_tell_changed))

    def _stop(self, change: Coroutine[Any, Any, bool], action: Action | None) -> bool:
        return self._ask(self._audited(change, action, tell=_tell_stopped))

    def select(self, wanted: Filter) -> Sequence[Entry]:
        return self._ask(self._select(wanted))

    async def _select(self, wanted: Filter) -> Sequence[Entry]:
        looked = await listing.find(self._store, wanted, limit=wanted.limit)
        self._unlooked = looked.note
        return await listing.show(self._store, looked.found[: wanted.limit], requests=bool(wanted.ids))

    def retry(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        change = changes.requeue(event="retried", now=now, agreed=agreed)
        return self._change(changes.change_each(self._store, ids, RETRIABLE, change), action)

    def hold(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        return self._change(changes.change_each(self._store, ids, HOLDABLE, changes.hold(now=now)), action)

    def release(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        change = changes.requeue(event="released", now=now, agreed=agreed)
        return self._change(changes.change_each(self._store, ids, RELEASABLE, change), action)

    def reroute(
        self,
        ids: Sequence[str],
        target: Target,
        *,
        now: datetime,
        agreed: bool = False,
        action: Action | None = None,
    ) -> Changed:
        return self._change(changes.reroute(self._store, ids, target, now=now, agreed=agreed), action)

    def drop(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        return self._change(changes.drop(self._store, ids, now=now), action)

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
        if aging.is_forgotten(await listing.read_mail_items(self._store, found[0].entry.spool_id)):
            return None
        async with open_raw(self._store, found[0].mail, self._folder) as (raw, _):
            return bytes(raw)

    def trace(self, word: str, *, limit: int = 1_000) -> Sequence[Entry]:
        found, self._unlooked = self._ask(questions.trace(self._store, word, limit=limit))
        return found

    def history(self, entry: Entry) -> Sequence[Event]:
        key = key_of(entry.reference)
        found = self._ask(fence.read(self._store, key)) if key else None
        return found.history if found else ()

    def remembered(self, word: str, *, limit: int = 1_000) -> Sequence[Remembered]:
        return self._ask(questions.remembered(self._store, word, limit=limit))

    def find_person(self, word: str) -> FoundPerson:
        return self._ask(erasure.find_person(self._store, word))

    def name_address(self, address: str) -> str:
        return name_address(self._ask(erasure.make_key(self._store)), address)

    def erase(
        self,
        found: FoundPerson,
        *,
        address: str = "",
        now: datetime,  # noqa: ARG002 - the clock of AWS counts
        compact: bool = False,  # noqa: ARG002 - S3 and DynamoDB have no free space of ours
    ) -> Erased:
        return self._ask(erasure.erase(self._store, found, address))

    def counts(self) -> Mapping[State, int]:
        return self._ask(questions.counts(self._store))

    def tally(self, wanted: Filter) -> Mapping[State, int]:
        if replace(wanted, limit=Filter().limit) == Filter():
            self._unlooked = ""
            return self._ask(self._figures.look()).counts()
        found, self._unlooked = self._ask(questions.tally(self._store, wanted))
        return found

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
        seconds = self._config.fleet.lease_seconds
        lease = await Leadership(self._store, lease_seconds=seconds).look(seconds=SECONDS)
        if lease is None or lease.is_released:
            return False
        # A dead leader releases nothing. Instants are those of AWS, and only a sentence depends on it.
        return lease.age_seconds(self._store.clock.microseconds()) < _SILENT_LEASES * seconds

    def disk_full(self) -> bool:
        return False  # S3 has no end

    def bulk(self) -> Bulk:
        return Bulk()

    def oldest_at(self) -> datetime | None:
        return self._ask(self._figures.look()).oldest_at()

    def backlog(self, *, limits: Sequence[timedelta], now: datetime) -> Sequence[Backlog]:
        return self._ask(questions.backlog(self._store, limits=limits, now=now))

    def pause(self, subject: str, *, now: datetime, action: Action | None = None) -> bool:
        return self._stop(control.pause(self._store, subject, now=now), action)

    def resume(self, subject: str, *, action: Action | None = None) -> bool:
        return False if subject == "clock" else self._stop(control.resume(self._store, subject), action)

    def switch(
        self, route: str, *, standby: bool, leaving: str, now: datetime, action: Action | None = None
    ) -> bool:
        change = changes.switch(self._store, route, standby=standby, leaving=leaving, now=now)
        return self._stop(change, action)

    def paused(self) -> Paused:
        return self._ask(control.look(self._store)).paused

    def page(self, wanted: EntryQuery) -> EntryPage:
        return self._ask(self._pages.find(wanted))

    def listed(self, ids: Sequence[str]) -> Sequence[Listed]:
        return self._ask(self._pages.list_named(ids))

    def thread(self, message_ids: Sequence[str], *, contact_id: str = "", limit: int) -> Sequence[Listed]:
        return self._ask(self._pages.list_thread(message_ids, contact_id=contact_id, limit=limit))

    def accepted(self, *, since: datetime) -> int:
        return self._ask(unless_away(self._walk.count(since=to_microseconds(since)), 0))

    def reasons(self) -> Mapping[State, Mapping[str, int]]:
        return self._ask(self._figures.look()).reasons()

    def contacts(self, *, since: datetime) -> int:
        return self._ask(questions.contacts(self._store, since=since))

    def version(self) -> str:
        return self._ask(self._figures.mark())

    def look_seconds(self) -> float:
        return _LOOK_SECONDS

    def unlooked(self) -> str:
        return self._unlooked

    def feed(self) -> tuple[int, int]:
        return 0, 0  # the configuration refuses [events] in a fleet

    def retry_feed(self, *, action: Action | None = None) -> int:  # noqa: ARG002 - as above
        return 0

    def note_action(
        self,
        action: Action,
        *,
        stage: Stage = Stage.DONE,
        counts: Mapping[str, int] | None = None,
        detail: str = "",
        begun: int | None = None,
    ) -> int:
        return self._ask(
            audit.add(
                self._store, action, at=self.now(), stage=stage, counts=counts, detail=detail, begun=begun
            )
        )

    def actions(self, wanted: AuditFilter) -> Sequence[Audited]:
        return self._ask(audit.read(self._store, wanted))

    def nodes(self) -> Sequence[Beat]:
        return self._ask(beats.look(self._store))

    def back_up(self, archive: Path, *, progress: Progress) -> BackedUp:  # noqa: ARG002 - there is no archive
        raise SpoolError(
            "a fleet's spool is kept by AWS, and there is no archive: point-in-time recovery restores the table as it was at "
            "any second of the last 35 days, and a bucket with versions keeps removed octets as old versions; relay fleet "
            "check says whether both are on, and docs/fleet.md what a restored table means for mail that was delivered since"
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


def _tell_changed(changed: Changed) -> tuple[bool, Mapping[str, int], str]:
    counts = {"changed": changed.count, "left": len(changed.left)}
    return bool(changed.count), counts, tell_all_left(changed.left)


def _tell_stopped(changed: bool) -> tuple[bool, Mapping[str, int], str]:
    return changed, {}, "" if changed else "it was so before"
