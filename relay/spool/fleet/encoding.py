"""The records of a fleet's table as items of plain values, in both directions.

Owns the names of the attributes and how each is read (docs/fleet.md, "The table"). Names are short, because
DynamoDB counts their octets at every write. Attributes that this version does not know stay as they are when
a record is written again: a newer node may have put them there. Never does I/O. An item that cannot be read
is a `SpoolCorruptError`; a value that no item holds is a ValueError.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from relay.aws.values import Item, Value
from relay.envelope import Destination, SpoolId
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader, check_texts
from relay.spool.fleet.records import EntryRecord, GuardRecord, LedgerRecord, MailRecord, StoredRequest
from relay.spool.model import Event, State
from relay.spool.records import (
    build_envelope_json,
    build_json,
    from_microseconds,
    parse_envelope_json,
    to_microseconds,
)
from relay.vocabulary import Rung

#: Octets of an envelope that is stored as it is; a longer one, of hundreds of recipients, is compressed.
_PLAIN_ENVELOPE_BYTES = 8_192
#: The most that is unpacked: 100,000 recipients of 300 octets would be less.
_MOST_ENVELOPE_BYTES = 33_554_432
#: Events kept of an entry, and the characters of each one's detail: an item costs by its size at every write.
HISTORY_LIMIT = 50
EVENT_DETAIL_LIMIT = 200


def _key_of(key: tables.Key) -> dict[str, Value]:
    return {tables.PARTITION: key[0], tables.SORT: key[1], "v": tables.VERSION}


def _whole(item: Mapping[str, Value | None]) -> Item:
    """The item without the attributes that have no value.

    Raises:
        ValueError: a text is none that UTF-8 can write.
    """
    return check_texts({name: value for name, value in item.items() if value is not None})


def build_mail(mail: MailRecord) -> Item:
    """The item of a mail.

    Raises:
        ValueError: no item holds this mail.
    """
    envelope = build_envelope_json(mail.envelope)
    packed = len(envelope) > _PLAIN_ENVELOPE_BYTES
    return _whole(
        {
            **_key_of(tables.mail_key(mail.spool_id)),
            "env": zlib.compress(envelope.encode("utf-8")) if packed else envelope,
            "res": build_json(dict(mail.results)),
            "fp": mail.fingerprint,
            **_message(mail.message_id),
            "size": mail.size,
            "trace": mail.trace_size,
            "tsha": mail.trace_sha256,
            "auth": mail.author,
            "from": mail.sender,
            "n": mail.entries,
            "at": mail.accepted_at,
            "node": mail.node,
            "op": mail.op,
        }
    )


def _message(message_id: str | None) -> dict[str, Value | None]:
    """A Message-ID as a key of the index, and whole where a key cannot hold it."""
    if not message_id:
        return {"mid": None, "midw": message_id}
    key = tables.fit_key(message_id)
    return {"mid": key, "midw": None if key == message_id else message_id}


def parse_mail(item: Item) -> MailRecord:
    """The mail of an item.

    Raises:
        SpoolCorruptError: it is none.
    """
    with Reader(item) as read:
        spool_id, number = read.mail_key()
        if number is not None:
            raise ValueError("it is an entry")
        envelope = read.value("env")
        if isinstance(envelope, bytes):
            envelope = _unpack(envelope)
        if not isinstance(envelope, str):
            raise TypeError("env is no text")
        return MailRecord(
            spool_id=spool_id,
            envelope=parse_envelope_json(envelope),
            results=read.texts("res"),
            fingerprint=read.text("fp"),
            message_id=_read_message(read),
            size=read.number("size"),
            trace_size=read.number("trace"),
            trace_sha256=read.octets("tsha"),
            author=read.maybe_text("auth"),
            sender=read.text("from"),
            entries=read.number("n"),
            accepted_at=read.number("at"),
            node=read.text("node"),
            op=read.text("op"),
        )


def _unpack(octets: bytes) -> str:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(octets, _MOST_ENVELOPE_BYTES)
    if not unpacking.eof:
        raise ValueError("the envelope is cut short, or too long")
    return text.decode("utf-8")


def _read_message(read: Reader) -> str | None:
    whole = read.maybe_text("midw")
    return read.maybe_text("mid") if whole is None else whole


def _build_destination(destination: Destination) -> dict[str, Value | None]:
    return {
        "inst": destination.instance_id,
        "to": destination.address,
        "fwd": json.dumps(destination.forward_paths, ensure_ascii=False, separators=(",", ":")),
        "route": destination.route,
        "tag": destination.tag or None,
    }


def _read_destination(read: Reader) -> Destination:
    return Destination(
        instance_id=read.text("inst"),
        address=read.text("to"),
        forward_paths=tuple(str(path) for path in read.json_list("fwd")),
        route=read.text("route"),
        tag=read.maybe_text("tag") or "",
    )


_ENTRY_ATTRIBUTES = frozenset(
    {"pk", "sk", "v", "inst", "to", "fwd", "route", "tag", "st", "q", "due", "prio", "net", "dom", "at", "upd", "op", "att"}
    | {"epoch", "by", "cut", "lease", "rung", "rel", "tok", "sent", "doubt", "req", "reqsize", "reqsha", "requntil", "contact", "reason"}
    | {"detail", "cap", "drop", "hist", "asked"}
)  # fmt: skip


def build_entry(entry: EntryRecord) -> Item:
    """The item of an entry.

    Raises:
        ValueError: no item holds this entry.
    """
    request = entry.request
    return _whole(
        {
            **entry.rest,
            **_key_of(entry.key),
            **_build_destination(entry.destination),
            "st": entry.state,
            "q": entry.queue,
            "due": None if entry.queue is None else build_instant(entry.due_at),
            "prio": entry.priority,
            "net": entry.group[0],
            "dom": entry.group[1],
            "at": entry.accepted_at,
            "upd": entry.updated_at,
            "op": entry.op,
            "att": entry.attempts,
            "epoch": entry.epoch,
            "by": entry.leader or None,
            "cut": entry.cut_short or None,
            "lease": entry.lease_until,
            "rung": entry.rung,
            "rel": entry.released or None,
            "tok": entry.token,
            "sent": entry.sent_at,
            "doubt": entry.in_doubt_since,
            "req": request.name if request else None,
            "reqsize": request.size if request else None,
            "reqsha": request.sha256 if request else None,
            "requntil": request.expires_at if request else None,
            "contact": entry.contact_id,
            "reason": entry.reason or None,
            "detail": entry.detail or None,
            "cap": None if entry.captured is None else build_json(dict(entry.captured)),
            "asked": entry.asked_instance,
            "drop": entry.dropped_at,
            "hist": _build_history(entry.history) if entry.history else None,
        }
    )


def parse_entry(item: Item) -> EntryRecord:
    """The entry of an item.

    Raises:
        SpoolCorruptError: it is none.
    """
    with Reader(item) as read:
        spool_id, number = read.mail_key()
        if number is None:
            raise ValueError("it is a mail")
        accepted_at, due = read.number("at"), read.maybe_text("due")
        request = read.maybe_text("req")
        captured = read.maybe_text("cap")
        return EntryRecord(
            spool_id=spool_id,
            number=number,
            destination=_read_destination(read),
            state=State(read.text("st")),
            priority=read.number("prio"),
            group=(read.number("net"), read.number("dom")),
            due_at=accepted_at if due is None else parse_instant(due),
            accepted_at=accepted_at,
            updated_at=read.number("upd"),
            op=read.text("op"),
            attempts=read.number("att"),
            epoch=read.number("epoch"),
            leader=read.maybe_text("by") or "",
            cut_short=read.maybe_number("cut") or 0,
            lease_until=read.maybe_number("lease"),
            rung=Rung(read.text("rung")),
            released=read.flag("rel"),
            token=read.maybe_text("tok"),
            sent_at=read.maybe_number("sent"),
            in_doubt_since=read.maybe_number("doubt"),
            request=None
            if request is None
            else StoredRequest(
                name=request,
                size=read.number("reqsize"),
                sha256=read.octets("reqsha"),
                expires_at=read.number("requntil"),
            ),
            contact_id=read.maybe_text("contact"),
            reason=read.maybe_text("reason") or "",
            detail=read.maybe_text("detail") or "",
            captured=None if captured is None else read.texts("cap"),
            asked_instance=read.maybe_text("asked"),
            dropped_at=read.maybe_number("drop"),
            history=_parse_history(read.json_list("hist")) if read.has("hist") else (),
            rest={name: value for name, value in item.items() if name not in _ENTRY_ATTRIBUTES},
        )


def _build_history(history: tuple[Event, ...]) -> str:
    rows = [
        [
            to_microseconds(each.at),
            each.event,
            each.attempt,
            each.reason,
            each.detail[:EVENT_DETAIL_LIMIT],
        ]
        for each in history[-HISTORY_LIMIT:]
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _parse_history(rows: list[Any]) -> tuple[Event, ...]:
    return tuple(
        Event(
            at=from_microseconds(int(at)),
            event=str(event),
            attempt=int(attempt),
            reason=str(reason),
            detail=str(detail),
        )
        for at, event, attempt, reason, detail in rows
    )


def build_instant(microseconds: int) -> str:
    """An instant as a key, which sorts by time. An instant before 1970 counts as 1970."""
    return f"{min(max(microseconds, 0), 10**tables.INSTANT_DIGITS - 1):0{tables.INSTANT_DIGITS}d}"


def parse_instant(key: str) -> int:
    """The instant of a key.

    Raises:
        ValueError: it is none.
    """
    if len(key) != tables.INSTANT_DIGITS or not (key.isascii() and key.isdecimal()):
        raise ValueError(f"{key!r} is no instant")
    return int(key)


def build_guard(guard: GuardRecord) -> Item:
    """The item of a guard."""
    return _whole(
        {
            **_key_of(guard.key),
            "sid": guard.spool_id,
            "n": guard.number,
            "at": guard.accepted_at,
            "dmarc": guard.dmarc or None,
            "confirmed": guard.confirmed or None,
            tables.EXPIRES: guard.expires,
        }
    )


def parse_guard(item: Item) -> GuardRecord:
    """The guard of an item.

    Raises:
        SpoolCorruptError: it is none.
    """
    with Reader(item) as read:
        return GuardRecord(
            key=(read.text(tables.PARTITION), read.text(tables.SORT)),
            spool_id=SpoolId(read.text("sid")),
            number=read.number("n"),
            accepted_at=read.number("at"),
            dmarc=read.maybe_text("dmarc") or "",
            confirmed=read.flag("confirmed"),
            expires=read.number(tables.EXPIRES),
        )


def build_ledger(record: LedgerRecord) -> Item:
    """The item of a record of the ledger."""
    return _whole(
        {
            **_key_of(tables.ledger_key(record.spool_id, record.number)),
            **_build_destination(record.destination),
            **_message(record.message_id),
            "auth": record.author,
            "from": record.sender,
            "tok": record.token,
            "cid": record.contact_id,
            "at": record.accepted_at,
            "drop": record.dropped_at,
            "asked": record.asked_instance,
            "erased": record.erased_at,
            tables.EXPIRES: record.expires,
        }
    )


def parse_ledger(item: Item) -> LedgerRecord:
    """The ledger's record of an item.

    Raises:
        SpoolCorruptError: it is none.
    """
    with Reader(item) as read:
        spool_id, number = read.mail_key()
        if number is None:
            raise ValueError("it is a mail")
        return LedgerRecord(
            spool_id=spool_id,
            number=number,
            destination=_read_destination(read),
            message_id=_read_message(read),
            author=read.maybe_text("auth"),
            sender=read.text("from"),
            token=read.maybe_text("tok"),
            contact_id=read.maybe_text("cid"),
            accepted_at=read.number("at"),
            dropped_at=read.maybe_number("drop"),
            asked_instance=read.maybe_text("asked"),
            erased_at=read.maybe_number("erased"),
            expires=read.number(tables.EXPIRES),
        )
