"""The document of an event, as receivers get it (docs/events.md, "The document").

Owns its keys, which are added to and never renamed. Never does I/O. It has no address of a sender or of a
recipient, and nothing of the mail's content.
"""

from __future__ import annotations

import json
from datetime import datetime

from relay.alarms.presets import Post, sign
from relay.config.alarms import decode_secret
from relay.spool.feed import FeedEvent

#: The version of the document; another one would have other meanings under the same keys.
VERSION = 1


def build_document(event: FeedEvent, *, host: str) -> str:
    """The document as JSON: the same at each try."""
    reference = f"{event.spool_id}.{event.entry}" if event.entry else None
    return json.dumps(
        {
            "version": VERSION,
            "id": name_event(event),
            "type": str(event.kind),
            "at": event.at.isoformat(timespec="milliseconds"),
            "host": host,
            "route": event.route,
            "spool_id": event.spool_id,
            "entry": reference,
            "message_id": event.message_id,
            "contact_id": event.contact_id,
            "instance_id": event.instance_id,
            "reason": event.reason,
        }
    )


def name_event(event: FeedEvent) -> str:
    """The id of an event, by which a receiver knows one that comes again."""
    return f"{event.spool_id}.{event.entry}.{event.number}"


def build_event_post(event: FeedEvent, *, host: str, key: str, sent_at: datetime) -> Post:
    """The POST of an event, signed over its id, the instant and the body (Standard Webhooks)."""
    body = build_document(event, host=host).encode()
    secret = decode_secret(key)
    assert secret is not None, "the configuration refuses such a key"
    headers = sign(body, secret, name=f"evt_{name_event(event)}", sent_at=sent_at)
    return Post(body=body, headers={"Content-Type": "application/json", **headers})
