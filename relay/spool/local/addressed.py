"""The index of addresses: which mails of the ledger were from an address, or for it.

Owns the table `addressed`: 48 bits of the hash of each address, by the day of the mail, so that new rows are
written into few pages. It is written with the ledger's record, not with the acceptance: mail that waits is
found by a walk over what waits. Equal hashes of different addresses are sorted out where the mail itself is
still there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import apsw

from relay.spool.local.database import query
from relay.spool.patterns import whole_address

DAY_MICROSECONDS = 86_400_000_000
_KEY_BYTES = 6

_OF_ENTRY = """
SELECT spool_id, mails.accepted_at, reverse_path, address, forward_paths
FROM entries JOIN mails USING (mail_id) WHERE entry_id = ?
"""


def key_of(address: str) -> int:
    """The number under which an address stands in the index, however it is written."""
    digest = hashlib.sha256(whole_address(address).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:_KEY_BYTES], "big")


def note(connection: apsw.Connection, entry_id: int) -> None:
    """Index an entry that the ledger has learned of."""
    for spool_id, accepted_at, *addresses in query(connection, _OF_ENTRY, (entry_id,)):
        connection.executemany(
            "INSERT OR IGNORE INTO addressed (day, address, spool_id) VALUES (?, ?, ?)",
            ((accepted_at // DAY_MICROSECONDS, key, spool_id) for key in _keys(*addresses)),
        )


def rename(
    connection: apsw.Connection,
    spool_id: str,
    *,
    accepted_at: int,
    old: Iterable[str],
    names: Iterable[str] = (),
) -> None:
    """Have a mail stand in the index under these names, and under the old ones no more."""
    day = accepted_at // DAY_MICROSECONDS
    # By whole keys: a day of the index may have a million rows.
    connection.executemany(
        "DELETE FROM addressed WHERE day = ? AND address = ? AND spool_id = ?",
        ((day, key_of(each), spool_id) for each in old),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO addressed (day, address, spool_id) VALUES (?, ?, ?)",
        ((day, key_of(name), spool_id) for name in names),
    )


def _keys(reverse_path: object, address: object, forward_paths: object) -> set[int]:
    try:
        paths = json.loads(forward_paths) if isinstance(forward_paths, str) else []
    except ValueError:  # a spoiled row is found by its ids
        paths = []
    named: Iterable[object] = (reverse_path, address, *(paths if isinstance(paths, list) else ()))
    return {key_of(each) for each in named if isinstance(each, str) and each}


def find(connection: apsw.Connection, address: str, *, limit: int) -> list[str]:
    """The spool ids of the newest mails from or for an address, the newest day first."""
    found: list[str] = []
    day, key = 1 << 62, key_of(address)
    while len(found) < limit:
        ((before,),) = query(connection, "SELECT max(day) FROM addressed WHERE day < ?", (day,))
        if before is None:
            break
        day = before
        found += (
            row[0]
            for row in query(
                connection,
                "SELECT spool_id FROM addressed WHERE day = ? AND address = ? ORDER BY spool_id DESC LIMIT ?",
                (day, key, limit - len(found)),
            )
        )
    return found


def last_unindexed(connection: apsw.Connection) -> int:
    """The number of the last entry that may have ended before there was an index; 0 if there is none."""
    rows = query(connection, "SELECT value FROM marks WHERE name = 'unaddressed'")
    return int(rows[0][0]) if rows else 1 << 62


def forget(connection: apsw.Connection, *, before: int, limit: int) -> int:
    """Remove rows of the days before that of an instant in microseconds. Returns their number."""
    connection.execute(
        "DELETE FROM addressed WHERE (day, address, spool_id) IN "
        "(SELECT day, address, spool_id FROM addressed WHERE day < ? LIMIT ?)",
        (before // DAY_MICROSECONDS, limit),
    )
    return connection.changes()
