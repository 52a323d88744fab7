"""The descriptions of entries for the page, written with each outcome: the tables `shown` and `shown_words`.

Owns which description stays. Runs within the transaction of the outcome, so that an outcome is never without
it; the rows go with the entry (ON DELETE CASCADE), and are overwritten as all that is removed. Two rows at
the end of their tables: entries end nearly in the order of their numbers, so outcomes of one group share
pages of the log.
"""

from __future__ import annotations

import apsw

from relay.spool.model import Entry
from relay.spool.page import Shown, join_words, mark_results


def describe(connection: apsw.Connection, entry: Entry, shown: Shown | None, *, ended: bool = False) -> None:
    """Keep a description. Without one the last stays; an entry that has `ended` without any is found by its
    addresses from now on, because finished entries are too many to be looked into.
    """
    if shown is None:
        if ended:
            marks, words = mark_results(entry.results), join_words(entry)
            little = Shown(document=b"", classification="", marks=marks, words=words, whole=False)
            _insert(connection, entry, little)
        return
    _insert(connection, entry, shown)
    connection.execute(
        "INSERT INTO shown (entry_id, document) VALUES (?1, ?2) "
        "ON CONFLICT DO UPDATE SET document = excluded.document WHERE ?3",
        (entry.entry_id, shown.document, shown.whole),
    )


def _insert(connection: apsw.Connection, entry: Entry, shown: Shown) -> None:
    connection.execute(
        "INSERT INTO shown_words (entry_id, classification, marks, words) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT DO UPDATE SET classification = excluded.classification, marks = excluded.marks, "
        "words = excluded.words WHERE ?5",
        (entry.entry_id, shown.classification, shown.marks, shown.words, shown.whole),
    )
