"""The edge to a table of DynamoDB that holds a fleet's spool: reads, and changes under conditions.

Owns how an operation is asked and how its answer is proved. A change tells whether its condition held, and
if not, the item that stood in its way: so a caller recognises its own change whose answer was lost. Foreign
errors become RemoteError here. Never repeats a call: the client does, some times, within the time-out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from relay.aws.errors import readable_answer, remote_call
from relay.aws.values import Item, Value, dump_item, dump_value, load_item
from relay.errors import Blame, FailureClass, RemoteError

SERVICE: Final = "dynamodb"
#: Seconds that a call may take, its repetitions included.
SECONDS: Final = 12.0
#: Actions of one transaction, keys of one BatchGetItem (API reference).
MOST_ACTIONS: Final = 100
MOST_KEYS: Final = 100
_NAME = re.compile(r"#(\w+)")
_CONDITION_FAILED = "ConditionalCheckFailedException"
_CANCELLED = "TransactionCanceledException"

Key = tuple[str, str]
#: Told of an answer: the operation, the answer, and when it was asked for.
Heed = Callable[[str, Mapping[str, Any], int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An expression of DynamoDB; `#name` is an attribute, `:name` a value."""

    text: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def arguments(self, word: str = "ConditionExpression") -> dict[str, Any]:
        """The arguments of a call by which it is asked."""
        return _expression({word: self.text}, self.values)


def _expression(texts: Mapping[str, str], values: Mapping[str, Value]) -> dict[str, Any]:
    names = {f"#{name}": name for text in texts.values() for name in _NAME.findall(text)}
    return {
        **texts,
        **({"ExpressionAttributeNames": names} if names else {}),
        **(
            {"ExpressionAttributeValues": {f":{name}": dump_value(value) for name, value in values.items()}}
            if values
            else {}
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """The writing of a whole item."""

    item: Item
    condition: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The change of some attributes of an item; `text` is an update expression."""

    key: Key
    text: str
    values: Mapping[str, Value] = field(default_factory=dict)
    condition: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """The removal of an item."""

    key: Key
    condition: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A condition on an item that a transaction leaves as it is."""

    key: Key
    condition: Condition


Action = Put | Update | Delete | Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one change under a condition."""

    #: True if the condition held, so that the change is made.
    done: bool
    #: The item after an `Update` that was made; the item that stood in the way of any change. None if there
    #: is none.
    item: Item | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """The part of one action in the failure of a transaction."""

    #: "None", "ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", …
    code: str
    #: The item that stood in the way; None if there is none.
    item: Item | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items of a query, in the order of their sort keys."""

    items: Sequence[Item]
    #: The place at which the next page begins; None after the last page.
    next: Mapping[str, Any] | None


class Database:
    """A table, by a client that `relay.aws.clients` makes."""

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        keys: tuple[str, str],
        steady: Callable[[], int] = lambda: 0,
        heed: Heed = lambda _operation, _answer, _asked_at: None,
    ) -> None:
        """`heed` is told of every answer, and when it was asked for by the clock `steady`."""
        self._client = client
        self._table = table
        self._keys = keys
        self._steady = steady
        self._heed = heed

    async def _call(self, operation: str, *, seconds: float, **arguments: Any) -> Any:
        asked_at = self._steady()
        async with remote_call(SERVICE, timeout_seconds=seconds):
            with readable_answer(SERVICE):
                answer = await getattr(self._client, operation)(ReturnConsumedCapacity="TOTAL", **arguments)
                self._heed(operation, answer, asked_at)
        return answer

    def _key(self, key: Key) -> dict[str, Any]:
        return dump_item(dict(zip(self._keys, key, strict=True)))

    async def get(self, key: Key, *, seconds: float = SECONDS) -> Item | None:
        """The item of a key, as it is now. Returns None if there is none."""
        answer = await self._call(
            "get_item", seconds=seconds, TableName=self._table, Key=self._key(key), ConsistentRead=True
        )
        with readable_answer(SERVICE):
            return load_item(answer["Item"]) if "Item" in answer else None

    async def get_all(self, keys: Sequence[Key], *, seconds: float = SECONDS) -> dict[Key, Item]:
        """The items of these keys, as they are now, by their keys; those that are missing are left out."""
        found: dict[Key, Item] = {}
        wanted = list(dict.fromkeys(keys))
        for at in range(0, len(wanted), MOST_KEYS):
            found |= await self._get_some(wanted[at : at + MOST_KEYS], seconds=seconds)
        return found

    async def _get_some(self, keys: Sequence[Key], *, seconds: float) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        left: Any = {"Keys": [self._key(key) for key in keys], "ConsistentRead": True}
        for _ in range(MOST_KEYS):  # an answer has one item at least
            answer = await self._call("batch_get_item", seconds=seconds, RequestItems={self._table: left})
            with readable_answer(SERVICE):
                items = [load_item(each) for each in answer["Responses"].get(self._table, ())]
                found |= {(str(each[self._keys[0]]), str(each[self._keys[1]])): each for each in items}
                left = (answer.get("UnprocessedKeys") or {}).get(self._table)
            if not left:
                return found
            if not items:
                break
        raise RemoteError(
            service=SERVICE,
            failure=FailureClass.THROTTLED,
            code="unprocessed",
            detail="the table answered for some of the keys alone; its capacity is used up",
            blame=Blame.SERVICE,
        )

    async def query(
        self,
        wanted: Condition,
        *,
        index: str | None = None,
        limit: int | None = None,
        start: Mapping[str, Any] | None = None,
        backwards: bool = False,
        seconds: float = SECONDS,
    ) -> Page:
        """A page of the items of a partition; of an index, as it was a moment ago."""
        answer = await self._call(
            "query",
            seconds=seconds,
            TableName=self._table,
            **wanted.arguments("KeyConditionExpression"),
            **({"IndexName": index} if index else {"ConsistentRead": True}),
            **({"Limit": limit} if limit else {}),
            **({"ExclusiveStartKey": start} if start else {}),
            ScanIndexForward=not backwards,
        )
        with readable_answer(SERVICE):
            return Page(
                items=[load_item(each) for each in answer["Items"]], next=answer.get("LastEvaluatedKey")
            )

    async def query_all(
        self,
        wanted: Condition,
        *,
        index: str | None = None,
        limit: int,
        backwards: bool = False,
        behind: Item | None = None,
        seconds: float = SECONDS,
    ) -> list[Item]:
        """The first items of a partition, or the last, `limit` at most; those `behind` the item with these
        keys.
        """
        items: list[Item] = []
        start: Mapping[str, Any] | None = dump_item(behind) if behind else None
        while len(items) < limit:
            page = await self.query(
                wanted,
                index=index,
                limit=limit - len(items),
                start=start,
                backwards=backwards,
                seconds=seconds,
            )
            items += page.items
            start = page.next
            if not start:
                break
        return items

    async def count(self, wanted: Condition, *, index: str, seconds: float = SECONDS) -> int:
        """The number of items of an index's partition, as it was a moment ago."""
        total, start = 0, None
        while True:
            answer = await self._call(
                "query",
                seconds=seconds,
                TableName=self._table,
                IndexName=index,
                Select="COUNT",
                **wanted.arguments("KeyConditionExpression"),
                **({"ExclusiveStartKey": start} if start else {}),
            )
            with readable_answer(SERVICE):
                total += int(answer["Count"])
                start = answer.get("LastEvaluatedKey")
            if not start:
                return total

    async def scan(
        self,
        *,
        wanted: Condition | None = None,
        start: Mapping[str, Any] | None = None,
        limit: int | None = None,
        seconds: float = 60.0,
    ) -> Page:
        """A page of all items, in no order."""
        answer = await self._call(
            "scan",
            seconds=seconds,
            TableName=self._table,
            **({"Limit": limit} if limit else {}),
            **(wanted.arguments("FilterExpression") if wanted else {}),
            **({"ExclusiveStartKey": start} if start else {}),
        )
        with readable_answer(SERVICE):
            return Page(
                items=[load_item(each) for each in answer["Items"]], next=answer.get("LastEvaluatedKey")
            )

    async def change(self, action: Put | Update | Delete, *, seconds: float = SECONDS) -> Answer:
        """Make one change, if its condition holds.

        Raises:
            RemoteError: nobody knows whether the change is made.
        """
        word, arguments = self._write(action)
        call = {"Put": "put_item", "Update": "update_item", "Delete": "delete_item"}[word]
        if word == "Update":
            arguments["ReturnValues"] = "ALL_NEW"
        try:
            answer = await self._call(call, seconds=seconds, **arguments)
        except RemoteError as exc:
            if exc.code != _CONDITION_FAILED or not isinstance(exc.__cause__, ClientError):
                raise
            with readable_answer(SERVICE):
                return Answer(done=False, item=_load_old(exc.__cause__.response))
        with readable_answer(SERVICE):
            found = answer.get("Attributes")
            if word == "Update" and not found:
                raise ValueError("an update without its item")
            return Answer(done=True, item=load_item(found) if found else None)

    async def transact(
        self, actions: Sequence[Action], *, token: str, seconds: float = SECONDS
    ) -> Sequence[Reason]:
        """Make all changes, or none. Returns the reasons, one for each action, if none is made.

        `token`: a repetition with it within ten minutes is no second transaction.

        Raises:
            RemoteError: nobody knows whether the changes are made.
        """
        items = [dict([self._write(action)]) for action in actions]
        try:
            await self._call(
                "transact_write_items", seconds=seconds, TransactItems=items, ClientRequestToken=token
            )
        except RemoteError as exc:
            if exc.code != _CANCELLED or not isinstance(exc.__cause__, ClientError):
                raise
            with readable_answer(SERVICE):
                reasons = exc.__cause__.response.get("CancellationReasons") or ()
                found = [Reason(code=str(each.get("Code")), item=_load_old(each)) for each in reasons]
                if len(found) != len(actions):
                    raise ValueError("a transaction was cancelled without its reasons") from exc
                return found
        return ()

    def _write(self, action: Action) -> tuple[str, dict[str, Any]]:
        """The name of an action in a transaction, and its arguments."""
        condition = action.condition
        asked = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if condition else {}
        table = {"TableName": self._table, **asked}
        match action:
            case Put(item=item):
                return "Put", {
                    **table,
                    "Item": dump_item(item),
                    **(condition.arguments() if condition else {}),
                }
            case Update(text=text, values=values):
                texts = {"UpdateExpression": text}
                if condition:
                    texts["ConditionExpression"] = condition.text
                    values = {**values, **condition.values}
                return "Update", {**table, "Key": self._key(action.key), **_expression(texts, values)}
            case Delete():
                return "Delete", {
                    **table,
                    "Key": self._key(action.key),
                    **(condition.arguments() if condition else {}),
                }
            case Check():
                assert condition is not None
                return "ConditionCheck", {**table, "Key": self._key(action.key), **condition.arguments()}


def _load_old(answer: Mapping[str, Any]) -> Item | None:
    return load_item(answer["Item"]) if answer.get("Item") else None
