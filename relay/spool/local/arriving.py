"""The mail that comes into a local spool out of a fleet's.

Owns how what moves becomes rows. A mail that comes again takes the place of its earlier copy: the move was
cut short, and the fleet knows more of it. Calls block.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from relay.envelope import Destination
from relay.spool.local import addressed
from relay.spool.local.clock import Display
from relay.spool.local.database import query
from relay.spool.local.errors import translated
from relay.spool.local.leaving import KNOWN
from relay.spool.local.moving import Moving
from relay.spool.local.raw import LargeFile, remove_raw
from relay.spool.model import State
from relay.spool.moved import MovedEntry, MovedMail, MovedRecord
from relay.spool.records import build_envelope_json, build_json, from_microseconds, to_microseconds
from relay.timing import Clocks

_MAIL = """
INSERT INTO mails (spool_id, fingerprint, message_id, reverse_path, envelope, results, size, trace_size, trace_sha256,
filed, confirmed, accepted_at, sender, author) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING mail_id
"""
_ENTRY = """
INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, tag, priority, network, domain, state, attempts,
cut_short, due_at, rung, released, token, sent_at, in_doubt_since, contact_id, reason, detail, captured, asked, dropped_at,
accepted_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
RETURNING entry_id
"""
_RECORD = """
INSERT INTO ledger (fingerprint, instance_id, address, spool_id, message_id, confirmed, contact_id, accepted_at, dropped_at,
route, tag, sender, dmarc, token, author, asked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_WAY = "instance_id = ? AND address = ? AND route = ? AND tag = ?"


class Arriving:
    """The way of mail into a spool that nobody uses."""

    def __init__(self, spool: Moving, *, large_bytes: int, clocks: Clocks) -> None:
        self._spool = spool
        self._large_bytes = large_bytes
        #: True if a mail may be here.
        self.has_written = False
        with translated(spool.layout.database):
            self._display = Display(spool.connection, clocks)

    def write(self, mail: MovedMail, octets: bytes, *, is_part: bool) -> None:
        """Write a mail, in place of an earlier copy. `is_part`: entries of that copy which are not among
        these stay, because the fleet has removed them already.
        """
        self.has_written = True
        is_filed = len(octets) > self._large_bytes and not mail.is_gone
        with translated(self._spool.layout.database):
            if is_filed:
                self._write_file(mail, octets)
            with self._spool.write_lock.transaction(self._spool.connection):
                self._write_rows(mail, octets, is_filed=is_filed, is_part=is_part)

    def _write_file(self, mail: MovedMail, octets: bytes) -> None:
        path = self._spool.layout.raw_path(mail.spool_id)
        remove_raw(path)
        file = LargeFile(path)
        file.write(octets)
        file.seal(mail.trace_size)

    def _write_rows(self, mail: MovedMail, octets: bytes, *, is_filed: bool, is_part: bool) -> None:
        connection = self._spool.connection
        kept = self._take_out(mail, is_part=is_part)
        ((mail_id,),) = query(
            connection,
            _MAIL,
            (
                mail.spool_id,
                mail.fingerprint,
                mail.message_id,
                mail.envelope.reverse_path,
                build_envelope_json(mail.envelope),
                build_json(dict(mail.results)),
                mail.size,
                mail.trace_size,
                mail.trace_sha256,
                int(is_filed),
                int(mail.confirmed),
                self._at(mail.accepted_at),
                mail.sender,
                mail.author,
            ),
        )
        connection.executemany(
            "UPDATE entries SET mail_id = ? WHERE entry_id = ?", [(mail_id, each) for each in kept]
        )
        if mail.is_forgotten:
            connection.execute("INSERT INTO forgotten VALUES (?, ?)", (mail_id, int(mail.is_gone)))
        if not is_filed and not mail.is_gone:
            connection.execute("INSERT INTO raws VALUES (?, ?)", (mail_id, octets))
        for entry in mail.entries:
            self._write_entry(connection, mail_id, entry)
        self._write_records(mail.spool_id, mail.records)

    def _take_out(self, mail: MovedMail, *, is_part: bool) -> list[int]:
        """Take an earlier copy out. Returns the entries that stay, of a mail that is written again."""
        connection = self._spool.connection
        found = connection.execute(
            "SELECT mail_id FROM mails WHERE spool_id = ?", (mail.spool_id,)
        ).fetchall()
        kept: list[int] = []
        for (mail_id,) in found:
            if is_part:
                for entry in mail.entries:
                    connection.execute(
                        f"DELETE FROM entries WHERE mail_id = ? AND {_WAY}",  # noqa: S608 - words of ours
                        (mail_id, *_way(entry.destination)),
                    )
                rows = query(connection, "SELECT entry_id FROM entries WHERE mail_id = ?", (mail_id,))
                kept = [int(row[0]) for row in rows]
                connection.execute("PRAGMA defer_foreign_keys = ON")
            else:
                connection.execute("DELETE FROM entries WHERE mail_id = ?", (mail_id,))
            connection.execute("DELETE FROM mails WHERE mail_id = ?", (mail_id,))
        return kept

    def _at(self, at: int) -> int:
        """The instant of the spool's clock that the wall clock shows so."""
        return at if self._display.is_plain else to_microseconds(self._display.read(from_microseconds(at)))

    def _maybe(self, at: int | None) -> int | None:
        return None if at is None else self._at(at)

    def _write_entry(self, connection: apsw.Connection, mail_id: int, entry: MovedEntry) -> None:
        way = entry.destination
        ((entry_id,),) = query(
            connection,
            _ENTRY,
            (
                mail_id,
                way.instance_id,
                way.address,
                build_json(way.forward_paths),
                way.route,
                way.tag,
                entry.priority,
                *entry.group,
                str(entry.state),
                entry.attempts,
                entry.cut_short,
                self._at(entry.due_at),
                str(entry.rung),
                int(entry.released),
                entry.token,
                self._maybe(entry.sent_at),
                self._maybe(entry.in_doubt_since),
                entry.contact_id,
                entry.reason,
                entry.detail,
                None if entry.captured is None else build_json(dict(entry.captured)),
                entry.asked_instance,
                self._maybe(entry.dropped_at),
                self._at(entry.accepted_at),
                self._at(entry.updated_at),
            ),
        )
        if entry.request is not None:
            connection.execute(
                "INSERT INTO requests VALUES (?, ?, ?)",
                (entry_id, entry.request, entry.request_expires_at or 0),
            )
        connection.executemany(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)",
            [
                (entry_id, self._at(to_microseconds(one.at)), one.event, one.attempt, one.reason, one.detail)
                for one in entry.history
            ],
        )
        if (shown := entry.shown) is not None:
            connection.execute("INSERT INTO shown VALUES (?, ?)", (entry_id, shown.document))
            connection.execute(
                "INSERT INTO shown_words VALUES (?, ?, ?, ?)",
                (entry_id, shown.classification, shown.marks, shown.words),
            )
        if entry.state is State.DONE:
            addressed.note(connection, entry_id)

    def write_records(self, records: Sequence[MovedRecord]) -> None:
        """Write records of the ledger, in place of earlier ones of the same mails; those of mails that are
        here came with them.
        """
        by_mail: dict[str, list[MovedRecord]] = {}
        for record in records:
            by_mail.setdefault(record.spool_id, []).append(record)
        with (
            translated(self._spool.layout.database),
            self._spool.write_lock.transaction(self._spool.connection),
        ):
            for spool_id, some in by_mail.items():
                here = "SELECT 1 FROM mails WHERE spool_id = ?"
                if not self._spool.connection.execute(here, (spool_id,)).fetchall():
                    self._write_records(spool_id, some)

    def _write_records(self, spool_id: str, records: Sequence[MovedRecord]) -> None:
        connection = self._spool.connection
        connection.execute(f"DELETE FROM ledger WHERE spool_id = ? AND {KNOWN}", (spool_id,))  # noqa: S608 - words of ours
        connection.executemany(
            _RECORD,
            [
                (
                    each.fingerprint,
                    each.destination.instance_id,
                    each.destination.address,
                    each.spool_id,
                    each.message_id,
                    int(each.confirmed),
                    each.contact_id,
                    self._at(each.accepted_at),
                    self._maybe(each.dropped_at),
                    each.destination.route,
                    each.destination.tag,
                    each.sender,
                    each.dmarc,
                    each.token,
                    each.author,
                    each.asked_instance,
                )
                for each in records
            ],
        )


def _way(destination: Destination) -> tuple[str, str, str, str]:
    return destination.instance_id, destination.address, destination.route, destination.tag
