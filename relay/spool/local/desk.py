"""The operator's view of the local spool (`Desk`): works while the daemon runs, and while it does not.

Owns what an operator may do to an entry: an entry that is under way is never touched. Calls block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from relay.faults import fault_point
from relay.spool.action import Action
from relay.spool.archive import BackedUp, Progress
from relay.spool.audit import Stage, tell_all_left
from relay.spool.change import Changed, Left, Target
from relay.spool.desk import Desk
from relay.spool.doubt import is_too_old
from relay.spool.erasure import Erased, FoundPerson
from relay.spool.local import actions, clock, control, feed, search
from relay.spool.local.backup import back_up
from relay.spool.local.checkpoints import shorten_log
from relay.spool.local.clock import Display
from relay.spool.local.database import check_current, check_in_place
from relay.spool.local.erasing import Erasing
from relay.spool.local.errors import translated
from relay.spool.local.listing import Named, find_named, sort_named
from relay.spool.local.moving import check_settled
from relay.spool.local.outcomes import remember
from relay.spool.local.questions import LocalQuestions
from relay.spool.local.raw import remove_raw
from relay.spool.local.requeue import plan_move, requeue, reroute
from relay.spool.local.retention import Gone, note_dropped, remove_entries
from relay.spool.local.wake import ring
from relay.spool.model import DROPPABLE, HOLDABLE, RELEASABLE, RETRIABLE, State
from relay.spool.pseudonyms import name_address
from relay.spool.records import to_microseconds
from relay.timing import utc_now

Answer = TypeVar("Answer")

#: Entries dropped in one transaction: their octets are overwritten, and that goes through the log.
_DROPS = 200
#: Milliseconds for which readers may keep the log as it is after a drop; writers wait meanwhile.
_READERS_MILLISECONDS = 250


class LocalDesk(LocalQuestions, Desk):
    """The `Desk` over SQLite and files; used from one thread at a time."""

    def retry(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        return self._requeue(ids, RETRIABLE, event="retried", now=now, agreed=agreed, action=action)

    def release(
        self, ids: Sequence[str], *, now: datetime, agreed: bool = False, action: Action | None = None
    ) -> Changed:
        return self._requeue(ids, RELEASABLE, event="released", now=now, agreed=agreed, action=action)

    def reroute(
        self,
        ids: Sequence[str],
        target: Target,
        *,
        now: datetime,
        agreed: bool = False,
        action: Action | None = None,
    ) -> Changed:
        at = to_microseconds(self._read(now))

        def refuse(one: Named) -> Left | None:
            if twin := plan_move(self._connection, one, target).twin:
                return Left(id=one.id, state=one.shown, twin=twin)
            return self._doubt(one) if one.in_doubt_since and not agreed else None

        def change(one: Named) -> None:
            reroute(self._connection, one, target, at=at)

        changed = self._each(ids, RETRIABLE, change, refuse=refuse, action=action)
        ring(self._layout.data_dir)
        return replace(changed, routes=(target.route,) if changed.count else ())

    def hold(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        at = to_microseconds(self._read(now))

        def change(one: Named) -> None:
            self._connection.execute(
                "UPDATE entries SET state = 'held', reason = 'operator', detail = '', updated_at = ? "
                "WHERE entry_id = ?",
                (at, one.entry_id),
            )
            remember(self._connection, one.entry_id, at=at, event="held", reason="operator")

        return self._each(ids, HOLDABLE, change, action=action)

    def drop(self, ids: Sequence[str], *, now: datetime, action: Action | None = None) -> Changed:
        with self._view() as view:
            named, unknown = find_named(view.connection, ids)
        parts: list[Changed] = []
        begun: int | None = None
        for start in range(0, len(named), _DROPS):
            part, begun = self._drop([one.id for one in named[start : start + _DROPS]], now, action, begun)
            parts.append(part)
        if unknown and action is not None:
            left_out = Changed(count=0, left=tuple(Left(id=word, state=None) for word in unknown))
            self._change(lambda: self._note_change(action, left_out, begun=begun))
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

    def _drop(
        self, ids: Sequence[str], now: datetime, action: Action | None, begun: int | None
    ) -> tuple[Changed, int | None]:
        """Drop a part of the entries. Returns the change, and the number of its first row in the audit."""

        def remove() -> tuple[Changed, Gone, int | None]:
            able, changed = sort_named(self._connection, ids, DROPPABLE)
            at = self._read(now)
            note_dropped(self._connection, [one.entry_id for one in able], now=at)
            gone = remove_entries(self._connection, [(one.entry_id, one.mail_id) for one in able])
            return changed, gone, self._note_change(action, changed, begun=begun)

        changed, gone, number = self._change(remove)
        with self._told():
            fault_point("spool.drop.committed")
            for spool_id in gone.filed:
                remove_raw(self._layout.raw_path(spool_id))
        return changed, begun or number

    def erase(self, found: FoundPerson, *, address: str = "", now: datetime, compact: bool = False) -> Erased:
        at = to_microseconds(self._read(now))
        with self._told():
            check_current(self._connection, self._layout.database)
            erasing = Erasing(self._connection, self._layout, self._write_lock, change=self._change)
            return erasing.run(found, address, key=self._key.make(), at=at, compact=compact)

    def name_address(self, address: str) -> str:
        with self._told():
            return name_address(self._key.make(), address)

    def held_by_policy(self) -> int:
        with self._told():
            return search.held_by_policy(self._connection)

    def pause(self, subject: str, *, now: datetime, action: Action | None = None) -> bool:
        return self._switch(lambda: control.pause(self._connection, subject, now=self._read(now)), action)

    def resume(self, subject: str, *, action: Action | None = None) -> bool:
        if subject == "clock":
            doubted = bool(self.clock_step_seconds())

            def trust() -> bool:
                clock.look(self._connection, self._clocks, trusted=True)
                return doubted

            return self._switch(trust, action)
        found = self._switch(lambda: control.resume(self._connection, subject), action)
        ring(self._layout.data_dir)
        return found

    def switch(
        self, route: str, *, standby: bool, leaving: str, now: datetime, action: Action | None = None
    ) -> bool:
        found = self._switch(
            lambda: control.switch(
                self._connection, route, standby=standby, leaving=leaving, now=self._read(now)
            ),
            action,
        )
        ring(self._layout.data_dir)
        return found

    def _switch(self, switch: Callable[[], bool], action: Action | None) -> bool:
        """Stop or start something. Returns whether that changed anything."""

        def run() -> bool:
            changed = switch()
            if action is not None:
                self._add(
                    action,
                    stage=Stage.DONE if changed else Stage.REFUSED,
                    detail="" if changed else "it was so before",
                )
            return changed

        return self._change(run)

    def feed(self) -> tuple[int, int]:
        with self._told():
            return feed.measure(self._connection)

    def retry_feed(self, *, action: Action | None = None) -> int:
        def run() -> int:
            count = feed.retry(self._connection)
            if action is not None:
                stage = Stage.DONE if count else Stage.REFUSED
                self._add(action, stage=stage, counts={"events": count})
            return count

        return self._change(run)

    def note_action(
        self,
        action: Action,
        *,
        stage: Stage = Stage.DONE,
        counts: Mapping[str, int] | None = None,
        detail: str = "",
        begun: int | None = None,
    ) -> int:
        number = self._change(
            lambda: self._add(action, stage=stage, counts=counts, detail=detail, begun=begun)
        )
        fault_point("spool.audit.committed")
        return number

    def _add(
        self,
        action: Action,
        *,
        stage: Stage,
        counts: Mapping[str, int] | None = None,
        detail: str = "",
        begun: int | None = None,
    ) -> int:
        """Append a row within the transaction."""
        state = clock.load(self._connection)
        at = clock.estimate(state, self._clocks) if state else to_microseconds(utc_now())
        return actions.add(
            self._connection, action, at=at, stage=stage, counts=counts, detail=detail, begun=begun
        )

    def _note_change(
        self, action: Action | None, changed: Changed, *, begun: int | None = None
    ) -> int | None:
        """Append the row of a change of entries within its transaction. Returns its number."""
        if action is None:
            return None
        return self._add(
            action,
            stage=Stage.DONE if changed.count else Stage.REFUSED,
            counts={"changed": changed.count, "left": len(changed.left)},
            detail=tell_all_left(changed.left),
            begun=begun,
        )

    def back_up(self, archive: Path, *, progress: Progress) -> BackedUp:
        with self._told():
            check_current(self._connection, self._layout.database)
            check_in_place(self._connection)
            state = clock.load(self._connection)
            at = clock.estimate(state, self._clocks) if state else to_microseconds(utc_now())
        # Not in an operator's words for the spool: it is the archive's disk that may be full.
        with translated(archive):
            return back_up(self._connection, self._layout, archive, at=at, progress=progress)

    def _requeue(
        self,
        ids: Sequence[str],
        states: Sequence[State],
        *,
        event: str,
        now: datetime,
        agreed: bool,
        action: Action | None,
    ) -> Changed:
        read_at = self._read(now)
        at = to_microseconds(read_at)

        def refuse(one: Named) -> Left | None:
            return None if agreed or not is_too_old(one.in_doubt_since, now=read_at) else self._doubt(one)

        def change(one: Named) -> None:
            doubtful = is_too_old(one.in_doubt_since, now=read_at)
            requeue(self._connection, one, at=at, event=event, doubtful=doubtful)

        changed = self._each(ids, states, change, refuse=refuse, action=action)
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
        action: Action | None,
    ) -> Changed:
        def run() -> Changed:
            able, changed = sort_named(self._connection, ids, states)
            left = []
            for one in able:  # one by one: a change may stand in the way of the next
                if (refused := refuse(one)) is not None:
                    left.append(refused)
                else:
                    change(one)
            whole = replace(changed, count=len(able) - len(left), left=(*changed.left, *left))
            self._note_change(action, whole)
            return whole

        changed = self._change(run)
        with self._told():
            fault_point("spool.desk.committed")
        return changed

    def _change(self, change: Callable[[], Answer]) -> Answer:
        """Run a change in a transaction of its own; on a full disk the reserve is released for it, because an
        operator who makes room needs room. Returns its answer.

        Raises:
            SpoolOlderError: the spool belongs to an older relay: it can be read, but not changed.
            SpoolBusyError: its mail is moving at this moment.
        """

        def run() -> Answer:
            with self._told():  # first without the lock, which an older relay may hold for long
                check_current(self._connection, self._layout.database)
            with self._told(), self._write_lock.transaction(self._connection):
                check_current(self._connection, self._layout.database)
                check_settled(self._layout)  # within the lock that a move takes before it reads
                return change()

        return self._reserve.pay(run)
