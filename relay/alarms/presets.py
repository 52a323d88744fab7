"""The shapes in which a webhook gets an alarm, as the vendors document them.

Owns what is posted: `generic` is the document itself, signed where a key is given; `slack`, `pagerduty` and
`teams` are what these services take. Never does I/O.

Sources: Slack, "Sending messages using incoming webhooks"; PagerDuty, "Send an Alert Event" (Events API v2);
Microsoft, "Create Incoming Webhooks" (Teams, Adaptive Cards); Standard Webhooks, "Signature scheme".
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from relay.config.alarms import Preset, decode_secret

#: Characters of `payload.summary` and of `dedup_key` (PagerDuty, "Send an Alert Event").
_SUMMARY_CHARACTERS = 1_024
_KEY_CHARACTERS = 255
#: Characters of the sentence that Slack and Teams show: JSON writes one as twelve octets at
#: most, so that it stays below the 40,000 characters and the 28 KB that they take.
_TEXT_CHARACTERS = 2_000

#: The colours of a TextBlock (Adaptive Cards), by severity; the end of an alarm is "good".
_COLOURS = {"critical": "attention", "error": "attention", "warning": "warning", "info": "default"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """The body of one POST, and its headers."""

    body: bytes
    headers: Mapping[str, str]


def build_post(document: Mapping[str, Any], *, preset: Preset, key: str, sent_at: datetime) -> Post:
    """The POST of an alarm's document. It is the same at each try, but for the signature's timestamp.

    `key` is the secret of `generic` ("": no signature) and the integration key of `pagerduty`.
    """
    shaped: Mapping[str, Any]
    match preset:
        case "slack":
            shaped = _build_slack(document)
        case "pagerduty":
            shaped = _build_pagerduty(document, key)
        case "teams":
            shaped = _build_teams(document)
        case "generic":
            shaped = document
    body = json.dumps(shaped).encode()
    secret = decode_secret(key) if preset == "generic" and key else None
    # The id is that of the content: each further try has the same.
    name = f"msg_{sha256(body).hexdigest()[:32]}"
    signature = sign(body, secret, name=name, sent_at=sent_at) if secret is not None else {}
    return Post(body=body, headers={"Content-Type": "application/json", **signature})


def sign(body: bytes, secret: bytes, *, name: str, sent_at: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks for a body whose id is `name`."""
    seconds = str(int(sent_at.timestamp()))
    mark = hmac.digest(secret, b".".join((name.encode(), seconds.encode(), body)), "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{b64encode(mark).decode()}",
    }


def _head(document: Mapping[str, Any]) -> str:
    """The line that says which alarm this is, and of which host."""
    about = f" ({document['subject']})" if document["subject"] else ""
    ended = "" if document["raised"] else " ended"
    return f"relay on {document['host']}: {document['alarm']}{about}{ended}"


def _build_slack(document: Mapping[str, Any]) -> dict[str, Any]:
    text = f"*{_escape(_head(document))}*\n{_escape(document['detail'][:_TEXT_CHARACTERS])}"
    return {"text": text}


def _escape(text: str) -> str:
    """The text without Slack's three characters of control: `<!channel>` would call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _build_pagerduty(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    # The key of docs/operations.md ("Alarms") pairs an alarm with its end; JSON keeps its three parts apart.
    pair = json.dumps([document["host"], document["alarm"], document["subject"]])
    event = {
        "routing_key": key,
        "dedup_key": pair if len(pair) <= _KEY_CHARACTERS else sha256(pair.encode()).hexdigest(),
    }
    if not document["raised"]:
        return {**event, "event_action": "resolve"}
    return {
        **event,
        "event_action": "trigger",
        "payload": {
            "summary": f"{_head(document)}: {document['detail']}"[:_SUMMARY_CHARACTERS],
            "source": document["host"],
            "severity": document["severity"],
            "timestamp": document["at"],
            "component": "relay",
            "class": document["alarm"],
            "custom_details": dict(document),
        },
    }


def _build_teams(document: Mapping[str, Any]) -> dict[str, Any]:
    colour = _COLOURS[document["severity"]] if document["raised"] else "good"
    head = {
        "type": "TextBlock",
        "text": _head(document),
        "weight": "bolder",
        "size": "medium",
        "color": colour,
        "wrap": True,
    }
    # A TextBlock folds single line ends: each line is a block of its own.
    lines = [
        {"type": "TextBlock", "text": line, "wrap": True}
        for line in document["detail"][:_TEXT_CHARACTERS].split("\n")
        if line
    ]
    facts = [
        {"title": name, "value": str(document[name])}
        for name in ("severity", "count", "at")
        if name in document
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": [head, *lines, {"type": "FactSet", "facts": facts}],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}
