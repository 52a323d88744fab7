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
_SERVICE = "dynamodb"


async def find_entries(client: Any, table: str, entries: Sequence[str], *, seconds: float) -> frozenset[str]:
    """The entries, of at most a hundred, that stand in a table.

    Raises:
        RemoteError: the table could not be asked, or not about all of them.
    """
    keys = [{KEY: {"S": entry}} for entry in dict.fromkeys(entries[:MOST_KEYS])]
    wanted = {"Keys": keys, "ProjectionExpression": "#k", "ExpressionAttributeNames": {"#k": KEY}}
    async with remote_call(_SERVICE, timeout_seconds=seconds):
        answer = await client.batch_get_item(RequestItems={table: wanted})
    with readable_answer(_SERVICE):
        found = frozenset(str(item[KEY]["S"]) for item in answer["Responses"].get(table, ()))
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
        for item in page.get("Items", ()):
            yield str(item[KEY]["S"])
        if not page.get("LastEvaluatedKey"):
            return
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
