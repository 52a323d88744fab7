"""The table of a fleet: its keys, its indexes, and where each kind of item stands.

Owns every name of a key, an index and an object (docs/fleet.md, "The table"). All items of a mail share a
partition, so that one transaction takes them and one query reads them. An index has no item of what is
finished. Never does I/O.

    M#<spool id>    M             a mail
    M#<spool id>    E#<number>    one of its entries
    G#<fingerprint> <way>         a guard: the newest mail of these octets by this way
    L#<spool id>    E#<number>    the ledger's record of an entry, kept long after the mail
    S#<spool id>    E#<number>    what the page shows of an entry
    CTRL            <subject>     the leader, pauses, holds, names of routes, the version
    NODES           <process>     the last sign of life of a process of a node
    MEMORY          <name>        what the leader remembers for the next, such as alarms
    AUDIT           <number>      a row of the audit
    ORIGINAL        <instant>     a mail that went out as its original, for a day
    D#<day>         <name>        the counts of a day
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay.domains import normalise_address
from relay.envelope import Destination, SpoolId

#: The version of the items. A node refuses a table with a newer one.
VERSION: Final = 1

PARTITION: Final = "pk"
SORT: Final = "sk"
#: The attribute by which DynamoDB removes an item; nothing that is owed has it.
EXPIRES: Final = "ttl"

#: Every entry that is not finished, by queue and by instant.
DUE_INDEX: Final = "due"
DUE_QUEUE: Final = "q"
DUE_AT: Final = "due"
#: Mails and records of the ledger by Message-ID.
MESSAGE_INDEX: Final = "mid"
#: Records of the ledger by contact.
CONTACT_INDEX: Final = "cid"
#: Records of the ledger by client token.
SENT_INDEX: Final = "tok"

CONTROL: Final = "CTRL"
MEMORY: Final = "MEMORY"
NODES: Final = "NODES"
#: Marks of entries that began the last rung by a fault of ours, for the alarms.
ORIGINALS: Final = "ORIGINAL"
#: Digits of an instant in a key: keys sort as text, and microseconds have sixteen digits until the year 2286.
INSTANT_DIGITS: Final = 17
LEADER: Final = "leader"
ROUTES: Final = "routes"
#: The newest version of items that a node has written.
FORMAT: Final = "format"
INTAKE: Final = "pause#intake"
DELIVERY: Final = "pause#delivery"
_PAUSED_ROUTE, _HELD_ROUTE, _STANDBY_ROUTE = "pause#route#", "hold#", "standby#"
ALARMS: Final = "alarms"

#: The states of what stands in place of a mail: octets that became none are removed, or a mail is on its way
#: here from another spool.
CONDEMNED: Final = "condemned"
ANNOUNCED: Final = "announced"

#: The queues of entries that wait for no attempt; that of a route has a priority behind its name.
LEASED_QUEUE: Final = "leased"
HELD_QUEUE: Final = "held"
DEAD_QUEUE: Final = "dead"

#: Octets of a sort key and of a key of an index (Developer Guide, "Constraints": 1,024 and 2,048), less some.
_MOST_KEY_BYTES = 1_000
_MOST_NUMBER = 999_999

Key = tuple[str, str]


def mail_partition(spool_id: str) -> str:
    """The partition of a mail and its entries."""
    return f"M#{spool_id}"


def mail_key(spool_id: str) -> Key:
    """The key of a mail."""
    return mail_partition(spool_id), "M"


def entry_key(spool_id: str, number: int) -> Key:
    """The key of an entry of a mail."""
    return mail_partition(spool_id), f"E#{number:06}"


def ledger_key(spool_id: str, number: int) -> Key:
    """The key of the ledger's record of an entry."""
    return f"L#{spool_id}", f"E#{number:06}"


def shown_key(spool_id: str, number: int) -> Key:
    """The key of what the page shows of an entry. No query of a mail reads it."""
    return shown_partition(spool_id), f"E#{number:06}"


def shown_partition(spool_id: str) -> str:
    """The partition of what the page shows of a mail's entries."""
    return f"S#{spool_id}"


def split_key(key: Key) -> tuple[SpoolId, int | None]:
    """The mail of an item's key, and the number of the entry: None for the mail itself.

    Raises:
        ValueError: it is the key of neither.
    """
    kind, mark, spool_id = key[0].partition("#")
    letter, _, number = key[1].partition("#")
    if kind not in {"M", "L"} or not mark or not spool_id:
        raise ValueError(f"{key[0]!r} is no partition of a mail")
    if letter == "M" and not number:
        return SpoolId(spool_id), None
    if letter != "E" or not (number.isascii() and number.isdecimal() and 0 < int(number) <= _MOST_NUMBER):
        raise ValueError(f"{key[1]!r} is no entry")
    return SpoolId(spool_id), int(number)


def guard_key(fingerprint: str, destination: Destination, *, sender: str) -> Key:
    """The key of the guard of these octets on their way to a destination, from a normalised reverse-path
    (`relay.spool.duplicates`): equal for a mail and its retransmission, and for no other.
    """
    way = (
        destination.instance_id,
        normalise_address(destination.address),
        destination.route,
        destination.tag,
    )
    digest = hashlib.sha256(sender.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"G#{fingerprint}", fit_key(json.dumps([*way, digest], ensure_ascii=False, separators=(",", ":")))


def fit_key(text: str) -> str:
    """The text as a key; one that is too long for a key by its hash, which no other text has."""
    octets = text.encode("utf-8", "surrogatepass")
    if 0 < len(octets) <= _MOST_KEY_BYTES and not text.startswith("sha256:"):
        return text
    return f"sha256:{hashlib.sha256(octets).hexdigest()}"


def queue_of(route: str, priority: int) -> str:
    """The queue of a route's entries that wait for their turn; `relay.spool.groups` has the
    priorities.
    """
    return f"{fit_key(route)}#{priority}"


def pause_key(route: str) -> Key:
    """The key of an operator's pause of a route."""
    return CONTROL, fit_key(f"{_PAUSED_ROUTE}{route}")


def hold_key(route: str) -> Key:
    """The key of a route's hold by an error of configuration."""
    return CONTROL, fit_key(f"{_HELD_ROUTE}{route}")


def beat_key(node: str, process: str) -> Key:
    """The key of the signs of life of one process of a node."""
    return NODES, fit_key(f"{node}#{process}")


def standby_key(route: str) -> Key:
    """The key of a route's switch to its standby."""
    return CONTROL, fit_key(f"{_STANDBY_ROUTE}{route}")


def raw_object(prefix: str, spool_id: str) -> str:
    """The object of a raw mail."""
    return f"{prefix}raw/{spool_id}"


def request_object(prefix: str, reference: str, name: str) -> str:
    """The object of a stored request: every request has its own, so that none is overwritten."""
    return f"{prefix}req/{reference}.{name}"


def probe_object(prefix: str, node: str) -> str:
    """The object of a node's writes without meaning."""
    return f"{prefix}probe/{node}"


def build_definition(table: str) -> Mapping[str, Any]:
    """The definition of the table, as CreateTable takes it."""
    indexes = (
        (
            DUE_INDEX,
            (DUE_QUEUE, DUE_AT),
            ("att", "epoch", "at", "route", "prio", "net", "dom", "to", "reason"),
        ),
        (MESSAGE_INDEX, (MESSAGE_INDEX, PARTITION), ("cid", "at", "inst", "asked", "auth", "from")),
        (CONTACT_INDEX, (CONTACT_INDEX,), ()),
        (SENT_INDEX, (SENT_INDEX,), ("cid",)),
    )
    names = dict.fromkeys([PARTITION, SORT, *(name for _, keys, _ in indexes for name in keys)])
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": _build_keys((PARTITION, SORT)),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": _build_keys(keys),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(more)}
                if more
                else {"ProjectionType": "KEYS_ONLY"},
            }
            for index, keys, more in indexes
        ],
    }


def _build_keys(names: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
    ]
