"""The removal of finished mail: what is kept, for how long, and what is removed first when room is short.

Owns the end of S7, and that of the ledger. Runs within the caller's transactions, some rows at a time, so
that receivers never wait long for the write lock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import apsw

from relay.contact.limits import THREAD_DAYS
from relay.spool.local import addressed
from relay.spool.local.database import query
from relay.spool.local.outcomes import REMEMBER
from relay.spool.records import to_microseconds

#: Rows in one transaction, during which no receiver can commit: it takes some milliseconds of processor time.
STEP = 100
#: Octets in one transaction, beside the mail of the last row: removed data is overwritten, and that goes
#: through the log.
_STEP_BYTES = 4 * 1024 * 1024

#: Days for which Connect knows a token: a 409 within them is explained by the ledger.
_TOKEN_DAYS = 7

#: Pages that one transaction gives back: 4 MiB through the log.
_PAGES = 1_000
#: Free pages that are kept for new mail, at least: 64 MiB.
_PAGES_KEPT = 16_000
#: By the index of finished entries, whose order is that of their ends. SQLite itself would take the index of
#: states, and sort all finished entries whether one is due or not.
_OLDEST_DONE = """
SELECT entry_id, mail_id, iif(filed, 0, size) FROM entries INDEXED BY entries_done CROSS JOIN mails USING (mail_id)
WHERE state = 'done' AND updated_at < ? ORDER BY updated_at LIMIT ?
"""

_FINISHED = """
SELECT updated_at, entry_id, route, iif(filed, 0, size)
FROM entries INDEXED BY entries_done CROSS JOIN mails USING (mail_id)
WHERE state = 'done' AND (updated_at, entry_id) > (?, ?) AND updated_at < ? ORDER BY updated_at, entry_id LIMIT ?
"""
#: A place in a walk over finished entries: when one ended, and its number.
Place = tuple[int, int]
BEGINNING: Place = (-1, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The mails whose rows were removed: their number, and the ids of those whose file must go, too."""

    mails: int
    filed: tuple[str, ...]


def expire_done(connection: apsw.Connection, *, before: datetime) -> tuple[bool, Gone]:
    """Remove the oldest finished entries that ended before this instant. Returns whether there may be more,
    and the mails that were removed.
    """
    found = query(connection, _OLDEST_DONE, (to_microseconds(before), STEP))
    rows: list[tuple[int, int]] = []
    octets = 0
    for entry_id, mail_id, size in found:
        if octets > _STEP_BYTES:
            break
        rows.append((entry_id, mail_id))
        octets += size
    return len(rows) == STEP or len(rows) < len(found), remove_entries(connection, rows)


def find_expired(
    connection: apsw.Connection, *, usual: int, own: Mapping[str, int], after: Place
) -> tuple[list[int], Place | None]:
    """The finished entries of one stretch of a walk that ended before the instant of their route in `own`, or
    the `usual` one, in microseconds. Returns them, and the place behind the stretch; None at the end.
    """
    rows = query(connection, _FINISHED, (*after, max(usual, *own.values()), 10 * STEP))
    found: list[int] = []
    octets = 0
    for ended_at, number, route, size in rows:
        after = (ended_at, number)
        if ended_at < own.get(route, usual):
            found.append(number)
            octets += size
        if len(found) == STEP or octets > _STEP_BYTES:
            return found, after
    return found, after if len(rows) == 10 * STEP else None


def remove_done(connection: apsw.Connection, *, found: Sequence[int]) -> Gone:
    """Remove these entries, as far as they are there and finished."""
    rows = query(
        connection,
        "SELECT entry_id, mail_id FROM entries WHERE entry_id IN (SELECT value FROM json_each(?)) AND state = 'done'",
        (json.dumps(list(found)),),
    )
    return remove_entries(connection, rows)


def remove_entries(connection: apsw.Connection, rows: list[tuple[int, int]]) -> Gone:
    """Remove (entry, mail) pairs, and each mail with the last of its entries."""
    filed: list[str] = []
    mails = 0
    connection.executemany("DELETE FROM entries WHERE entry_id = ?", ((entry_id,) for entry_id, _ in rows))
    for mail_id in sorted({mail_id for _, mail_id in rows}):
        for spool_id, is_filed in query(
            connection,
            "DELETE FROM mails WHERE mail_id = ?1 "
            "AND NOT EXISTS (SELECT 1 FROM entries WHERE mail_id = ?1) RETURNING spool_id, filed",
            (mail_id,),
        ):
            mails += 1
            if is_filed:
                filed.append(spool_id)
    return Gone(mails=mails, filed=tuple(filed))


def note_dropped(connection: apsw.Connection, entry_ids: list[int], *, now: datetime) -> None:
    """Have the ledger remember unfinished entries that an operator drops; finished ones are there already."""
    connection.executemany(
        f"{REMEMBER} AND state <> 'done'",
        ((to_microseconds(now), entry_id) for entry_id in entry_ids),
    )
    for entry_id in entry_ids:
        addressed.note(connection, entry_id)


def expire_ledger(connection: apsw.Connection, *, now: datetime, window_hours: float) -> int:
    """Forget records too old to be a duplicate or to continue a conversation. Returns their number."""
    reach = max(timedelta(days=THREAD_DAYS), timedelta(hours=window_hours))
    connection.execute(
        "DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM ledger WHERE accepted_at < ? LIMIT ?)",
        (to_microseconds(now - reach), STEP),
    )
    forgotten = max(connection.changes(), _expire_erased(connection, now=now, window_hours=window_hours))
    return max(forgotten, addressed.forget(connection, before=to_microseconds(now - reach), limit=STEP))


def _expire_erased(connection: apsw.Connection, *, now: datetime, window_hours: float) -> int:
    """Forget the records of erased mail as soon as no retransmission and no 409 can ask for them. Returns
    their number.
    """
    kept = max(timedelta(hours=window_hours), timedelta(days=_TOKEN_DAYS))
    rows = query(
        connection,
        "DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM ledger "
        "WHERE erased_at IS NOT NULL AND accepted_at < ? LIMIT ?) RETURNING spool_id, accepted_at, author",
        (to_microseconds(now - kept), STEP),
    )
    for spool_id, accepted_at, author in rows:
        addressed.rename(connection, spool_id, accepted_at=accepted_at, old=[author] if author else [])
    return len(rows)


def shorten_ledger(
    connection: apsw.Connection, *, now: datetime, most: int, window_hours: float, retain_days: float
) -> int:
    """Forget the oldest records of a ledger that has more than `most`. Returns their number.

    A record stays as long as it keeps a mail from becoming a second contact, explains a 409 of Connect, or
    finds a mail that is still in the spool. Records are numbered as they are written, the oldest first.
    """
    kept = max(timedelta(hours=window_hours), timedelta(days=retain_days), timedelta(days=_TOKEN_DAYS))
    connection.execute(
        "DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM (SELECT rowid, accepted_at FROM ledger "
        "WHERE rowid <= (SELECT max(rowid) FROM ledger) - ?1 ORDER BY rowid LIMIT ?3) WHERE accepted_at < ?2)",
        (most, to_microseconds(now - kept), STEP),
    )
    forgotten = connection.changes()
    ((oldest,),) = query(connection, "SELECT min(accepted_at) FROM ledger")
    if forgotten and oldest is not None:
        addressed.forget(connection, before=oldest, limit=2 * STEP)
    return forgotten


def give_back(connection: apsw.Connection, *, kept: int | None = None) -> bool:
    """Return some of the database's free pages to the disk, if there are more than `kept`. Returns whether
    there are more to return.

    By default 64 MiB are kept, or a quarter of all pages.

    A jam of some days leaves a large file. The relay uses its free pages again, but other programs could not.
    """
    free = connection.pragma("freelist_count")
    if kept is None:
        kept = max(_PAGES_KEPT, connection.pragma("page_count") // 4) - 1
    if free <= kept:
        return False
    query(connection, f"PRAGMA incremental_vacuum({_PAGES})")
    return bool(connection.pragma("freelist_count") < free)
