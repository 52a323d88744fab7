"""The move of mail from a local spool into a fleet's, and back.

Owns the order of its steps, by which no mail is delivered from two places: the local spool is marked before
the first mail moves, so that no daemon begins on it; each mail is removed there once it is in the fleet; and
the mark goes when nothing is owed any more. The same command goes on with a move that was cut short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from relay.config.model import Config
from relay.errors import SpoolBusyError, SpoolCorruptError, SpoolError, SpoolSickError
from relay.faults import fault_point
from relay.spool.action import Action
from relay.spool.archive import Progress
from relay.spool.fleet import control
from relay.spool.fleet.arrival import Arrival
from relay.spool.fleet.cache import find_folder
from relay.spool.fleet.departure import Departure
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.store import Store
from relay.spool.local.arriving import Arriving
from relay.spool.local.clock import read_step
from relay.spool.local.control import read_paused
from relay.spool.local.leaving import Leaving
from relay.spool.local.moving import Moving
from relay.spool.model import Paused, State
from relay.spool.moved import Left, Move, MovedMail
from relay.timing import Clocks

#: Tries of a removal that others come before.
_TRIES: Final = 5


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
    if switched := [name for name in here.standby if name not in paused.standby]:
        raise SpoolError(
            f"{spool.layout.data_dir}: {', '.join(switched)} is switched to its standby here, and not in the fleet: do so "
            "there, too, or switch it back here"
        )
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


async def move_out(
    config: Config, data_dir: Path, *, progress: Progress, action: Action | None, clocks: Clocks
) -> Move:
    """Move all mail of the fleet into a local spool, which is made where there is none. Who moves it holds
    the lead, so nobody delivers meanwhile. What cannot be moved is told as left.

    Raises:
        SpoolBusyError: a node delivers, or a daemon uses the local spool.
        SpoolError: one of the two cannot be used; what was moved until then is moved.
    """
    store = Store(config, clocks=clocks)
    lead = Leadership(store, lease_seconds=config.fleet.lease_seconds)
    try:
        if not (await control.look(store)).paused.intake:
            raise SpoolError(
                f"the fleet takes mail in {store.table}; have it take none first: relay pause intake"
            )
        await _lead(lead, seconds=config.fleet.lease_seconds)
        spool = Moving(data_dir, mark=f"from {store.table}", create=True, clocks=clocks)
        try:
            move = await _move_out(store, spool, lead, config, progress=progress, clocks=clocks)
            if action is not None:
                spool.note(action, counts={"mails": move.mails, "left": len(move.left)}, detail=store.table)
            if not move.left:
                fault_point("fleet.export.empty")
                spool.unmark()
        finally:
            spool.close()
    finally:
        await lead.release()
        await store.close()
    return move


async def _lead(lead: Leadership, *, seconds: float) -> None:
    """Take the lead, which a node that died keeps for one lease.

    Raises:
        SpoolBusyError: a node delivers.
    """
    try:
        await lead.acquire(patience_seconds=2 * seconds + 2)
    except SpoolBusyError as exc:
        raise SpoolBusyError(f"{exc}; stop the nodes of the fleet first") from exc


async def _move_out(
    store: Store, spool: Moving, lead: Leadership, config: Config, *, progress: Progress, clocks: Clocks
) -> Move:
    arriving = Arriving(spool, large_bytes=config.spool.large_message_bytes, clocks=clocks)
    departure = Departure(store, find_folder(spool.layout.data_dir))
    move, found = Move(), True
    try:
        while found and not move.left:  # a node that had not seen the pause has taken one more, perhaps
            found = False
            ids = await departure.list_ids()
            for done, spool_id in enumerate(ids):
                moved = await _take(departure, arriving, lead, spool_id, move, now=store.clock.now)
                found = found or moved
                progress(done + 1, len(ids))
        async for records in departure.read_records():
            arriving.write_records(records)
            move.records += len(records)
    except BaseException:
        if not spool.was_marked and not arriving.has_written:
            spool.unmark()
        raise
    return move


async def _take(
    departure: Departure,
    arriving: Arriving,
    lead: Leadership,
    spool_id: str,
    move: Move,
    *,
    now: Callable[[], datetime],
) -> bool:
    """Bring a mail into the local spool, and remove it from the fleet. Returns False if there is none."""
    for _ in range(_TRIES):
        lead.check()
        try:
            leaving = await departure.read(spool_id, now=now())
        except SpoolCorruptError as exc:
            move.left.append(Left(spool_id, str(exc)))
            return False
        if leaving is None:
            return False
        arriving.write(leaving.mail, leaving.octets, is_part=leaving.is_part)
        fault_point("fleet.export.written")
        lead.check()
        if await departure.remove(leaving):
            fault_point("fleet.export.removed")
            move.mails += 1
            move.owed += sum(entry.state is not State.DONE for entry in leaving.mail.entries)
            return True
    move.left.append(Left(spool_id, "it is changed by others again and again; try it again"))
    return False
