"""The erasure of a person in a fleet's table and objects: what is there of an address or of one mail, and its
removal.

Owns the key of names, one for all nodes, and what of the ledger stays (`relay.spool.pseudonyms`). The guard
against duplicates stays until its window ends: it holds the fingerprint, the way, and a hash of the sender.
An address is looked for by a read of the whole table, since no index has any. No transaction takes all of it:
what was begun is found again by the same word.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from relay.aws.database import Condition, Put
from relay.aws.values import Item
from relay.domains import normalise_domain
from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError, SpoolSickError
from relay.spool.duplicates import normalise_reverse_path
from relay.spool.erasure import Erased, FoundEntry, FoundMail, FoundPerson
from relay.spool.fleet import audit, days, janitor, tables
from relay.spool.fleet.encoding import build_ledger, parse_entry, parse_ledger, parse_mail
from relay.spool.fleet.listing import MOST, read_mail_items
from relay.spool.fleet.questions import find_mails
from relay.spool.fleet.records import EntryRecord, LedgerRecord, MailRecord
from relay.spool.fleet.store import Store
from relay.spool.ids import mark_of, split_id
from relay.spool.patterns import is_whole, name_pattern, whole_address
from relay.spool.pseudonyms import KEY_BYTES, hide_words, is_name, name_address
from relay.spool.records import from_microseconds, to_microseconds

_KEY: Final = (tables.MEMORY, "address-key")
#: Seconds for which Connect knows a token: a 409 within them is explained by the ledger.
_TOKEN_SECONDS = 7 * 86_400


async def find_key(store: Store) -> bytes | None:
    """The key of names. Returns None if there is none yet."""
    async with store.asked() as (database, _):
        item = await database.get(_KEY)
    text = (item or {}).get("key")
    return bytes.fromhex(text) if isinstance(text, str) else None


async def make_key(store: Store) -> bytes:
    """The key of names, which is made if there is none; of several who make one at once, all get the same."""
    if (key := await find_key(store)) is None:
        fresh: Item = {
            tables.PARTITION: _KEY[0],
            tables.SORT: _KEY[1],
            "key": secrets.token_hex(KEY_BYTES),
        }
        await store.change(Put(item=fresh, condition=Condition(text="attribute_not_exists(#pk)")))
        key = await find_key(store)
    if key is None:
        raise SpoolSickError("fleet: the key of hashed addresses was made, and is not there")
    return key


@dataclass(slots=True, kw_only=True)
class _Scan:
    """All that one reading of the table tells of an address or a name."""

    ids: dict[str, None]
    #: True if somebody else of the address's domain has written.
    has_others: bool = False


async def find_person(store: Store, word: str) -> FoundPerson:
    """All that there is of an address, of the name of an erased one, of a spool id or of a contact id."""
    key = await find_key(store)
    if is_whole(word) or is_name(word):
        ids = list((await _scan(store, word, key=key)).ids)
    elif mark_of(split_id(word)[0]):
        ids = [split_id(word)[0]]
    else:
        ids = [spool_id for spool_id, _ in await find_mails(store, word)]
    mails = [mail for spool_id in dict.fromkeys(ids) if (mail := await _read_mail(store, spool_id))]
    audited = len(await audit.find_naming(store, name_pattern(word))) if is_whole(word) else 0
    name = name_address(key, word) if key and is_whole(word) else word if not is_whole(word) else ""
    ordered = sorted(mails, key=lambda mail: (mail.accepted_at, mail.spool_id))
    return FoundPerson(name=name, mails=tuple(ordered), audited=audited)


async def _scan(store: Store, word: str, *, key: bytes | None) -> _Scan:
    """Read the whole table for an address, or a name."""
    found = _Scan(ids={})
    address = whole_address(word) if is_whole(word) else ""
    name = name_address(key, word) if key and address else word
    domain = normalise_domain(address.rpartition("@")[2])
    async for record in _records(store):
        hidden = isinstance(record, LedgerRecord) and record.erased_at is not None
        written = [each for each in (record.author, record.sender) if each]
        if name in written if hidden else address and any(_is(each, address) for each in written):
            found.ids[record.spool_id] = None
        elif not hidden and domain in {normalise_domain(each.rpartition("@")[2]) for each in written}:
            found.has_others = True
    return found


def _is(written: str, address: str) -> bool:
    return address in {whole_address(written), whole_address(normalise_reverse_path(written))}


async def _records(store: Store) -> AsyncIterator[MailRecord | LedgerRecord]:
    """The mails and the records of the ledger, in no order."""
    wanted = Condition(text="#sk = :mail OR begins_with(#pk, :ledger)", values={"mail": "M", "ledger": "L#"})
    start = None
    while True:
        async with store.asked() as (database, _):
            page = await database.scan(wanted=wanted, start=start)
        for item in page.items:
            try:
                yield parse_mail(item) if item.get(tables.SORT) == "M" else parse_ledger(item)
            except SpoolCorruptError:  # found by its ids, as in every other question
                continue
        start = page.next
        if not start:
            return


async def _read_parts(
    store: Store, spool_id: str
) -> tuple[MailRecord | None, list[EntryRecord], list[LedgerRecord]]:
    """The records of a mail, of its entries and of the ledger. One that cannot be read is left out."""
    wanted = Condition(text="#pk = :pk", values={"pk": f"L#{spool_id}"})
    async with store.asked() as (database, _):
        items = [*await read_mail_items(store, spool_id), *await database.query_all(wanted, limit=MOST)]
    mail: MailRecord | None = None
    entries: list[EntryRecord] = []
    records: list[LedgerRecord] = []
    for item in items:
        try:
            if str(item.get(tables.PARTITION)).startswith("L#"):
                records.append(parse_ledger(item))
            elif item.get(tables.SORT) == "M":
                mail = parse_mail(item)
            else:
                entries.append(parse_entry(item))
        except SpoolCorruptError:
            continue
    return mail, entries, records


async def _read_mail(store: Store, spool_id: str) -> FoundMail | None:
    """The mail as it is now. Returns None if nothing is known of it."""
    mail, entries, records = await _read_parts(store, spool_id)
    if not entries and not records:
        return None
    shown = [
        FoundEntry(
            id=each.reference,
            state=each.state,
            address=each.destination.address,
            instance_id=each.asked_instance or each.destination.instance_id,
            contact_id=each.contact_id,
        )
        for each in entries
    ]
    known = {each.number for each in entries}
    shown += [
        FoundEntry(
            id=spool_id,
            state=None,
            address=each.destination.address,
            instance_id=each.asked_instance or each.destination.instance_id,
            contact_id=each.contact_id,
        )
        for each in records
        if each.number not in known
    ]
    return FoundMail(
        spool_id=SpoolId(spool_id),
        accepted_at=from_microseconds((entries[0] if entries else records[0]).accepted_at),
        size=mail.size if mail is not None else 0,
        entries=tuple(shown),
        erased=not entries and all(each.erased_at is not None for each in records),
        attributes=tuple(name for name, _ in mail.envelope.attributes) if mail is not None else (),
    )


async def erase(store: Store, found: FoundPerson, address: str) -> Erased:
    """Remove the mails that were found, but what is owed, and hide the names in their records."""
    key, now = await make_key(store), to_microseconds(store.clock.now())
    mails = records = 0
    left: list[tuple[str, str]] = []
    for each in found.mails:
        mail = await _read_mail(store, each.spool_id)  # it may have moved since it was found
        if mail is not None and mail.is_owed:
            left.extend(mail.tell_owed())
            continue
        records += await _hide_records(store, each.spool_id, key=key, now=now)
        mails += await janitor.remove_mail(store, each.spool_id)
    erased = Erased(mails=mails, records=records, left=tuple(left))
    if not address:
        return erased
    others = (await _scan(store, address, key=key)).has_others
    return replace(
        erased,
        audited=await audit.rename(store, name_pattern(address), name_address(key, address)),
        counted=0
        if others
        else await days.forget_domain(store, normalise_domain(address.rpartition("@")[2])),
    )


async def _hide_records(store: Store, spool_id: str, *, key: bytes, now: int) -> int:
    """Hide the names in a mail's records of the ledger, which end with its window now. Returns their
    number.
    """
    _, _, records = await _read_parts(store, spool_id)
    open_ = [each for each in records if each.erased_at is None]
    for each in open_:
        whose = each.author or each.sender
        ends = each.accepted_at // 1_000_000 + max(store.window_seconds, _TOKEN_SECONDS)
        hidden = replace(
            each,
            message_id=None,
            sender=hide_words(key, each.sender) or "",
            author=name_address(key, whose) if whose else None,
            destination=replace(each.destination, tag="", forward_paths=()),
            erased_at=now,
            expires=min(each.expires, ends),
        )
        await store.change(Put(item=build_ledger(hidden)))
    return len(open_)
