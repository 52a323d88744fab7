"""Tables of DynamoDB that hold lists of senders: looked up, changed and read whole.

Owns the form of an item: its key is the text `address`, an entry in the form of `relay.lists.entries`; other
attributes are left alone. Foreign errors become RemoteError here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from relay.aws.errors import readable_answer, remote_call
from relay.errors import FailureClass, RemoteError

#: The partition key of a table; it is a string.
KEY = "address"
#: Keys of one BatchGetItem (API reference).
MOST_KEYS = 100
#: Octets of a partition key (Developer Guide, "Constraints"): a longer one would fail the whole call.
_MOST_KEY_BYTES = 2_048
_SERVICE = "dynamodb"


async def find_entries(client: Any, table: str, entries: Sequence[str], *, seconds: float) -> frozenset[str]:
    """The entries that stand in a table.

    Raises:
        RemoteError: the table could not be asked, or not about all of them.
    """
    wanted = [entry for entry in dict.fromkeys(entries) if _can_be_key(entry)]
    found: frozenset[str] = frozenset()
    for at in range(0, len(wanted), MOST_KEYS):
        found |= await _find_some(client, table, wanted[at : at + MOST_KEYS], seconds=seconds)
    return found


def _can_be_key(entry: str) -> bool:
    """Returns whether an item can have this key. A sender's address may be anything."""
    try:
        return 0 < len(entry.encode()) <= _MOST_KEY_BYTES
    except UnicodeEncodeError:
        return False


async def _find_some(client: Any, table: str, entries: Sequence[str], *, seconds: float) -> frozenset[str]:
    keys = [{KEY: {"S": entry}} for entry in entries]
    wanted = {"Keys": keys, "ProjectionExpression": "#k", "ExpressionAttributeNames": {"#k": KEY}}
    async with remote_call(_SERVICE, timeout_seconds=seconds):
        answer = await client.batch_get_item(RequestItems={table: wanted})
    with readable_answer(_SERVICE):
        found = frozenset(_read_item(item) for item in answer["Responses"].get(table, ()))
        left = bool(answer.get("UnprocessedKeys"))
    if left:
        raise RemoteError(
            service=_SERVICE,
            failure=FailureClass.TEMPORARY,
            code="unprocessed",
            detail="the table answered for some of the keys alone; its capacity is used up",
        )
    return found


async def add_entry(client: Any, table: str, entry: str, *, seconds: float) -> bool:
    """Put an entry into a table; an item that is there stays as it is. Returns whether the entry is new.

    Raises:
        RemoteError: it may not be there.
    """
    try:
        async with remote_call(_SERVICE, timeout_seconds=seconds):
            await client.put_item(
                TableName=table,
                Item={KEY: {"S": entry}},
                ConditionExpression="attribute_not_exists(#k)",
                ExpressionAttributeNames={"#k": KEY},
            )
    except RemoteError as exc:
        if exc.code == "ConditionalCheckFailedException":
            return False
        raise
    return True


async def remove_entry(client: Any, table: str, entry: str, *, seconds: float) -> bool:
    """Take an entry out of a table. Returns whether it was there.

    Raises:
        RemoteError: it may still be there.
    """
    async with remote_call(_SERVICE, timeout_seconds=seconds):
        answer = await client.delete_item(TableName=table, Key={KEY: {"S": entry}}, ReturnValues="ALL_OLD")
    return bool(answer.get("Attributes"))


async def list_entries(client: Any, table: str, *, seconds: float) -> AsyncIterator[str]:
    """All entries of a table, in no order.

    Raises:
        RemoteError: the table could not be read.
    """
    start: dict[str, Any] = {}
    while True:
        async with remote_call(_SERVICE, timeout_seconds=seconds):
            page = await client.scan(
                TableName=table, ProjectionExpression="#k", ExpressionAttributeNames={"#k": KEY}, **start
            )
        with readable_answer(_SERVICE):
            found = [_read_item(item) for item in page.get("Items", ())]
            last = page.get("LastEvaluatedKey")
        for entry in found:
            yield entry
        if not last:
            return
        start = {"ExclusiveStartKey": last}


def _read_item(item: Any) -> str:
    """The entry in an item. Raises TypeError or KeyError for what has no such key."""
    entry = item[KEY]["S"]
    if not isinstance(entry, str):
        raise TypeError
    return entry
