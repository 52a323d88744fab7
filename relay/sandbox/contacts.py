"""The contacts that the simulator has started, with the fate of their attachments.

Owns the record that `GET /api/contacts` shows, and the memory of client tokens. All of it is in memory, and a
request is kept as the octets that came. Never does I/O.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

State = Literal["processing", "available", "failed"]  # of ReferenceStatus in the service model


@dataclass(slots=True, kw_only=True)
class Fetched:
    """An attachment that Connect fetches; filled in once it was fetched, or could not be."""

    name: str
    url: str
    state: State = "processing"
    size: int | None = None
    sha256: str | None = None
    error: str = ""

    def document(self) -> dict[str, Any]:
        """The attachment as the API shows it."""
        shown = {"name": self.name, "size": self.size, "sha256": self.sha256, "state": self.state}
        return {**shown, "error": self.error} if self.error else shown


@dataclass(slots=True, kw_only=True)
class Contact:
    """A contact that was started."""

    number: int
    contact_id: str
    received_at: datetime
    #: The arguments of StartEmailContact as they came: JSON.
    raw: bytes = field(repr=False)
    attachments: tuple[Fetched, ...]
    ended_at: datetime | None = None

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of StartEmailContact."""
        parsed: dict[str, Any] = json.loads(self.raw)
        return parsed

    def change(self, changes: Mapping[str, Any]) -> None:
        """Put these in the place of arguments: what a later call says of the contact."""
        self.raw = json.dumps(self.request | dict(changes)).encode()

    @property
    def settled(self) -> bool:
        """Returns whether every attachment was fetched, or given up."""
        return all(attachment.state != "processing" for attachment in self.attachments)

    def to_json(self) -> str:
        """The contact as an element of `GET /api/contacts`; the request stands in it as it came, without
        being parsed.
        """
        head = json.dumps({"contact_id": self.contact_id, "received_at": self.received_at.isoformat()})
        files = json.dumps([attachment.document() for attachment in self.attachments])
        return f'{head[:-1]}, "request": {self.raw.decode("utf-8")}, "attachments": {files}}}'


class Book:
    """The contacts, oldest first."""

    def __init__(self) -> None:
        self._contacts: dict[str, Contact] = {}
        #: By instance and token. Nothing documents that two instances share tokens; if they do not, a mail
        #: that is sent to both is two contacts.
        self._tokens: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._count = 0
        #: Set when a contact is added; a waiter clears it before looking.
        self.grown = asyncio.Event()

    def __len__(self) -> int:
        return len(self._contacts)

    @property
    def last_number(self) -> int:
        """The number of the newest contact ever; 0 before the first."""
        return self._count

    def known(self, token: str, *, instance_id: str = "") -> tuple[str, bytes] | None:
        """The contact id and payload digest of a client token at an instance; None for a new one."""
        return self._tokens.get((instance_id, token))

    def add(
        self, contact_id: str, raw: bytes, params: Mapping[str, Any], *, digest: bytes, now: datetime
    ) -> Contact:
        """Add a contact. Its token is taken from now on."""
        self._count += 1
        contact = Contact(
            number=self._count,
            contact_id=contact_id,
            received_at=now.astimezone(UTC),
            raw=raw,
            attachments=tuple(
                Fetched(name=file["FileName"], url=file["S3Url"]) for file in params.get("Attachments", ())
            ),
        )
        self._contacts[contact_id] = contact
        if token := params.get("ClientToken"):
            self._tokens[str(params.get("InstanceId", "")), token] = (contact_id, digest)
        self.grown.set()
        return contact

    def get(self, contact_id: str) -> Contact | None:
        """The contact with this id. Returns None where there is none."""
        return self._contacts.get(contact_id)

    def select(self, *, since: str = "", limit: int | None = None) -> Iterator[Contact]:
        """Contacts after an id or an instant (ISO 8601), oldest first.

        Raises:
            ValueError: `since` is neither.
        """
        contacts = tuple(self._contacts.values())
        if since in self._contacts:
            number = self._contacts[since].number
            contacts = tuple(contact for contact in contacts if contact.number > number)
        elif since:
            instant = datetime.fromisoformat(since)
            instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            contacts = tuple(contact for contact in contacts if contact.received_at > instant)
        return islice(contacts, limit)

    def newest(self, *, after: int, limit: int) -> tuple[Contact, ...]:
        """The contacts with a higher number, newest first."""
        found: list[Contact] = []
        for contact in reversed(self._contacts.values()):
            if contact.number <= after or len(found) == limit:
                break
            found.append(contact)
        return tuple(found)

    def clear(self) -> None:
        """Forget every contact and token."""
        self._contacts.clear()
        self._tokens.clear()
