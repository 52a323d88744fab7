"""The erasure of a person in the tables: what is there of an address or of one mail, and its removal.

Owns which rows hold a person, and what of the ledger stays: fingerprint, destination, route, token and
contact id, so that a retransmission makes no second contact, with keyed hashes (`relay.spool.pseudonyms`) in
the place of sender, author and tag. A person is who wrote: the author, or the reverse-path. Mail that others
sent to that person, or about them, is not looked into. `erasing` runs the transactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import apsw

from relay.domains import normalise_domain
from relay.envelope import SpoolId
from relay.spool.duplicates import normalise_reverse_path
from relay.spool.erasure import FoundEntry, FoundMail, FoundPerson
from relay.spool.ids import build_reference, mark_of, split_id
from relay.spool.local import actions, addressed
from relay.spool.local.database import query
from relay.spool.local.retention import Gone, remove_entries
from relay.spool.local.shown import SHOWN_STATE
from relay.spool.local.slices import EVER, View
from relay.spool.model import State
from relay.spool.patterns import is_whole, name_pattern, whole_address
from relay.spool.pseudonyms import hide_words, is_name, name_address
from relay.spool.records import from_microseconds, parse_envelope_json

#: Rows of a slice of a walk: some hundredths of a second.
_ROWS = 5_000
#: Mails that are found by the name of an erased person.
_MOST = 1_000_000


def find_person(view: View, word: str, *, key: bytes | None) -> FoundPerson:
    """All that the tables have of an address, of the name of an erased one, of a spool id or of a contact id.

    `key` is that of names, if there is one: the name of an address is "" without it.
    """
    connection = view.connection
    if not is_whole(word):
        named = _find_named(connection, word)
        return FoundPerson(name=word, mails=tuple(_read_mails(connection, named)))
    name = name_address(key, word) if key else ""
    ids = dict.fromkeys(_find_theirs(view, whole_address(word)))
    if name:
        ids |= dict.fromkeys(_find_erased(connection, name))
    audited = len(actions.find_naming(connection, name_pattern(word)))
    return FoundPerson(name=name, mails=tuple(_read_mails(connection, list(ids))), audited=audited)


def _find_named(connection: apsw.Connection, word: str) -> list[str]:
    """The spool ids that an id, a reference, a contact id or a name means."""
    if is_name(word):
        return _find_erased(connection, word)
    spool_id, _ = split_id(word)
    if mark_of(spool_id):
        return [spool_id]
    rows = query(
        connection,
        "SELECT spool_id FROM entries JOIN mails USING (mail_id) WHERE contact_id = ?1 "
        "UNION SELECT spool_id FROM ledger WHERE contact_id = ?1",
        (word,),
    )
    return [row[0] for row in rows]


def _find_erased(connection: apsw.Connection, name: str) -> list[str]:
    return addressed.find(connection, name, limit=_MOST)


def _find_theirs(view: View, wanted: str) -> Iterator[str]:
    """The spool ids of the mails that an address wrote, in the spool and in the ledger, by a walk over
    both.
    """

    def is_theirs(*addresses: object) -> bool:
        return any(
            isinstance(each, str)
            and wanted in {whole_address(each), whole_address(normalise_reverse_path(each))}
            for each in addresses
        )

    connection = view.connection
    connection.create_scalar_function("is_theirs", is_theirs, 2)
    for table, number, fits in (
        ("mails", "mail_id", "is_theirs(reverse_path, author)"),
        ("ledger", "rowid", "erased_at IS NULL AND is_theirs(sender, author)"),
    ):
        yield from _walk(view, table, number, fits)


def _walk(view: View, table: str, number: str, fits: str) -> Iterator[str]:
    """The spool ids of the rows of a table that fit, in slices."""
    last = -1
    while True:
        rows = query(
            view.connection,
            f"SELECT max(n), json_group_array(id) FILTER (WHERE ok) FROM (SELECT {number} AS n, spool_id AS id, "  # noqa: S608 - constants of ours
            f"{fits} AS ok FROM {table} WHERE {number} > ? AND {number} <= ? ORDER BY {number} LIMIT ?)",
            (last, EVER, _ROWS),
        )
        end, found = rows[0]
        if end is None:
            return
        yield from (
            row[0] for row in query(view.connection, "SELECT value FROM json_each(?)", (found or "[]",))
        )
        last = end
        view.breathe()


def has_domain(view: View, domain: str) -> bool:
    """Walk over the spool and its ledger. Returns whether anybody of a domain has written."""
    wanted = normalise_domain(domain)

    def is_there(*addresses: object) -> bool:
        return any(
            isinstance(each, str) and normalise_domain(each.rpartition("@")[2]) == wanted
            for each in addresses
        )

    view.connection.create_scalar_function("is_of_domain", is_there, 2)
    walks = (
        ("mails", "mail_id", "is_of_domain(reverse_path, author)"),
        ("ledger", "rowid", "erased_at IS NULL AND is_of_domain(sender, author)"),
    )
    return any(True for walk in walks for _ in _walk(view, *walk))


def _read_mails(connection: apsw.Connection, ids: list[str]) -> Iterator[FoundMail]:
    """The mails with these ids that there are, oldest first."""
    found = (mail for spool_id in ids if (mail := _read_mail(connection, spool_id)) is not None)
    yield from sorted(found, key=lambda mail: (mail.accepted_at, mail.spool_id))


def _read_mail(connection: apsw.Connection, spool_id: str) -> FoundMail | None:
    entries = query(
        connection,
        f"SELECT entry_id, {SHOWN_STATE}, address, instance_id, contact_id, m.accepted_at, "  # noqa: S608 - constants of ours
        "iif(m.filed OR EXISTS (SELECT 1 FROM raws AS r WHERE r.mail_id = m.mail_id), m.size, 0), envelope "
        "FROM entries AS e JOIN mails AS m USING (mail_id) WHERE spool_id = ? ORDER BY entry_id",
        (spool_id,),
    )
    records = query(
        connection,
        "SELECT address, instance_id, contact_id, accepted_at, erased_at FROM ledger WHERE spool_id = ? ORDER BY rowid",
        (spool_id,),
    )
    if not entries and not records:
        return None
    shown = [
        FoundEntry(
            id=build_reference(spool_id, number),
            state=State(state),
            address=address,
            instance_id=instance_id,
            contact_id=contact_id,
        )
        for number, state, address, instance_id, contact_id, *_ in entries
    ]
    known = {(each.address, each.instance_id, each.contact_id) for each in shown}
    shown += [
        FoundEntry(id=spool_id, state=None, address=address, instance_id=instance_id, contact_id=contact_id)
        for address, instance_id, contact_id, *_ in records
        if (address, instance_id, contact_id) not in known
    ]
    return FoundMail(
        spool_id=SpoolId(spool_id),
        accepted_at=from_microseconds(entries[0][5] if entries else records[0][3]),
        size=entries[0][6] if entries else 0,
        entries=tuple(shown),
        erased=not entries and all(record[4] is not None for record in records),
        attributes=_name_attributes(entries[0][7]) if entries else (),
    )


def _name_attributes(envelope: str) -> tuple[str, ...]:
    """The names of the attributes that handlers had set."""
    with suppress(ValueError):  # a spoiled row is erased as any other
        return tuple(name for name, _ in parse_envelope_json(envelope).attributes)
    return ()


def read_mail(connection: apsw.Connection, spool_id: str) -> FoundMail | None:
    """The mail as it is now. Returns None if nothing is known of it."""
    return _read_mail(connection, spool_id)


def erase_mail(connection: apsw.Connection, spool_id: str, *, key: bytes, at: int) -> tuple[Gone, int]:
    """Remove a mail none of whose entries is owed, and hide the names in its records. Returns what was
    removed, and the number of records.
    """
    rows = query(
        connection,
        "SELECT entry_id, mail_id, reverse_path, author FROM entries JOIN mails USING (mail_id) WHERE spool_id = ?",
        (spool_id,),
    )
    records = query(
        connection,
        "SELECT rowid, sender, author, tag, accepted_at FROM ledger WHERE spool_id = ? AND erased_at IS NULL",
        (spool_id,),
    )
    written = {each for row in rows for each in row[2:] if each}
    written |= {each for _, sender, author, *_ in records for each in (sender, author) if each}
    names = {name_address(key, normalise_reverse_path(each)) for each in written}
    for number, sender, author, tag, accepted_at in records:
        whose = author or sender
        connection.execute(
            "UPDATE ledger SET sender = ?, author = ?, tag = ?, message_id = NULL, erased_at = ? WHERE rowid = ?",
            (
                hide_words(key, sender),
                name_address(key, whose) if whose else None,
                hide_words(key, tag),
                at,
                number,
            ),
        )
        addressed.rename(connection, spool_id, accepted_at=accepted_at, old=written, names=names)
    return remove_entries(connection, [row[:2] for row in rows]), len(records)


def needles_of(connection: apsw.Connection, spool_id: str) -> set[bytes]:
    """Words by which the octets of a mail's rows would be known again: its addresses and its Message-ID."""
    rows = query(
        connection,
        "SELECT reverse_path, author, message_id FROM mails WHERE spool_id = ?1 "
        "UNION SELECT sender, author, message_id FROM ledger WHERE spool_id = ?1 AND erased_at IS NULL",
        (spool_id,),
    )
    return {each.encode("utf-8", "replace") for row in rows for each in row if each}
