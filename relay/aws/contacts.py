"""The edge to single contacts: ended, described, searched, their references listed, their words removed.

Owns StopContact, DescribeContact, ListContactReferences and SearchContacts on the wire (API reference of
Amazon Connect), which only `relay check --live` calls, and GetContactAttributes, UpdateContactAttributes,
UpdateContact and DeleteContactData, which only `relay erase --connect` calls. Never starts a contact.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import unproven
from relay.aws.signed import call
from relay.config.words import bare_id

_SECONDS = 30.0
#: All that DeleteContactData takes (`ContactFields`).
PERSONAL_FIELDS = ("CUSTOMER_ENDPOINT", "ADDITIONAL_EMAIL_RECIPIENTS", "EMAIL_SUBJECT")
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

    async def read_attributes(self, contact_id: str) -> Mapping[str, str]:
        """The attributes that a contact has.

        Raises:
            RemoteError: Connect does not say.
        """
        async with _call():
            answer = await self._client.get_contact_attributes(
                InstanceId=self._instance_id, InitialContactId=contact_id
            )
            return {str(name): str(value) for name, value in answer["Attributes"].items()}

    async def blank_attributes(self, contact_id: str, names: Iterable[str]) -> None:
        """Make these attributes of a contact empty, which may have ended.

        Raises:
            RemoteError: they may be as they were.
        """
        async with _call():
            await self._client.update_contact_attributes(
                InstanceId=self._instance_id,
                InitialContactId=contact_id,
                Attributes=dict.fromkeys(names, ""),
            )

    async def blank_words(self, contact_id: str, references: Mapping[str, str]) -> None:
        """Make the name and the description of a contact empty, and these references, given with their types.

        Raises:
            RemoteError: they may be as they were.
        """
        blank = {name: {"Value": "", "Type": kind} for name, kind in references.items()}
        async with _call():
            await self._client.update_contact(
                InstanceId=self._instance_id,
                ContactId=contact_id,
                Name="",
                Description="",
                **({"References": blank} if blank else {}),
            )

    async def delete_data(self, contact_id: str) -> None:
        """Have Connect delete what it knows as personal in a contact that has ended: the sender's address,
        the other recipients, the subject.

        Raises:
            RemoteError: they may be as they were.
        """
        bare = bare_id(self._instance_id)
        path = f"/contact/delete/{quote(bare, safe='')}/{quote(contact_id, safe='')}"
        async with _call():
            await call(
                self._client,
                "DeleteContactData",
                path,
                method="POST",
                document={"ContactFields": list(PERSONAL_FIELDS)},
            )

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
