"""The import: records of a segment become rows, together with the position up to which they were read.

Owns that both are in one transaction, so a record becomes a mail once, however often an import is cut short.
The rule of duplicates is applied here in the order of the records, whatever a receiver has found before: the
import is the judge. Never opens a connection or a transaction.
"""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import apsw

from relay.envelope import SpoolId
from relay.faults import fault_point
from relay.spool.local.accept import accept, note_confirmed, prepare
from relay.spool.local.database import query
from relay.spool.local.journal.mail import parse_confirmed, parse_mail
from relay.spool.local.journal.record import SECTOR_BYTES, Kind
from relay.spool.local.journal.segments import read_segment
from relay.spool.pseudonyms import FindKey

#: Records of one transaction: receivers and the deliverer's own changes wait for it.
STEP = 512
#: Octets after which a transaction ends: 512 large mails would be held in memory.
_STEP_BYTES = 16 << 20


class Imported(NamedTuple):
    """The result of one step."""

    entries: int
    #: The ids that peers were told of mails that were here already, each with the id of the first.
    aliases: tuple[tuple[SpoolId, SpoolId], ...]
    #: True if there may be more.
    more: bool


_NOTHING = Imported(0, (), more=False)


def import_step(
    connection: apsw.Connection,
    segment: Path,
    *,
    window_microseconds: int,
    find_key: FindKey,
    limit: int = STEP,
) -> Imported:
    """Import the next records of a segment, within the caller's transaction. Window and key are those of
    `accept`.

    Raises:
        SpoolCorruptError: a record is of no form that this relay knows; it stays in the journal.
        SpoolError: the disk does not give its octets.
    """
    generation, at = _read_place(connection, segment.name)
    with read_segment(segment, generation=generation, at=at) as reading:
        if reading is None:
            return _NOTHING
        found, size = [], 0
        for each in islice(reading.records, limit):
            found.append(each)
            size += each.record.size
            if size >= _STEP_BYTES:
                break
    if not found:
        return _NOTHING
    entries, aliases = 0, []
    # In their order: whether a mail without a Message-ID is a retransmission depends on what came between.
    for kind, group in groupby((each.record for each in found), key=lambda record: record.kind):
        if kind is Kind.CONFIRMED:
            note_confirmed(connection, [spool_id for record in group for spool_id in parse_confirmed(record)])
            continue
        mails = [parse_mail(record) for record in group]
        prepared = [prepare(mail, file=None) for mail in mails]
        answers = accept(connection, prepared, window_microseconds=window_microseconds, find_key=find_key)
        entries += sum(answer.entries for answer in answers)
        aliases += [
            (mail.spool_id, answer.receipt.spool_id)
            for mail, answer in zip(mails, answers, strict=True)
            if answer.receipt.duplicate
        ]
    _write_place(connection, segment.name, reading.generation, found[-1].end)
    fault_point("journal.imported")
    return Imported(entries, tuple(aliases), more=len(found) == limit or size >= _STEP_BYTES)


def _read_place(connection: apsw.Connection, segment: str) -> tuple[int | None, int]:
    """The generation of the segment of which something was imported, and the offset behind that."""
    rows = query(connection, "SELECT name, value FROM marks WHERE name GLOB ?", (f"{_name(segment)}*",))
    if not rows:
        return None, SECTOR_BYTES
    name, at = rows[0]
    return int(name.rpartition(".")[2], 16), at


def _write_place(connection: apsw.Connection, segment: str, generation: int, at: int) -> None:
    """Note the position; that of an earlier generation is forgotten."""
    connection.execute("DELETE FROM marks WHERE name GLOB ?", (f"{_name(segment)}*",))
    connection.execute("INSERT INTO marks VALUES (?, ?)", (f"{_name(segment)}{generation:016x}", at))


def _name(segment: str) -> str:
    return f"journal.{segment}."
