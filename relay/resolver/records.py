"""The records of an answer as values: dnspython's objects in, an `Answer` out.

Owns the reading of each type of record. Never asks a server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dns.name

from relay.auth.answers import Answer, RecordType, Status, normalise_name


def _read_addresses(records: Sequence[Any]) -> Answer:
    return Answer(
        status=Status.FOUND, addresses=tuple(ipaddress.ip_address(record.address) for record in records)
    )


def _read_exchanges(records: Sequence[Any]) -> Answer:
    ranked = sorted(records, key=lambda record: record.preference)
    return _name_all(record.exchange for record in ranked)


def _read_pointers(records: Sequence[Any]) -> Answer:
    return _name_all(record.target for record in records)


def _name_all(names: Iterable[dns.name.Name]) -> Answer:
    return Answer(
        status=Status.FOUND,
        names=tuple(text for name in names if (text := _from_wire(name)) is not None),
    )


def _read_texts(records: Sequence[Any]) -> Answer:
    return Answer(status=Status.FOUND, texts=tuple(b"".join(record.strings) for record in records))


def _read_tlsa(records: Sequence[Any]) -> Answer:
    return Answer(
        status=Status.FOUND,
        texts=tuple(bytes((each.usage, each.selector, each.mtype)) + each.cert for each in records),
    )


def _from_wire(name: dns.name.Name) -> str | None:
    """A name as text. Returns None where a dot stands within a label: no host has such a name."""
    labels = name.labels[:-1]
    if any(b"." in label for label in labels):
        return None
    return normalise_name(b".".join(labels).decode("latin-1"))


#: The reader of each type.
READERS: Mapping[RecordType, Callable[[Sequence[Any]], Answer]] = {
    RecordType.A: _read_addresses,
    RecordType.AAAA: _read_addresses,
    RecordType.MX: _read_exchanges,
    RecordType.PTR: _read_pointers,
    RecordType.TXT: _read_texts,
    RecordType.TLSA: _read_tlsa,
}
