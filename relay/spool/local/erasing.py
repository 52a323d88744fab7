"""The steps of an erasure, around the changes of the tables: files, the log of the database, its free space.

Owns what is done so that the octets of what was removed are nowhere in data_dir. SQLite overwrites what is
deleted (`secure_delete`), but a copy of a row can stay in the free space of a page that was filled anew
(measured: about one mail in 300). So the file is searched for the addresses and Message-IDs that were
removed, and written anew (VACUUM) where one is still there. Calls block; readers go on, and writers wait for
the end of each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import apsw

from relay.domains import normalise_domain
from relay.errors import SpoolError
from relay.faults import fault_point
from relay.spool.erasure import Erased, FoundPerson
from relay.spool.local import actions
from relay.spool.local.checkpoints import shorten_log
from relay.spool.local.database import WriteLock, query
from relay.spool.local.days import forget_domain
from relay.spool.local.erasure import erase_mail, has_domain, needles_of, read_mail
from relay.spool.local.errors import translated
from relay.spool.local.layout import Layout
from relay.spool.local.raw import remove_raw
from relay.spool.local.slices import View
from relay.spool.patterns import name_pattern, whole_address
from relay.spool.pseudonyms import name_address

Answer = TypeVar("Answer")

#: Mails in one transaction: their octets are overwritten, and that goes through the log.
_MAILS = 20
#: Rows of the audit in one transaction.
_ROWS = 200
#: Tries of a quarter of a second to begin the log anew: readers end within half a second (`slices`).
_TRIES, _MILLISECONDS = 20, 250
_CHUNK_BYTES = 1 << 20
#: A database up to this size is written anew while the relay runs: writers wait for a second or two.
_QUICK_BYTES = 256 << 20
_LOG_STAYS = (
    "a reader keeps the log of the database (spool.db-wal), in which what was removed can still be read: run this "
    "again when it has ended (a backup, a sqlite3)"
)
_LARGE = (
    "free space within the database ({mib:,} MiB), or other mail, still holds an address that was removed: --compact "
    "writes it anew; no mail is accepted or delivered meanwhile, and the disk needs room for it twice"
)


class Erasing:
    """An erasure in one spool."""

    def __init__(
        self,
        connection: apsw.Connection,
        layout: Layout,
        write_lock: WriteLock,
        *,
        change: Callable[[Callable[[], object]], object],
    ) -> None:
        """`change` runs a change of the tables in a transaction of its own."""
        self._connection = connection
        self._layout = layout
        self._write_lock = write_lock
        self._change = change
        self._needles: set[bytes] = set()

    def run(self, found: FoundPerson, address: str, *, key: bytes, at: int, compact: bool) -> Erased:
        """Remove all of a person that is not owed; `address` is "" where one mail alone was asked for.
        `compact` writes the database anew where that is needed, whatever its size.
        """
        erased = Erased()
        ids = [mail.spool_id for mail in found.mails]
        for start in range(0, len(ids), _MAILS):
            erased = self._erase_mails(ids[start : start + _MAILS], erased, key=key, at=at)
        if address:
            self._needles |= {form.encode("utf-8", "replace") for form in (address, whole_address(address))}
            erased = replace(
                erased,
                audited=self._rename(address, name_address(key, address)),
                counted=self._forget_domain(address.rpartition("@")[2]),
            )
        return replace(erased, notes=tuple(self._scrub(compact=compact)))

    def _erase_mails(self, ids: Sequence[str], erased: Erased, *, key: bytes, at: int) -> Erased:
        left: list[tuple[str, str]] = []
        filed: list[str] = []
        mails = records = 0

        def remove() -> None:
            nonlocal mails, records
            for spool_id in ids:  # decided on here: an entry may have moved since it was found
                mail = read_mail(self._connection, spool_id)
                if mail is not None and mail.is_owed:
                    left.extend(mail.tell_owed())
                    continue
                self._needles |= needles_of(self._connection, spool_id)
                gone, hidden = erase_mail(self._connection, spool_id, key=key, at=at)
                mails, records = mails + gone.mails, records + hidden
                filed.extend(gone.filed)

        self._change(remove)
        fault_point("spool.erase.committed")
        for spool_id in filed:
            remove_raw(self._layout.raw_path(spool_id))
        return replace(
            erased,
            mails=erased.mails + mails,
            records=erased.records + records,
            left=(*erased.left, *left),
        )

    def _rename(self, address: str, name: str) -> int:
        """Put the name in the place of the address in the audit. Returns the number of rows."""
        pattern = name_pattern(address)
        numbers = actions.find_naming(self._connection, pattern)
        for start in range(0, len(numbers), _ROWS):
            some = numbers[start : start + _ROWS]

            def rename(some: Sequence[int] = some) -> None:
                actions.rename(self._connection, some, pattern, name)

            self._change(rename)
        return len(numbers)

    def _forget_domain(self, domain: str) -> int:
        """Take a domain out of the counts if nobody else of it has written. Returns the number of rows."""
        with translated(), View(self._connection) as view:
            if has_domain(view, domain):
                return 0
        counted = 0

        def forget() -> None:
            nonlocal counted
            counted = forget_domain(self._connection, normalise_domain(domain))

        self._change(forget)
        return counted

    def _scrub(self, *, compact: bool) -> list[str]:
        """See to it that what was removed is in no file any more. Returns sentences about what stays."""
        if not self._truncate():
            return [_LOG_STAYS]
        if not self._needles or not self._is_there():
            return []
        size = self._layout.database.stat().st_size
        if size > _QUICK_BYTES and not compact:
            return [_LARGE.format(mib=size >> 20)]
        try:
            self._write_anew()
        except SpoolError as exc:
            return [
                f"free space within the database may still hold an address, and it was not written anew: {exc}"
            ]
        if not self._truncate():
            return [_LOG_STAYS]
        if self._is_there():
            return ["an address that was removed stands in other mail of the spool, which is not looked into"]
        return []

    def _truncate(self) -> bool:
        """Copy the log into the database and empty it. Returns whether it is empty."""
        return any(
            shorten_log(self._connection, self._write_lock, mode="TRUNCATE", milliseconds=_MILLISECONDS)
            for _ in range(_TRIES)
        )

    def _write_anew(self) -> None:
        with translated(self._layout.database), self._write_lock.held():
            # Its temporary copy holds mail: it belongs where mail lies, and has no name.
            folder = str(self._layout.root).replace("'", "''")
            query(self._connection, f"PRAGMA temp_store_directory = '{folder}'")
            self._connection.execute("VACUUM")

    def _is_there(self) -> bool:
        """Search the file of the database. Returns whether an octet string that was removed is in it."""
        needles = [needle.lower() for needle in self._needles]
        overlap = max(map(len, needles)) - 1
        # By SQLite's own layer: closing the file in another way would end this process's locks of it (fcntl).
        flags = [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0]
        size = self._layout.database.stat().st_size
        with (
            translated(self._layout.database),
            closing(_File("unix", str(self._layout.database), flags)) as file,
        ):
            for start in range(0, size, _CHUNK_BYTES):
                octets = file.xRead(min(_CHUNK_BYTES + overlap, size - start), start).lower()
                if any(needle in octets for needle in needles):
                    return True
        return False


class _File(apsw.VFSFile):
    """A file as SQLite reads it."""

    def close(self) -> None:
        """Close it."""
        self.xClose()
