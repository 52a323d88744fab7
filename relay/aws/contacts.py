"""The edge to single contacts: ended, described, searched, and their references listed.

Owns StopContact, DescribeContact, ListContactReferences and SearchContacts on the wire (API reference of
Amazon Connect), which only `relay check --live` calls. Never starts a contact.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import unproven

_SECONDS = 30.0
#: Pages of a search: a thousand contacts of one day are enough to look through.
_PAGES = 10
_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundContact:
    """A contact as a search finds it."""

    contact_id: str
    name: str
    has_ended: bool


class Contacts:
    """The contacts of one instance."""

    def __init__(self, client: Any, instance_id: str) -> None:
        self._client = client
        self._instance_id = instance_id

    async def stop(self, contact_id: str) -> None:
        """End a contact.

        Raises:
            RemoteError: it may go on.
        """
        async with _call():
            await self._client.stop_contact(InstanceId=self._instance_id, ContactId=contact_id)

    async def describe(self, contact_id: str) -> Mapping[str, Any]:
        """The record that Connect has of a contact.

        Raises:
            RemoteError: it does not say.
        """
        async with _call():
            answer = await self._client.describe_contact(InstanceId=self._instance_id, ContactId=contact_id)
            found = answer["Contact"]
        if not isinstance(found, Mapping):
            raise unproven("connect", "the answer has no Contact")
        return found

    async def list_references(self, contact_id: str, kind: str) -> tuple[Mapping[str, Any], ...]:
        """The references of one kind, such as ATTACHMENT, that a contact has; the first page is enough.

        Raises:
            RemoteError: Connect does not say.
        """
        async with _call():
            answer = await self._client.list_contact_references(
                InstanceId=self._instance_id, ContactId=contact_id, ReferenceTypes=[kind]
            )
            found = answer["ReferenceSummaryList"]
            return tuple(value for each in found for value in each.values() if isinstance(value, Mapping))

    async def search(self, *, since: datetime, until: datetime) -> tuple[FoundContact, ...]:
        """The e-mail contacts that began in a time.

        Raises:
            RemoteError: Connect does not say.
        """
        found: list[FoundContact] = []
        more: dict[str, str] = {}
        times = {"Type": "INITIATION_TIMESTAMP", "StartTime": since, "EndTime": until}
        for _ in range(_PAGES):
            async with _call():
                page = await self._client.search_contacts(
                    InstanceId=self._instance_id,
                    TimeRange=times,
                    SearchCriteria={"Channels": ["EMAIL"]},
                    MaxResults=_PAGE,
                    **more,
                )
                found += [
                    FoundContact(
                        contact_id=str(each["Id"]),
                        name=str(each.get("Name", "")),
                        has_ended="DisconnectTimestamp" in each,
                    )
                    for each in page["Contacts"]
                ]
            if not page.get("NextToken"):
                break
            more = {"NextToken": str(page["NextToken"])}
        return tuple(found)


@asynccontextmanager
async def _call() -> AsyncIterator[None]:
    async with remote_call("connect", timeout_seconds=_SECONDS):
        with readable_answer("connect"):
            yield
