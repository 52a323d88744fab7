"""The arguments of StartEmailContact, and the token that makes a repeat of them harmless.

Owns the shape of the request. Never does I/O, never decides its content: the plan has. Empty members
are omitted, because the service model holds lists, maps' values and file names to at least one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from relay.contact.plan import Plan, Segment
from relay.vocabulary import Rung


def build_request(plan: Plan, urls: Sequence[str], *, client_token: str) -> dict[str, Any]:
    """The arguments of StartEmailContact; `urls` are those of the attached files, in their order.

    Raises:
        ValueError: the number of URLs is not that of the attached files.
    """
    attached = [file for file in plan.files if file.attached]
    raw: dict[str, Any] = {"Subject": plan.subject, "Body": plan.body, "ContentType": plan.content_type}
    if plan.headers:
        raw["Headers"] = dict(plan.headers)
    recipients = {
        key: [_address(*pair) for pair in pairs]
        for key, pairs in (("ToAddresses", plan.to), ("CcAddresses", plan.cc))
        if pairs
    }
    optional: Mapping[str, Any] = {
        "AdditionalRecipients": recipients,
        "Attachments": [
            {"FileName": file.name, "S3Url": url} for file, url in zip(attached, urls, strict=True)
        ],
        "ContactFlowId": plan.contact_flow_id,
        "RelatedContactId": plan.related_contact_id,
        "Attributes": dict(plan.attributes),
        "Name": plan.name,
        "Description": plan.description,
        "References": {name: dict(each) for name, each in plan.references.items()},
        "SegmentAttributes": _nest(plan.segments),
    }
    return {
        "InstanceId": plan.instance_id,
        "FromEmailAddress": _address(plan.from_address, plan.from_name),
        "DestinationEmailAddress": plan.destination,
        "EmailMessage": {"MessageSourceType": "RAW", "RawMessage": raw},
        **{key: value for key, value in optional.items() if value},
        "ClientToken": client_token,
    }


def _nest(segments: Sequence[Segment]) -> dict[str, Any]:
    """The segment attributes as the request has them: a table is a ValueMap."""
    nested: dict[str, Any] = {}
    for one in segments:
        *tables, key = one.path
        place = nested
        for table in tables:
            place = place.setdefault(table, {"ValueMap": {}})["ValueMap"]
        place[key] = {"ValueString": one.text} if one.number is None else {"ValueInteger": one.number}
    return nested


def _address(address: str, name: str) -> dict[str, str]:
    return {"EmailAddress": address, "DisplayName": name} if name else {"EmailAddress": address}


def build_earlier_token(
    *, instance_id: str, destination: str, fingerprint: str, salt: str, rung: Rung
) -> str:
    """The client token of one rung, as a relay before `relay.spool.duplicates` made it; for mail accepted by
    that relay.

    68 characters of the 500 that ClientToken holds.
    """
    record = json.dumps([instance_id, destination.lower(), fingerprint, salt, rung], separators=(",", ":"))
    return f"cmr-{hashlib.sha256(record.encode('utf-8')).hexdigest()}"
