"""The move of mail from a local spool into a fleet's.

Owns the order of its steps, by which no mail is delivered from two places: the local spool is marked before
the first mail moves, so that no daemon begins on it; each mail is removed there once it is in the fleet; and
the mark goes when nothing is owed any more. The same command goes on with a move that was cut short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from relay.config.model import Config
from relay.errors import SpoolError, SpoolSickError
from relay.faults import fault_point
from relay.spool.action import Action
from relay.spool.archive import Progress
from relay.spool.fleet import control
from relay.spool.fleet.arrival import Arrival
from relay.spool.fleet.store import Store
from relay.spool.local.clock import read_step
from relay.spool.local.control import read_paused
from relay.spool.local.leaving import Leaving
from relay.spool.local.moving import Moving
from relay.spool.model import Paused, State
from relay.spool.moved import Left, Move, MovedMail
from relay.timing import Clocks


async def move_in(
    config: Config, data_dir: Path, *, progress: Progress, action: Action | None, clocks: Clocks
) -> Move:
    """Move all mail of a local spool into the fleet's. What cannot be moved is told as left.

    Raises:
        SpoolBusyError: a daemon uses the local spool.
        SpoolError: one of the two cannot be used; what was moved until then is moved.
    """
    store = Store(config, clocks=clocks)
    try:
        paused = (await control.look(store)).paused
        spool = Moving(data_dir, mark=f"to {config.fleet.table}", create=False, clocks=clocks)
        try:
            move = await _move_in(store, spool, paused, progress=progress, clocks=clocks)
            if action is not None:
                spool.note(action, counts={"mails": move.mails, "left": len(move.left)}, detail=store.table)
        finally:
            spool.close()
    finally:
        await store.close()
    return move


async def _move_in(
    store: Store, spool: Moving, paused: Paused, *, progress: Progress, clocks: Clocks
) -> Move:
    move = Move()
    try:
        _check(spool, paused, clocks=clocks)
        leaving, arrival = Leaving(spool, clocks=clocks), Arrival(store)
        mails, records = leaving.count()
        done = 0
        for batch in leaving.read(move.left):
            await _move_batch(leaving, arrival, batch, move)
            done += len(batch)
            progress(done, mails + records)
        for some in leaving.read_records():
            await _gather([arrival.put_record(record) for record in some])
            fault_point("fleet.import.remembered")
            leaving.remove_records(some)
            move.records += len(some)
            progress(done + move.records, mails + records)
    except BaseException:
        if not spool.was_marked and not move.mails + move.known + move.records:
            spool.unmark()
        raise
    if not move.left and not spool.owes():
        fault_point("fleet.import.empty")
        spool.unmark()
    return move


def _check(spool: Moving, paused: Paused, *, clocks: Clocks) -> None:
    """Check that nothing that a person has stopped here would go on in the fleet, and that the clock is
    right.
    """
    here = read_paused(spool.connection)
    stopped = [f"route {name}" for name in here.routes if name not in paused.routes]
    if here.delivery and not paused.delivery:
        stopped.append("delivery")
    if stopped:
        raise SpoolError(
            f"{spool.layout.data_dir}: {', '.join(stopped)} is paused here, and not in the fleet, which would deliver at once: "
            "pause it there, too, or resume it here"
        )
    if step := read_step(spool.layout.database, clocks):
        raise SpoolError(
            f"{spool.layout.data_dir}: the wall clock was set by {step:+,.0f} seconds, and is doubted; relay resume clock"
        )


async def _move_batch(
    leaving: Leaving, arrival: Arrival, batch: Sequence[tuple[int, MovedMail]], move: Move
) -> None:
    """Bring some mails into the fleet, and remove those that are there."""
    results = await asyncio.gather(
        *(_bring(leaving, arrival, mail) for _, mail in batch), return_exceptions=True
    )
    moved: list[tuple[int, MovedMail]] = []
    failure: BaseException | None = None
    for one, result in zip(batch, results, strict=True):
        if isinstance(result, bool):
            moved.append(one)
            move.mails += result
            move.known += not result
            move.owed += sum(entry.state is not State.DONE for entry in one[1].entries) if result else 0
        elif isinstance(result, SpoolError) and not isinstance(result, SpoolSickError):
            move.left.append(Left(one[1].spool_id, str(result)))
        else:
            failure = result
    leaving.remove(moved)
    fault_point("fleet.import.removed")
    if failure is not None:
        raise failure


async def _bring(leaving: Leaving, arrival: Arrival, mail: MovedMail) -> bool:
    """Bring a mail into the fleet. Returns False if it was there."""
    if not mail.entries:
        return False
    octets = b"" if mail.is_gone else await asyncio.to_thread(leaving.read_raw, mail)
    return await arrival.put(mail, octets)


async def _gather(work: Sequence[object]) -> None:
    """Wait for all of some work, and raise the first failure after the last of it has ended."""
    results = await asyncio.gather(*work, return_exceptions=True)  # type: ignore[call-overload]
    for result in results:
        if isinstance(result, BaseException):
            raise result
