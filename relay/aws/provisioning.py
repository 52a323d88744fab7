"""The edge to the making of a table and to the settings of a bucket, for the spool of a fleet.

Owns how they are described, made and set, and what a refusal to tell means. Foreign errors become RemoteError
here. Never reads or writes an item or an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from relay.aws.database import SERVICE
from relay.aws.errors import readable_answer, remote_call
from relay.errors import Blame, FailureClass, RemoteError

#: Seconds of a call, its repetitions included.
_SECONDS = 20.0
#: Seconds for which a new table, or a new index over items that are there, is waited for; and between looks.
_MOST_SECONDS = 900.0
_LOOK_SECONDS = 1.0
_MISSING = "ResourceNotFoundException"
_S3 = "s3"


class Provision:
    """A table as its maker sees it, by a client that `relay.aws.clients` makes."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def _call(self, operation: str, **arguments: Any) -> Any:
        async with remote_call(SERVICE, timeout_seconds=_SECONDS):
            with readable_answer(SERVICE):
                return await getattr(self._client, operation)(TableName=self._table, **arguments)

    async def describe(self) -> Mapping[str, Any] | None:
        """The table as AWS describes it. Returns None if there is none."""
        try:
            answer = await self._call("describe_table")
        except RemoteError as exc:
            if exc.code == _MISSING:
                return None
            raise
        with readable_answer(SERVICE):
            found: Mapping[str, Any] = answer["Table"]
            return found

    async def create(self, definition: Mapping[str, Any]) -> None:
        """Make the table. One that came meanwhile is left as it is."""
        arguments = {name: value for name, value in definition.items() if name != "TableName"}
        try:
            await self._call("create_table", DeletionProtectionEnabled=True, **arguments)
        except RemoteError as exc:
            if exc.code != "ResourceInUseException":
                raise
        await self.wait()

    async def add_index(self, index: Mapping[str, Any], attributes: Sequence[Mapping[str, str]]) -> None:
        """Make an index over the table; `attributes` are the definitions of its keys."""
        await self._call(
            "update_table",
            AttributeDefinitions=attributes,
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )
        await self.wait()

    async def wait(self) -> None:
        """Wait until the table and all its indexes can be used.

        Raises:
            RemoteError: they could not for all that time.
        """
        deadline = asyncio.get_running_loop().time() + _MOST_SECONDS
        while not _is_active(await self.describe()):
            if asyncio.get_running_loop().time() > deadline:
                raise RemoteError(
                    service=SERVICE,
                    failure=FailureClass.TEMPORARY,
                    code="inactive",
                    detail=f"the table {self._table} is still being made after {_MOST_SECONDS:.0f} s; try again later",
                    blame=Blame.SERVICE,
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def protect(self) -> None:
        """Have AWS refuse to delete the table."""
        await self._call("update_table", DeletionProtectionEnabled=True)
        await self.wait()

    async def find_expiry(self) -> str:
        """The attribute by which items expire. Returns "" if none do."""
        answer = await self._call("describe_time_to_live")
        with readable_answer(SERVICE):
            told = answer["TimeToLiveDescription"]
            is_on = told.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
            return str(told.get("AttributeName", "")) if is_on else ""

    async def set_expiry(self, attribute: str) -> None:
        """Have items expire by this attribute."""
        await self._call(
            "update_time_to_live",
            TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute},
        )

    async def is_recoverable(self) -> bool:
        """Returns whether the table can be restored as it was at any point in time."""
        answer = await self._call("describe_continuous_backups")
        with readable_answer(SERVICE):
            told = answer["ContinuousBackupsDescription"]
            status = told.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
            return bool(status == "ENABLED")

    async def make_recoverable(self) -> None:
        """Have the table be restorable as it was at any point in time. A table that was made this moment may
        refuse that for some seconds.
        """
        deadline = asyncio.get_running_loop().time() + _SECONDS
        while True:
            try:
                await self._call(
                    "update_continuous_backups",
                    PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
                )
            except RemoteError as exc:
                late = asyncio.get_running_loop().time() > deadline
                if exc.code != "ContinuousBackupsUnavailableException" or late:
                    raise
            else:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _is_active(described: Mapping[str, Any] | None) -> bool:
    """Returns whether a table and all its indexes can be used."""
    with readable_answer(SERVICE):
        if described is None or described.get("TableStatus") != "ACTIVE":
            return False
        return all(
            each.get("IndexStatus") == "ACTIVE" for each in described.get("GlobalSecondaryIndexes") or ()
        )


async def find_versioning(s3: Any, bucket: str) -> bool:
    """Returns whether a bucket keeps what was removed from it or written over."""
    async with remote_call(_S3, timeout_seconds=_SECONDS):
        with readable_answer(_S3):
            answer = await s3.get_bucket_versioning(Bucket=bucket)
            return bool(answer.get("Status") == "Enabled")


async def find_expiries(s3: Any, bucket: str) -> list[tuple[str, str]]:
    """The rules by which a bucket removes objects that are not old versions: the name of each, and the
    beginning of the keys that it means.
    """
    try:
        async with remote_call(_S3, timeout_seconds=_SECONDS):
            with readable_answer(_S3):
                answer = await s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    except RemoteError as exc:
        if exc.code == "NoSuchLifecycleConfiguration":
            return []
        raise
    with readable_answer(_S3):
        return [
            (str(rule.get("ID", "")), _prefix_of(rule))
            for rule in answer.get("Rules", ())
            if rule.get("Status") == "Enabled" and _removes(rule.get("Expiration") or {})
        ]


def _removes(expiration: Mapping[str, Any]) -> bool:
    return "Days" in expiration or "Date" in expiration


def _prefix_of(rule: Mapping[str, Any]) -> str:
    """The beginning of the keys of a rule, which has stood in three places (S3 API, LifecycleRule)."""
    chosen = rule.get("Filter") or {}
    inner = chosen.get("And") or {}
    return str(rule.get("Prefix") or chosen.get("Prefix") or inner.get("Prefix") or "")
