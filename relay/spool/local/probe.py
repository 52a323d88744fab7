"""The probe: whether the spool can be written to now, found out by writing to it.

Owns one write of no meaning, by the way that every mail comes (log, then sync). A disk that takes nothing may answer
every question from memory, so that reading says nothing of it. Never touches a mail.
"""

from __future__ import annotations

from relay.faults import fault_point
from relay.spool.local.errors import translated
from relay.spool.local.layout import Layout
from relay.spool.local.schema import close_database, open_database
from relay.spool.local.write_lock import WriteLock

#: A value that is not there before: SQLite writes no page for one that stays.
_COUNT = "INSERT INTO totals VALUES ('probes', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"


def probe_spool(layout: Layout) -> None:
    """Bring one write to the disk, on a connection of its own. Blocks, as long as the disk does: use a thread.

    Raises:
        SpoolFullError, SpoolSickError: it did not come there.
    """
    connection = open_database(layout.database)
    try:
        gate = WriteLock(layout.gate)
        try:
            with translated():
                with gate.transaction(connection):
                    connection.execute(_COUNT)
                fault_point("spool.probed")
        finally:
            gate.close()
    finally:
        close_database(connection)
