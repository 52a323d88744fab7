"""The pages of the list of all entries, newest first, by filters and by words.

Owns where words are looked for. Entries with an outcome have a narrow row of folded words (`shown_words`),
which is read newest first, a thousand at a time: no order of words has to be kept, so that an outcome writes
one row more and no index, and any part of a word is found, in any script. Others are compared with the
addresses of their rows, and a bounded number of them with a look at their header (`heads`). Never changes a
row. Each page has a time after which it ends where it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import Any, NamedTuple

from relay.spool.ids import split_id
from relay.spool.local.database import query
from relay.spool.local.heads import Heads
from relay.spool.local.listing import SHOWN_LISTED_COLUMNS, read_entries
from relay.spool.local.rows import ENTRY_TABLES
from relay.spool.local.shown import SHOWN_REASON, SHOWN_STATE, find_walks
from relay.spool.local.slices import EVER, View
from relay.spool.model import State
from relay.spool.page import EntryPage, EntryQuery, Listed
from relay.spool.records import from_microseconds

#: Rows of words that are looked at together.
_ROWS = 1_000
#: The least characters of an id that is looked for by its beginning, and the entries that it may mean.
_ID_CHARACTERS = 6
_IDS = 1_000
#: Above every character of an id.
_LAST = "\x7f"
_UNWRITTEN = "NOT EXISTS (SELECT 1 FROM shown_words AS w WHERE w.entry_id = e.entry_id)"
_IN_STATES = f"{SHOWN_STATE} IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants of ours
_SPAN = "e.entry_id > ? AND e.entry_id <= ?"
_WORDS = """
SELECT min(entry_id), group_concat(words, char(10))
FROM (SELECT entry_id, words FROM shown_words WHERE entry_id <= ? ORDER BY entry_id DESC LIMIT ?)
"""
_BY_ID = """
SELECT e.entry_id FROM mails AS m JOIN entries AS e USING (mail_id)
WHERE m.spool_id >= ?1 AND m.spool_id < ?2 AND coalesce(e.entry_id = ?3, 1)
UNION SELECT e.entry_id FROM entries AS e WHERE e.contact_id >= ?4 AND e.contact_id < ?5 LIMIT ?6
"""


class Step(NamedTuple):
    """A step of a walk from the newest entry to the oldest: all from this number on were looked at."""

    number: int
    #: True if the entry of this number fits.
    fits: bool


@dataclass(slots=True, kw_only=True)
class Search:
    """One page that is being looked for."""

    view: View
    wanted: EntryQuery
    heads: Heads
    monotonic: Callable[[], float] = time.monotonic
    _conditions: list[str] = field(default_factory=list)
    _values: list[Any] = field(default_factory=list)

    def run(self) -> EntryPage:
        """Look for the page."""
        self._limit()
        self.heads.begin()
        ends = self.monotonic() + self.wanted.seconds
        found: list[int] = []
        more, stopped = "", None
        for number, fits in merge(*self._walks(), key=lambda step: -step.number):
            if fits and number not in found[-1:]:
                found.append(number)
            if len(found) >= self.wanted.limit:
                more = str(number)
                break
            if self.monotonic() >= ends:
                more, stopped = str(number), number
                break
        rows = query(
            self.view.connection,
            "SELECT accepted_at FROM entries WHERE entry_id >= ? ORDER BY entry_id LIMIT 1",
            (EVER if stopped is None else stopped,),
        )
        return EntryPage(
            rows=read_rows(self.view, self.heads, found),
            more=more,
            stopped_at=from_microseconds(rows[0][0]) if rows else None,
            unread=self.heads.unread,
        )

    @property
    def _last(self) -> int:
        """The number of the first entry that this page may have."""
        before = self.wanted.before
        return int(before) - 1 if before.isascii() and before.isdecimal() and len(before) < 19 else EVER

    def _limit(self) -> None:
        wanted = self.wanted
        if wanted.route:
            self._add("e.route = ?", wanted.route)
        if wanted.routes is not None:
            self._add("e.route IN (SELECT value FROM json_each(?))", json.dumps(wanted.routes))
        if wanted.reason:
            self._add(f"substr({SHOWN_REASON}, 1, length(?)) = ?", wanted.reason, wanted.reason)
        if wanted.classification:
            self._add("w.classification = ?", wanted.classification)
        if wanted.risk:
            self._add("instr(w.marks, ?)", f" risk={wanted.risk} ")
        for name, word in wanted.verdicts:
            self._add(
                "iif(w.marks IS NULL, instr((SELECT results FROM mails WHERE mails.mail_id = e.mail_id), ?), "
                "instr(w.marks, ?))",
                f'"relay_{name}":"{word}"',
                f" {name}={word} ",
            )

    def _add(self, condition: str, *values: str) -> None:
        self._conditions.append(condition)
        self._values += values

    def _walks(self) -> Iterator[Iterator[Step]]:
        wanted, connection = self.wanted, self.view.connection
        if not wanted.words:
            walks = find_walks(connection, wanted.states) if wanted.states else [(None, "true")]
            for _, condition in walks:
                yield self._walk(condition)
            return
        yield self._walk_named()
        yield self._walk_words()
        if wanted.classification or wanted.risk:
            return  # an entry without an outcome has neither
        rows = query(connection, "SELECT value FROM marks WHERE name = 'unshown'")
        oldest = int(rows[0][0]) if rows else EVER
        for state, condition in find_walks(connection, wanted.states):
            yield self._walk_unwritten(condition, last=oldest if state is State.DONE else EVER)

    def _walk(self, condition: str) -> Iterator[Step]:
        """The entries of one walk that fit, without words."""
        where = " AND ".join([condition, *self._conditions, _SPAN])
        for span in self.view.spans_back(condition, last=self._last):
            rows = query(
                self.view.connection,
                "SELECT e.entry_id FROM entries AS e LEFT JOIN shown_words AS w USING (entry_id) "  # noqa: S608 - constants of ours
                f"WHERE {where} ORDER BY e.entry_id DESC LIMIT ?",
                (*self._values, *span, self.wanted.limit),
            )
            yield from (Step(number, fits=True) for (number,) in rows)
            yield Step(span[0] + 1, fits=False)

    def _walk_words(self) -> Iterator[Step]:
        """The entries with an outcome whose rows hold the words."""
        words, states = self.wanted.words, self.wanted.states
        where = " AND ".join(
            [
                "w.entry_id > ? AND w.entry_id <= ?",
                *("instr(w.words, ?)" for _ in words),
                *self._conditions,
                *([_IN_STATES] if states else []),
            ]
        )
        last = self._last
        while True:
            ((first, text),) = query(self.view.connection, _WORDS, (last, _ROWS))
            if first is None:
                return
            if all(word in text for word in words):  # else none of these rows has them
                rows = query(
                    self.view.connection,
                    # CROSS JOIN makes SQLite keep the order: first the narrow rows, of which few fit.
                    "SELECT w.entry_id FROM shown_words AS w CROSS JOIN entries AS e USING (entry_id) "  # noqa: S608 - constants of ours
                    f"WHERE {where} ORDER BY w.entry_id DESC LIMIT ?",
                    (
                        first - 1,
                        last,
                        *words,
                        *self._values,
                        *([json.dumps(states)] if states else []),
                        self.wanted.limit,
                    ),
                )
                yield from (Step(number, fits=True) for (number,) in rows)
            yield Step(first, fits=False)
            last = first - 1
            self.view.breathe()

    def _walk_named(self) -> Iterator[Step]:
        """The entries whose spool id or contact id the only word begins."""
        (word, *others), states = self.wanted.words, self.wanted.states
        if others or len(word) < _ID_CHARACTERS:
            return
        spool_id, number = split_id(word.upper())
        end = spool_id + (_LAST if number is None else "\x01")
        rows = query(self.view.connection, _BY_ID, (spool_id, end, number, word, word + _LAST, _IDS))
        where = " AND ".join(
            [
                "e.entry_id IN (SELECT value FROM json_each(?))",
                "e.entry_id <= ?",
                *self._conditions,
                *([_IN_STATES] if states else []),
            ]
        )
        found = query(
            self.view.connection,
            "SELECT e.entry_id FROM entries AS e LEFT JOIN shown_words AS w USING (entry_id) "  # noqa: S608 - constants of ours
            f"WHERE {where}",
            (
                json.dumps([row[0] for row in rows]),
                self._last,
                *self._values,
                *([json.dumps(states)] if states else []),
            ),
        )
        yield from (Step(number, fits=True) for number in sorted((row[0] for row in found), reverse=True))

    def _walk_unwritten(self, condition: str, *, last: int) -> Iterator[Step]:
        """The entries without an outcome that hold the words."""
        unwritten = f"{condition} AND {_UNWRITTEN}"
        where = " AND ".join([unwritten, *self._conditions, _SPAN])
        for span in self.view.spans_back(unwritten, last=min(last, self._last)):
            rows = query(
                self.view.connection,
                "SELECT e.entry_id, e.updated_at FROM entries AS e LEFT JOIN shown_words AS w USING (entry_id) "  # noqa: S608 - constants of ours
                f"WHERE {where} ORDER BY e.entry_id DESC",
                (*self._values, *span),
            )
            texts = self.heads.read_texts(self.view.connection, rows)
            for number, _ in rows:
                text = texts.get(number, "")
                if all(word in text for word in self.wanted.words):
                    yield Step(number, fits=True)
            yield Step(span[0] + 1, fits=False)


def read_rows(view: View, heads: Heads, numbers: list[int]) -> tuple[Listed, ...]:
    """The entries of these numbers, in their order, with what is shown of each. One that cannot be read is
    left out.
    """
    connection = view.connection
    rows = query(
        connection,
        f"SELECT s.document, m.mail_id, {SHOWN_LISTED_COLUMNS} FROM {ENTRY_TABLES} "  # noqa: S608 - constants of ours
        "LEFT JOIN shown AS s USING (entry_id) WHERE e.entry_id IN (SELECT value FROM json_each(?))",
        (json.dumps(numbers),),
    )
    entries = {entry.entry_id: entry for entry in read_entries(connection, [row[2:] for row in rows])}
    listed: dict[int, Listed] = {}
    for document, mail_id, *row in rows:
        if (entry := entries.get(row[0])) is not None:
            head = heads.read(connection, mail_id) if document is None else None
            listed[row[0]] = Listed(entry=entry, shown=bytes(document or b""), head=head)
    return tuple(listed[number] for number in numbers if number in listed)
