"""The mail that leaves a local spool: read as values, and removed once it is elsewhere.

Owns how rows become what moves. What is owed leaves first. Calls block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from relay.envelope import Destination, SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.duplicates import normalise_reverse_path
from relay.spool.local.claims import return_leases
from relay.spool.local.clock import Display
from relay.spool.local.errors import translated
from relay.spool.local.moving import Moving
from relay.spool.local.raw import open_raw, remove_raw
from relay.spool.local.rows import ENTRY_COLUMNS, ENTRY_TABLES, parse_entry
from relay.spool.model import Event
from relay.spool.moved import Left, MovedEntry, MovedMail, MovedRecord
from relay.spool.page import Shown
from relay.spool.records import from_microseconds, parse_envelope_json, to_microseconds
from relay.timing import Clocks

#: Mails that are read together, and octets after which no further one is.
BATCH = 16
_BATCH_BYTES = 33_554_432
#: Records of the ledger that are read together.
_RECORDS = 100
_OWES = "EXISTS (SELECT 1 FROM entries AS e WHERE e.mail_id = m.mail_id AND e.state <> 'done')"
_MAILS = f"""
SELECT mail_id, size FROM (SELECT mail_id, size, {_OWES} AS owed FROM mails AS m) ORDER BY owed DESC, mail_id
"""  # noqa: S608 - words of ours
_MAIL = """
SELECT spool_id, envelope, results, fingerprint, message_id, size, trace_size, trace_sha256, author, sender, accepted_at,
confirmed, gone FROM mails LEFT JOIN forgotten USING (mail_id) WHERE mail_id = ?
"""
_ENTRIES = f"""
SELECT {ENTRY_COLUMNS}, e.priority, e.network, e.domain, e.sent_at, e.dropped_at FROM {ENTRY_TABLES}
WHERE e.mail_id = ? ORDER BY e.entry_id
"""  # noqa: S608 - words of ours
_HISTORY = "SELECT at, event, attempt, reason, detail FROM history WHERE entry_id = ? ORDER BY rowid"
_SHOWN = """
SELECT document, classification, marks, words FROM shown JOIN shown_words USING (entry_id) WHERE entry_id = ?
"""
_RECORD = (
    "spool_id, fingerprint, instance_id, address, route, tag, message_id, confirmed, token, contact_id, "
    "accepted_at, dropped_at, author, sender, dmarc, asked"
)
#: Records that say by which way the mail went; those of an earlier version do not, and stay.
KNOWN = "route IS NOT NULL AND tag IS NOT NULL AND sender IS NOT NULL"


class Leaving:
    """The mail of a spool that nobody uses."""

    def __init__(self, spool: Moving, *, clocks: Clocks) -> None:
        self._spool = spool
        with translated(spool.layout.database):
            # Nobody has anything under way here, and nothing that stays is closed to an operator.
            with spool.write_lock.transaction(spool.connection):
                return_leases(spool.connection, now=from_microseconds(spool.now()), everyone=True)
            self._display = Display(spool.connection, clocks)

    def count(self) -> tuple[int, int]:
        """The number of mails, and that of records of the ledger."""
        (row,) = self._spool.ask(
            f"SELECT (SELECT count(*) FROM mails), (SELECT count(*) FROM ledger WHERE {KNOWN})"  # noqa: S608
        )
        return int(row[0]), int(row[1])

    def read(self, left: list[Left]) -> Iterator[list[tuple[int, MovedMail]]]:
        """All mails with their numbers, some at a time. One that cannot be read is added to those left."""
        batch: list[tuple[int, MovedMail]] = []
        octets = 0
        for mail_id, size in self._spool.ask(_MAILS):
            try:
                batch.append((mail_id, self._read_mail(mail_id)))
            except SpoolCorruptError as exc:
                left.append(Left(str(self._spool_id(mail_id)), str(exc)))
                continue
            octets += size
            if len(batch) == BATCH or octets > _BATCH_BYTES:
                yield batch
                batch, octets = [], 0
        if batch:
            yield batch

    def _spool_id(self, mail_id: int) -> object:
        return self._spool.ask("SELECT spool_id FROM mails WHERE mail_id = ?", (mail_id,))[0][0]

    def _read_mail(self, mail_id: int) -> MovedMail:
        ((*facts, gone),) = self._spool.ask(_MAIL, (mail_id,))
        entries = tuple(self._read_entry(row) for row in self._spool.ask(_ENTRIES, (mail_id,)))
        try:
            return self._build_mail(facts, entries, gone=gone)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
            raise SpoolCorruptError(f"mail {facts[0]} cannot be read: {exc}") from exc

    def _build_mail(
        self, facts: Sequence[Any], entries: tuple[MovedEntry, ...], *, gone: int | None
    ) -> MovedMail:
        (
            spool_id,
            envelope,
            results,
            fingerprint,
            message_id,
            *sizes,
            author,
            sender,
            accepted_at,
            confirmed,
        ) = facts
        read = parse_envelope_json(envelope)
        return MovedMail(
            spool_id=SpoolId(spool_id),
            envelope=read,
            results={str(name): str(value) for name, value in json.loads(results).items()},
            fingerprint=fingerprint,
            message_id=message_id,
            size=sizes[0],
            trace_size=sizes[1],
            trace_sha256=sizes[2],
            author=author,
            sender=normalise_reverse_path(read.reverse_path) if sender is None else sender,
            accepted_at=self._shown(accepted_at),
            confirmed=bool(confirmed),
            is_forgotten=gone is not None,
            is_gone=bool(gone),
            entries=entries,
            records=self._read_records(spool_id, entries),
        )

    def _shown(self, at: int) -> int:
        """The instant that the wall clock showed."""
        return at if self._display.is_plain else to_microseconds(self._display.show(from_microseconds(at)))

    def _shown_maybe(self, at: int | None) -> int | None:
        return None if at is None else self._shown(at)

    def _read_entry(self, row: Sequence[Any]) -> MovedEntry:
        *columns, priority, network, domain, sent_at, dropped_at = row
        entry = parse_entry(columns)
        accepted_at = to_microseconds(entry.accepted_at)
        doubt = entry.in_doubt_since
        try:
            history = self._read_history(entry.entry_id)
        except (ValueError, TypeError, OverflowError) as exc:
            raise SpoolCorruptError(f"the history of {entry.reference} cannot be read: {exc}") from exc
        return MovedEntry(
            number=entry.entry_id,
            destination=entry.destination,
            state=entry.state,
            priority=priority,
            group=(network, domain),
            due_at=self._shown(to_microseconds(entry.next_attempt_at)),
            accepted_at=self._shown(accepted_at),
            updated_at=self._shown(to_microseconds(entry.updated_at)),
            attempts=entry.attempts,
            cut_short=entry.cut_short,
            rung=entry.rung,
            released=entry.released,
            token=entry.token,
            sent_at=self._shown_maybe(accepted_at if sent_at is None and entry.sent else sent_at),
            in_doubt_since=self._shown_maybe(None if doubt is None else to_microseconds(doubt)),
            request=entry.request,
            # The end of URLs is an instant of S3's clock.
            request_expires_at=None
            if entry.request_expires_at is None
            else to_microseconds(entry.request_expires_at),
            contact_id=entry.contact_id,
            reason=entry.reason,
            detail=entry.detail,
            captured=entry.captured,
            asked_instance=entry.asked_instance,
            dropped_at=self._shown_maybe(dropped_at),
            history=history,
            shown=self._read_shown(entry.entry_id),
        )

    def _read_history(self, entry_id: int) -> tuple[Event, ...]:
        return tuple(
            Event(
                at=from_microseconds(self._shown(at)),
                event=event,
                attempt=attempt,
                reason=reason,
                detail=detail,
            )
            for at, event, attempt, reason, detail in self._spool.ask(_HISTORY, (entry_id,))
        )

    def _read_shown(self, entry_id: int) -> Shown | None:
        for document, classification, marks, words in self._spool.ask(_SHOWN, (entry_id,)):
            return Shown(document=document, classification=classification, marks=marks, words=words)
        return None

    def _read_records(self, spool_id: str, entries: Sequence[MovedEntry]) -> tuple[MovedRecord, ...]:
        """The records of a mail, each with the number of its entry where that is there."""
        found = [
            self._parse_record(row)
            for row in self._spool.ask(
                f"SELECT {_RECORD} FROM ledger WHERE spool_id = ? AND {KNOWN} ORDER BY rowid",  # noqa: S608
                (spool_id,),
            )
        ]
        numbers = {_way(entry.destination): entry.number for entry in entries}
        # Those without an entry have numbers of their own, below those of any entry.
        return tuple(
            replace(record, number=numbers.pop(_way(record.destination), 0) or -place)
            for place, record in enumerate(found, 1)
        )

    def _parse_record(self, row: Sequence[Any]) -> MovedRecord:
        spool_id, fingerprint, instance_id, address, route, tag, message_id, confirmed, token, contact_id = (
            row[:10]
        )
        accepted_at, dropped_at, author, sender, dmarc, asked = row[10:]
        return MovedRecord(
            spool_id=SpoolId(spool_id),
            number=0,
            fingerprint=fingerprint,
            destination=Destination(
                instance_id=instance_id, address=address, forward_paths=(), route=route, tag=tag
            ),
            message_id=message_id,
            confirmed=bool(confirmed),
            token=token,
            contact_id=contact_id,
            asked_instance=asked,
            accepted_at=self._shown(accepted_at),
            dropped_at=self._shown_maybe(dropped_at),
            author=author,
            sender=sender,
            dmarc=dmarc or "",
        )

    def read_raw(self, mail: MovedMail) -> bytes:
        """The octets of a mail, checked.

        Raises:
            SpoolCorruptError: they are missing, or not what was accepted.
        """
        with open_raw(self._spool.readers, self._spool.layout, mail.spool_id) as view:
            return bytes(view)

    def remove(self, mails: Sequence[tuple[int, MovedMail]]) -> None:
        """Remove mails that are elsewhere now, with their entries and records."""
        connection = self._spool.connection
        filed: list[str] = []
        with translated(self._spool.layout.database), self._spool.write_lock.transaction(connection):
            for mail_id, mail in mails:
                connection.execute("DELETE FROM entries WHERE mail_id = ?", (mail_id,))
                rows = connection.execute(
                    "DELETE FROM mails WHERE mail_id = ? RETURNING filed", (mail_id,)
                ).fetchall()
                connection.execute(
                    f"DELETE FROM ledger WHERE spool_id = ? AND {KNOWN}",  # noqa: S608 - words of ours
                    (mail.spool_id,),
                )
                filed += [mail.spool_id for (is_filed,) in rows if is_filed]
        for spool_id in filed:
            remove_raw(self._spool.layout.raw_path(spool_id))

    def read_records(self) -> Iterator[list[MovedRecord]]:
        """The records of mails that are gone, some mails at a time; those of a batch must be removed before
        the next.
        """
        while ids := [
            row[0]
            for row in self._spool.ask(
                f"SELECT DISTINCT spool_id FROM ledger WHERE {KNOWN} "  # noqa: S608 - words of ours
                "AND spool_id NOT IN (SELECT spool_id FROM mails) LIMIT ?",
                (_RECORDS,),
            )
        ]:
            yield [
                replace(record, number=-record.number)
                for spool_id in ids
                for record in self._read_records(spool_id, ())
            ]

    def remove_records(self, records: Sequence[MovedRecord]) -> None:
        """Remove records that are elsewhere now."""
        connection = self._spool.connection
        with translated(self._spool.layout.database), self._spool.write_lock.transaction(connection):
            for spool_id in {record.spool_id for record in records}:
                connection.execute(
                    f"DELETE FROM ledger WHERE spool_id = ? AND {KNOWN}",  # noqa: S608 - words of ours
                    (spool_id,),
                )


def _way(destination: Destination) -> tuple[str, str, str, str]:
    return destination.instance_id, destination.address, destination.route, destination.tag
