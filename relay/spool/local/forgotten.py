"""Raw mails that are removed before their entries are, so that the words of a redacted mail stay nowhere.

Owns the table of such mails. Runs within the caller's transaction.
"""

from __future__ import annotations

import apsw

from relay.spool.local.database import query


def forget(connection: apsw.Connection, entry_id: int, *, asked: bool) -> str:
    """Remove the octets of a finished entry's mail, if `asked` for it or for another of the mail's entries,
    and none of them is unfinished. Returns the spool id where a file is to be removed after the commit,
    else "".
    """
    ((mail_id,),) = query(connection, "SELECT mail_id FROM entries WHERE entry_id = ?", (entry_id,))
    # Each outcome passes here, and hardly any mail is one of these.
    if not asked and not query(connection, "SELECT 1 FROM forgotten WHERE mail_id = ?", (mail_id,)):
        return ""
    ((spool_id, filed, waits),) = query(
        connection,
        "SELECT spool_id, filed, EXISTS (SELECT 1 FROM entries AS o WHERE o.mail_id = m.mail_id AND o.state <> 'done') "
        "FROM mails AS m WHERE mail_id = ?",
        (mail_id,),
    )
    connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (mail_id, not waits))
    if waits:
        return ""
    connection.execute("DELETE FROM raws WHERE mail_id = ?", (mail_id,))
    connection.execute("UPDATE mails SET filed = 0 WHERE mail_id = ?", (mail_id,))
    return str(spool_id) if filed else ""


def is_forgotten(connection: apsw.Connection, spool_id: str) -> bool:
    """Returns whether the octets of a mail were removed."""
    return bool(
        query(
            connection,
            "SELECT 1 FROM forgotten JOIN mails USING (mail_id) WHERE spool_id = ? AND gone",
            (spool_id,),
        )
    )
