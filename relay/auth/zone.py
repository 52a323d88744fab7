"""A zone file as resolver: DNS from one JSON object, for `relay explain --dns` and for tests.

    {"example.com": {"TXT": ["v=spf1 -all", ["two ", "strings"]], "MX": ["10 a.example"], "A": "TIMEOUT"},
     "away.example": {"*": "SERVFAIL"}, "www.example.com": {"CNAME": ["example.com"]}}

Owns the form of the file. An inner list is one record of several strings; a character up to U+00FF is one
octet (one above stands for its octets in UTF-8); names have neither case nor a final dot. A name that is
there without the type is NODATA, one that is not there does not exist. TIMEOUT and SERVFAIL stand for every
failure; `*` is every type that has no line of its own. Types that the relay never asks for are passed over.
CNAMEs are followed, at most 16. Never touches a file or the network.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from relay.auth.answers import NODATA, NXDOMAIN, Answer, RecordType, Status, build_temperror, normalise_name
from relay.domains import encode_domain

CHAIN = 16  # CNAMEs in a row, as dnspython and BIND follow
_ANY, _CNAME = "*", "CNAME"
_FAILURES = {"TIMEOUT": "no server answered in time", "SERVFAIL": "the server failed"}
_FORM = 'write {"name": {"TXT": ["text"], "A": ["192.0.2.1"], "MX": ["10 host"], "*": "TIMEOUT"}}'


class ZoneResolver:
    """A resolver that knows a zone and nothing else."""

    def __init__(self, zone: Mapping[str, Any]) -> None:
        """Read a zone in the form of the file.

        Raises:
            ValueError: the zone has another form; the sentence says where.
        """
        self._zone: dict[str, dict[str, Answer]] = {}
        for name, types in zone.items():  # which may stand there in several spellings
            read = _read_types(name, types)
            for spelled in _read_names_of(name):
                self._zone.setdefault(spelled, {}).update(read)

    async def query(self, name: str, kind: RecordType) -> Answer:
        """The answer of the zone."""
        asked = normalise_name(name)
        for _ in range(CHAIN):
            types = self._zone.get(asked)
            if types is None:
                return NXDOMAIN
            if (found := types.get(kind)) is not None:
                return found
            alias = types.get(_CNAME)
            if alias is None or alias.status is not Status.FOUND:
                return types.get(_ANY, alias or NODATA)
            asked = alias.names[0]
        return build_temperror("a chain of CNAMEs has no end")


def parse_zone(octets: bytes) -> ZoneResolver:
    """The resolver of a zone file.

    Raises:
        ValueError: the octets are no such file; the sentence says where, and the form that is right.
    """
    try:
        zone = json.loads(octets)
    except (ValueError, RecursionError):
        raise ValueError(f"the zone is no JSON in UTF-8; {_FORM}") from None
    if not isinstance(zone, dict):
        raise ValueError(f"the zone is no JSON object; {_FORM}")  # noqa: TRY004 - the file is wrong, not our code
    return ZoneResolver(zone)


def _read_names_of(name: str) -> tuple[str, ...]:
    """The names that a name of the file means: `münchen.example` is one of octets, and one of A-labels."""
    octets, encoded = _read_name(name), None if name.isascii() else encode_domain(name)
    return (octets,) if encoded is None else (octets, normalise_name(encoded))


def _read_name(name: str) -> str:
    """A name of the file; one that octets cannot spell is an internationalised name."""
    spelled = name if all(character <= "\xff" for character in name) else encode_domain(name) or name
    return normalise_name(spelled)


def _read_types(name: str, types: Any) -> Mapping[str, Answer]:
    if not isinstance(types, dict):
        raise ValueError(f"the zone has no object of types at {name!a}; {_FORM}")  # noqa: TRY004 - see above
    return {
        kind.upper(): answer
        for kind, records in types.items()
        if (answer := _read_answer(name, kind.upper(), records)) is not None
    }


def _read_answer(name: str, kind: str, records: Any) -> Answer | None:
    """The answer for one type of a name. Returns None for a type that the relay never asks for."""
    if isinstance(records, str) and records.upper() in _FAILURES:
        return build_temperror(_FAILURES[records.upper()])
    read = _READERS.get(kind)
    if read is None:
        return None
    if not isinstance(records, list):
        raise ValueError(  # noqa: TRY004 - see above
            f'the zone has neither a list of records nor "TIMEOUT" or "SERVFAIL" at {name!a}, {kind}; {_FORM}'
        )
    if not records:
        return NODATA
    try:
        texts = [_join(record) for record in records]
        return replace(read(texts), status=Status.FOUND)
    except ValueError:
        raise ValueError(f"the zone has a record that is none at {name!a}, {kind}; {_FORM}") from None


def _join(record: Any) -> str:
    strings = record if isinstance(record, list) else [record]
    if not all(isinstance(string, str) for string in strings):
        raise ValueError
    return "".join(strings)


def _read_texts(records: list[str]) -> Answer:
    return Answer(status=Status.FOUND, texts=tuple(map(_to_octets, records)))


def _to_octets(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return b"".join(
            character.encode("latin-1" if character <= "\xff" else "utf-8", "replace") for character in text
        )


def _read_ipv4(records: list[str]) -> Answer:
    return Answer(status=Status.FOUND, addresses=tuple(map(ipaddress.IPv4Address, records)))


def _read_ipv6(records: list[str]) -> Answer:
    return Answer(status=Status.FOUND, addresses=tuple(map(ipaddress.IPv6Address, records)))


def _read_names(records: list[str]) -> Answer:
    return Answer(status=Status.FOUND, names=tuple(map(_read_name, records)))


def _read_exchanges(records: list[str]) -> Answer:
    pairs = [record.strip().partition(" ") for record in records]
    ranked = sorted((int(preference), at, host.strip()) for at, (preference, _, host) in enumerate(pairs))
    return Answer(status=Status.FOUND, names=tuple(_read_name(host) for *_, host in ranked))


def _read_tlsa(records: list[str]) -> Answer:
    fields = [record.split(None, 3) for record in records]
    return Answer(
        status=Status.FOUND,
        texts=tuple(bytes(map(int, numbers)) + bytes.fromhex(data) for *numbers, data in fields),
    )


_READERS: Mapping[str, Callable[[list[str]], Answer]] = {
    RecordType.A: _read_ipv4,
    RecordType.AAAA: _read_ipv6,
    RecordType.MX: _read_exchanges,
    RecordType.PTR: _read_names,
    RecordType.TXT: _read_texts,
    RecordType.TLSA: _read_tlsa,
    _CNAME: _read_names,
}
