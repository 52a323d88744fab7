"""The pages of the list of a fleet's entries, newest first, by filters and by words.

Owns where entries are looked for, and how many: what is owed by the index of due entries, all mail by the
walk over S3 (`walk`). Each entry that is looked at costs reads of its mail, of itself and of what is shown of
it, about three units; a page looks at a bounded number of them, and the next one goes on from there. Never
changes an item.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from relay.aws.database import Condition
from relay.spool.fleet import listing, tables
from relay.spool.fleet.figures import Figures
from relay.spool.fleet.heads import Heads
from relay.spool.fleet.listing import Found, read_found
from relay.spool.fleet.matching import fits, fits_shown, fits_text
from relay.spool.fleet.records import join
from relay.spool.fleet.rows import Described, read_described
from relay.spool.fleet.store import Store
from relay.spool.fleet.walk import Walk, is_id, unless_away
from relay.spool.ids import build_reference, split_id, time_of
from relay.spool.model import State
from relay.spool.page import EntryPage, EntryQuery, Listed
from relay.spool.records import from_microseconds

#: Entries that are read together, and those that one page looks at: some 6,000 units of reads.
_TOGETHER: Final = 100
_MOST: Final = 2_000
#: Mails without an outcome whose header one page asks S3 for.
_LOOKS: Final = 300
#: The least characters of an id that is looked for by its beginning.
_ID_CHARACTERS: Final = 6
#: Entries that are listed by their ids, and Message-IDs of a thread.
_LISTED: Final = 100
_THREAD: Final = 50


class Place(NamedTuple):
    """A place in the order of all entries."""

    spool_id: str
    number: int


_FIRST: Final = Place("\x7f", 0)


class Part(NamedTuple):
    """Some entries that follow each other in that order."""

    #: Each with the number of the entry, or None for all entries of the mail.
    wanted: Sequence[tuple[str, int | None]]
    #: Where this part ends: all from there on were looked at.
    end: Place
    is_last: bool


@dataclass(slots=True)
class _Looks:
    """The looks at headers that a page has left, and the entries that had none."""

    left: int
    unread: int = 0


class Pages:
    """The list as one desk shows it."""

    def __init__(
        self,
        store: Store,
        walk: Walk,
        figures: Figures,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._walk = walk
        self._figures = figures
        self._monotonic = monotonic
        self._heads = Heads(store)

    async def find(self, wanted: EntryQuery) -> EntryPage:
        """The newest entries that fit."""
        ends = self._monotonic() + wanted.seconds
        before = _parse_mark(wanted.before)
        rows: list[Described] = []
        looks, looked = _Looks(_LOOKS), 0
        if named := await self._find_named(wanted.words):
            wanted = replace(wanted, words=())
        async for part in self._parts(wanted, before, named):
            for each in await self._look(part, wanted, before, looks):
                rows.append(each)
                if len(rows) >= wanted.limit:
                    return await self._build(rows, more=each.found.entry.reference, unread=looks.unread)
            looked += len(part.wanted)
            if not part.is_last and (looked >= _MOST or self._monotonic() >= ends):
                more = build_reference(*part.end)
                return await self._build(rows, more=more, unread=looks.unread, stopped=part.end)
        return await self._build(rows, unread=looks.unread)

    async def _build(
        self, rows: Sequence[Described], *, more: str = "", unread: int = 0, stopped: Place | None = None
    ) -> EntryPage:
        at = None if stopped is None else time_of(stopped.spool_id)
        return EntryPage(
            rows=await self._list(rows),
            more=more,
            stopped_at=None if at is None else from_microseconds(at),
            unread=unread,
        )

    async def _list(self, rows: Sequence[Described]) -> tuple[Listed, ...]:
        """The rows as they are listed. An entry without its mail is left out."""
        heads = await self._heads.read_all(
            [each.found.mail for each in rows if each.found.mail and not each.document]
        )
        listed: list[Listed] = []
        for each in rows:
            if (mail := each.found.mail) is None:
                continue
            entry = listing.show_one(each.found, join(mail, each.found.entry, request=None))
            listed.append(
                Listed(
                    entry=entry,
                    shown=each.document,
                    head=None if each.document else heads.get(mail.spool_id),
                    accepted_by=mail.node,
                    delivered_by=each.found.entry.leader,
                )
            )
        return tuple(listed)

    # -- Where entries are looked for

    async def _parts(
        self, wanted: EntryQuery, before: Place, named: Sequence[tuple[str, int | None]]
    ) -> AsyncIterator[Part]:
        if named:
            yield _part(named, is_last=True)
        elif wanted.states and State.DONE not in wanted.states:
            async for part in self._owed(wanted, before):
                yield part
        else:
            async for part in self._all(before):
                yield part

    async def _find_named(self, words: Sequence[str]) -> list[tuple[str, int | None]]:
        """The entries whose spool id the only word begins, or whose contact id it is."""
        if len(words) != 1 or len(words[0]) < _ID_CHARACTERS:
            return []
        spool_id, number = split_id(words[0].upper())
        if spool_id.isascii() and spool_id.isalnum():
            found = await unless_away(self._walk.begin_with(spool_id), [])
            ids = [each for each in found if is_id(each) and (number is None or each == spool_id)]
            if ids:
                return [(each, number) for each in ids]
        return await self._find_contact(words[0])

    async def _find_contact(self, word: str) -> list[tuple[str, int | None]]:
        async with self._store.asked() as (database, _):
            items = await database.query_all(
                Condition(text="#cid = :cid", values={"cid": tables.fit_key(word)}),
                index=tables.CONTACT_INDEX,
                limit=_LISTED,
            )
        keys = [(str(item[tables.PARTITION]), str(item[tables.SORT])) for item in items]
        return sorted((tables.split_key(key) for key in keys), reverse=True)

    async def _owed(self, wanted: EntryQuery, before: Place) -> AsyncIterator[Part]:
        """The unfinished entries that may fit: the figures' look at the index says which."""
        owed = sorted(
            (
                place
                for state, reason, hint in (await self._figures.look()).entries
                if state in wanted.states
                and wanted.route in ("", hint.route)
                and (wanted.routes is None or hint.route in wanted.routes)
                and reason.startswith(wanted.reason)
                and (place := _place_at(hint.key)) < before
            ),
            reverse=True,
        )
        for at in range(0, len(owed), _TOGETHER):
            yield _part(owed[at : at + _TOGETHER], is_last=at + _TOGETHER >= len(owed))

    async def _all(self, before: Place) -> AsyncIterator[Part]:
        """The entries of all mail."""
        until = "" if before == _FIRST else before.spool_id
        async for stretch in self._walk.back(until=until):
            # A mail at a mark has other entries before it, if its number says so.
            ids = [each for each in stretch.ids if is_id(each) and Place(each, 1) < before]
            for at in range(0, len(ids), _TOGETHER):
                some = [(each, None) for each in ids[at : at + _TOGETHER]]
                if at + _TOGETHER < len(ids):
                    yield _part(some, is_last=False)
                else:
                    yield Part(some, Place(stretch.since, 0), stretch.is_last)
            if not ids:
                yield Part((), Place(stretch.since, 0), stretch.is_last)

    async def _look(
        self, part: Part, wanted: EntryQuery, before: Place, looks: _Looks
    ) -> Sequence[Described]:
        """Those of a part that fit, newest first."""
        found = await read_found(self._store, part.wanted)
        test = fits(wanted)
        chosen = sorted(
            (each for each in found if _place_of(each) < before and test(each)), key=_place_of, reverse=True
        )
        described = [each for each in await read_described(self._store, chosen) if fits_shown(wanted, each)]
        if not wanted.words:
            return described
        heads = await self._read_heads([each for each in described if not each.has_words], looks)
        return [each for each in described if fits_text(wanted.words, each, heads)]

    async def _read_heads(self, rows: Sequence[Described], looks: _Looks) -> dict[str, str]:
        """The texts of the headers of these mails, as many as the page may still look at."""
        asked = []
        for each in rows:
            mail = each.found.mail
            if mail is None:
                continue
            if self._heads.is_known(mail):
                asked.append(mail)
            elif looks.left > 0:
                looks.left -= 1
                asked.append(mail)
            else:
                looks.unread += 1
        heads = await self._heads.read_all(asked)
        return {key: f"{head.subject} {head.author_name} {head.author}" for key, head in heads.items()}

    # -- Entries by their names

    async def list_named(self, ids: Sequence[str]) -> tuple[Listed, ...]:
        """The entries that these ids name."""
        found, _ = await listing.find_named(self._store, ids)
        newest = sorted(found, key=_place_of, reverse=True)[:_LISTED]
        return await self._list(await read_described(self._store, newest))

    async def list_thread(
        self, message_ids: Sequence[str], *, contact_id: str, limit: int
    ) -> tuple[Listed, ...]:
        """The newest entries of finished mails with these Message-IDs, and that of a contact."""
        wanted: set[tuple[str, int | None]] = set()
        asked = [each for each in dict.fromkeys(message_ids) if each][:_THREAD]
        for ids in await asyncio.gather(*(self._find_mails(each, limit=limit) for each in asked)):
            wanted |= {(each, None) for each in ids}
        if contact_id:
            wanted |= {*await self._find_contact(contact_id)}
        found = await read_found(self._store, sorted(wanted, key=lambda each: each[0]))
        done = {_place_of(each): each for each in found if each.entry.state is State.DONE}
        newest = [done[place] for place in sorted(done, reverse=True)[:limit]]
        return await self._list(await read_described(self._store, newest))

    async def _find_mails(self, message_id: str, *, limit: int) -> list[str]:
        """The newest mails with a Message-ID."""
        mails = Condition(
            text="#mid = :mid AND begins_with(#pk, :mail)",
            values={"mid": tables.fit_key(message_id), "mail": "M#"},
        )
        async with self._store.asked() as (database, _):
            items = await database.query_all(mails, index=tables.MESSAGE_INDEX, limit=limit, backwards=True)
        return [str(item[tables.PARTITION]).removeprefix("M#") for item in items]


def _part(wanted: Sequence[tuple[str, int | None]], *, is_last: bool) -> Part:
    spool_id, number = wanted[-1]
    return Part(wanted, Place(spool_id, number or 0), is_last)


def _place_at(key: tables.Key) -> Place:
    spool_id, number = tables.split_key(key)
    return Place(spool_id, number or 0)


def _place_of(found: Found) -> Place:
    return Place(found.entry.spool_id, found.entry.number)


def _parse_mark(mark: str) -> Place:
    """The place that a mark means; the first of all for a mark of somebody else's making."""
    spool_id, _, number = mark.partition(".")
    if not is_id(spool_id) or not (number.isascii() and number.isdecimal() and len(number) < 10):
        return _FIRST
    return Place(spool_id, int(number))
