"""The entries that a leader has under way, in its memory, and the forms of an entry's name.

Never does I/O.
"""

from __future__ import annotations

from relay.spool.fleet import tables
from relay.spool.fleet.records import EntryRecord, MailRecord
from relay.spool.fleet.turns import Waiting
from relay.spool.ids import split_id


class Running:
    """The entries under way, by their references."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[EntryRecord, MailRecord | None]] = {}

    def add(self, entry: EntryRecord, mail: MailRecord | None = None) -> None:
        """Keep an entry as it was written last, with its mail."""
        known = self._entries.get(entry.reference)
        self._entries[entry.reference] = (entry, mail or (known[1] if known else None))

    def end(self, entry: EntryRecord) -> None:
        """Forget an entry that is under way no more."""
        self._entries.pop(entry.reference, None)

    def find(self, reference: str, *, attempts: int) -> tuple[EntryRecord, MailRecord | None] | None:
        """The entry under way under this very attempt. Returns None if it is not."""
        found = self._entries.get(reference)
        return found if found and found[0].attempts == attempts else None

    def entries(self) -> list[EntryRecord]:
        """All of them."""
        return [entry for entry, _ in self._entries.values()]

    def __contains__(self, key: object) -> bool:
        return any(entry.key == key for entry, _ in self._entries.values())


def key_of(reference: str) -> tables.Key | None:
    """The key of the entry with this reference. Returns None if the word is no reference."""
    spool_id, number = split_id(reference)
    return tables.entry_key(spool_id, number) if spool_id and number and number > 0 else None


def reference_of(key: tables.Key) -> str:
    """The reference of the entry with this key."""
    spool_id, number = tables.split_key(key)
    return f"{spool_id}.{number}"


def hint_of(entry: EntryRecord) -> Waiting:
    """The entry as an index would show it."""
    return Waiting(
        key=entry.key,
        route=entry.destination.route,
        priority=entry.priority,
        network=entry.group[0],
        domain=entry.group[1],
        due_at=entry.due_at,
        address=entry.destination.address,
        accepted_at=entry.accepted_at,
        epoch=entry.epoch,
        attempts=entry.attempts,
        reason=entry.reason,
    )
