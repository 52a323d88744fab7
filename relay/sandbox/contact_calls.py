"""The simulated calls about contacts that were started: ended, described, searched, their references listed,
and what they say removed.

Owns StopContact, DescribeContact, ListContactReferences, SearchContacts, GetContactAttributes,
UpdateContactAttributes, UpdateContact and DeleteContactData (API reference of Amazon Connect), as far as
`relay check --live` and `relay erase --connect` ask. Never looks at signatures and faults: that is
`connect`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from aiohttp import web

from relay.config.words import bare_id
from relay.sandbox.contacts import Book, Contact
from relay.sandbox.instance import Caller, Read
from relay.sandbox.limits import Refusal

_NOT_FOUND = Refusal(code="ResourceNotFoundException", message="The contact was not found")
_VERDICTS = ("X_SES_SPAM_VERDICT", "X_SES_VIRUS_VERDICT")


def _without_subject(request: dict[str, Any]) -> dict[str, Any]:
    message = request["EmailMessage"]
    return {"EmailMessage": message | {"RawMessage": message["RawMessage"] | {"Subject": ""}}}


#: What DeleteContactData takes, and how the arguments of StartEmailContact are without it.
_PERSONAL: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "CUSTOMER_ENDPOINT": lambda _: {"FromEmailAddress": {"EmailAddress": ""}},
    "ADDITIONAL_EMAIL_RECIPIENTS": lambda _: {"AdditionalRecipients": {}},
    "EMAIL_SUBJECT": _without_subject,
}


class ContactCalls:
    """The calls about the contacts of a book."""

    def __init__(self, book: Book, *, now: Callable[[], datetime]) -> None:
        self._book = book
        self._now = now

    def list_calls(self) -> Iterator[tuple[str, str, str, Read]]:
        """The calls: method, path, action, and the work."""
        place = "{instance_id}/{contact_id}"
        yield "POST", "/contact/stop", "StopContact", self._stop
        yield "GET", f"/contacts/{place}", "DescribeContact", self._describe
        yield "GET", f"/contact/references/{place}", "ListContactReferences", self._list_references
        yield "POST", "/search-contacts", "SearchContacts", self._search
        yield "GET", f"/contact/attributes/{place}", "GetContactAttributes", self._read_attributes
        yield "POST", "/contact/attributes", "UpdateContactAttributes", self._update_attributes
        yield "POST", f"/contacts/{place}", "UpdateContact", self._update
        yield "POST", f"/contact/delete/{place}", "DeleteContactData", self._delete_data

    def _stop(self, _: web.Request, body: bytes, __: Caller) -> dict[str, Any] | Refusal:
        try:
            asked = json.loads(body)
            contact = self._book.get(str(asked["ContactId"]))
        except (ValueError, TypeError, KeyError):
            return Refusal(code="InvalidRequestException", message="the arguments name no contact")
        if contact is None:
            return Refusal(code="ContactNotFoundException", message="The contact was not found")
        contact.ended_at = contact.ended_at or self._now()
        return {}

    def _describe(self, request: web.Request, _: bytes, __: Caller) -> dict[str, Any] | Refusal:
        contact = self._find(request)
        if contact is None:
            return Refusal(code="ResourceNotFoundException", message="The contact was not found")
        headers = contact.request["EmailMessage"]["RawMessage"].get("Headers", {})
        segments = {
            f"connect:{key.replace('_', '-')}": {"ValueString": headers[key]}
            for key in _VERDICTS
            if key in headers
        }
        ended = {"DisconnectTimestamp": contact.ended_at.timestamp()} if contact.ended_at else {}
        described = {
            "Arn": f"arn:aws:connect:eu-central-1:000000000000:instance/{_instance(contact)}/contact/{contact.contact_id}",
            "Id": contact.contact_id,
            "ContactAssociationId": self._find_root(contact).contact_id,
            "InitiationMethod": "API",
            "Channel": "EMAIL",
            "Name": contact.request.get("Name", ""),
            "SegmentAttributes": segments,
            **ended,
        }
        return {"Contact": described}

    def _list_references(self, request: web.Request, _: bytes, __: Caller) -> dict[str, Any] | Refusal:
        contact = self._find(request)
        if contact is None:
            return Refusal(code="ResourceNotFoundException", message="The contact was not found")
        files = contact.attachments if "ATTACHMENT" in request.query.getall("referenceTypes", []) else ()
        return {
            "ReferenceSummaryList": [
                {"Attachment": {"Name": each.name, "Status": each.state.upper()}} for each in files
            ]
        }

    def _search(self, _: web.Request, body: bytes, __: Caller) -> dict[str, Any] | Refusal:
        try:
            asked = json.loads(body)
            times = asked["TimeRange"]
            since, until = float(times["StartTime"]), float(times["EndTime"])
            instance_id = bare_id(str(asked["InstanceId"]))
        except (ValueError, TypeError, KeyError):
            return Refusal(code="InvalidRequestException", message="the arguments are no search for contacts")
        found = [
            {
                "Id": contact.contact_id,
                "Name": contact.request.get("Name", ""),
                "InitiationTimestamp": contact.received_at.timestamp(),
                **({"DisconnectTimestamp": contact.ended_at.timestamp()} if contact.ended_at else {}),
            }
            for contact in self._book.select()
            if since <= contact.received_at.timestamp() <= until and _instance(contact) == instance_id
        ]
        return {"Contacts": found, "TotalCount": len(found)}

    def _read_attributes(self, request: web.Request, _: bytes, __: Caller) -> dict[str, Any] | Refusal:
        contact = self._find(request)
        return _NOT_FOUND if contact is None else {"Attributes": contact.request.get("Attributes", {})}

    def _update_attributes(self, _: web.Request, body: bytes, __: Caller) -> dict[str, Any] | Refusal:
        try:
            asked = json.loads(body)
            contact = self._book.get(str(asked["InitialContactId"]))
            changed = {str(name): str(value) for name, value in asked["Attributes"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return Refusal(
                code="InvalidRequestException", message="the arguments are no attributes of a contact"
            )
        if contact is None or _instance(contact) != bare_id(str(asked.get("InstanceId"))):
            return _NOT_FOUND
        contact.change({"Attributes": contact.request.get("Attributes", {}) | changed})
        return {}

    def _update(self, request: web.Request, body: bytes, _: Caller) -> dict[str, Any] | Refusal:
        contact = self._find(request)
        if contact is None:
            return _NOT_FOUND
        try:
            asked = json.loads(body)
            changed = {name: asked[name] for name in ("Name", "Description") if name in asked}
            references = contact.request.get("References", {}) | asked.get("References", {})
        except (ValueError, TypeError):
            return Refusal(code="InvalidRequestException", message="the arguments change no contact")
        contact.change(changed | ({"References": references} if references else {}))
        return {}

    def _delete_data(self, request: web.Request, body: bytes, _: Caller) -> dict[str, Any] | Refusal:
        contact = self._find(request)
        if contact is None:
            return _NOT_FOUND
        try:
            fields = set(json.loads(body)["ContactFields"])
        except (ValueError, TypeError, KeyError):
            fields = set()
        if not fields or not fields <= {*_PERSONAL}:
            return Refusal(code="InvalidRequestException", message="ContactFields names no such field")
        if contact.ended_at is None:
            return Refusal(code="InvalidRequestException", message="The contact is not in a terminated state")
        for name in fields:
            contact.change(_PERSONAL[name](contact.request))
        return {}

    def _find(self, request: web.Request) -> Contact | None:
        contact = self._book.get(request.match_info["contact_id"])
        is_there = contact is not None and _instance(contact) == bare_id(request.match_info["instance_id"])
        return contact if is_there else None

    def _find_root(self, contact: Contact) -> Contact:
        """The first contact of the thread that a contact's headers name; itself without one."""
        headers = contact.request["EmailMessage"]["RawMessage"].get("Headers", {})
        wanted = headers.get("IN_REPLY_TO")
        for each in self._book.select():
            known = each.request["EmailMessage"]["RawMessage"].get("Headers", {}).get("MESSAGE_ID")
            if wanted and known == wanted and each is not contact:
                return each
        return contact


def _instance(contact: Contact) -> str:
    return bare_id(contact.request["InstanceId"])
