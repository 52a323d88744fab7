"""An explanation as JSON: one object for each destination of a file (docs/operations.md, "What would a mail
become?").

Owns the keys of that object. Never explains anything: `relay.explain` does.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from relay.explain import Explanation
from relay.message.model import Message


def build_record(explanation: Explanation) -> dict[str, Any]:
    """The explanation as a JSON object (docs/operations.md, "What would a mail become?")."""
    message, plan = explanation.message, explanation.plan
    record: dict[str, Any] = {
        "file": explanation.file,
        "destination": explanation.destination,
        "request": explanation.request,
        "message": _build_message(message) if message else None,
        "adaptations": [],
        "classification": None,
        "disposition": str(explanation.disposition),
        "error": explanation.error,
        "reason": explanation.reason,
        "route": explanation.route.name if explanation.route else None,
        "files": [],
        "original_key": None,
        "identity": asdict(explanation.identity) if explanation.identity else None,
    }
    if plan is not None:
        record["adaptations"] = [
            {"code": str(one.code), "detail": one.detail, "before": one.before, "after": one.after}
            for one in plan.adaptations
        ]
        record["classification"] = str(plan.classification)
        record["files"] = [
            {
                "name": file.name,
                "key": file.key,
                "size": file.size,
                "sha256": file.sha256,
                "attached": file.attached,
            }
            for file in plan.files
        ]
        record["original_key"] = plan.original_key
    return record


def _build_message(message: Message) -> dict[str, Any]:
    """The parsed mail as JSON, before anything is adapted."""
    return {
        "subject": message.subject,
        "from": [mailbox.address for mailbox in message.author],
        "to": [mailbox.address for mailbox in message.to],
        "cc": [mailbox.address for mailbox in message.cc],
        "text": message.text,
        "html": message.html,
        "attachments": [
            {
                "name": part.name or "",
                "content_type": part.content_type,
                "size": part.size,
                "sha256": part.sha256,
            }
            for part in message.attachments
            if part.origin != "uuencode"  # its octets are in `text` as they were sent
        ],
        "defects": [str(defect) for defect in message.defects],
    }
