"""Every mail of tests/mail is understood as its .json says; `--update-goldens` rewrites what is expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay.message.classify import classify
from relay.message.model import Message
from relay.message.parse import parse_message

MAIL = Path(__file__).parent.parent / "mail"
GOLDENS = sorted(path.stem for path in MAIL.glob("*.eml"))


def summary(message: Message, *, null_reverse_path: bool) -> dict[str, object]:
    """What a reviewer wants to see of a message, in the order of a mail."""
    found: dict[str, object] = {
        "classification": str(classify(message, null_reverse_path=null_reverse_path)),
        "subject": message.subject,
        "author": [[box.name, box.address] for box in message.author],
        "sender": [[box.name, box.address] for box in message.sender],
        "reply_to": [[box.name, box.address] for box in message.reply_to],
        "to": [[box.name, box.address] for box in message.to],
        "cc": [[box.name, box.address] for box in message.cc],
        "message_id": message.message_id,
        "in_reply_to": list(message.in_reply_to),
        "references": list(message.references),
        "date": message.date.isoformat() if message.date else None,
        "text": message.text,
        "html": message.html,
        "lone_texts": [list(part.path) for part in message.lone_texts],
        "lone_htmls": [list(part.path) for part in message.lone_htmls],
        "attachments": [
            {
                key: value
                for key, value in {
                    "path": list(part.path),
                    "name": part.name,
                    "content_type": part.content_type,
                    "detected_type": part.detected_type,
                    "disposition": part.content_disposition,
                    "content_id": part.content_id,
                    "content_location": part.content_location,
                    "origin": part.origin,
                    "size": part.size,
                    "sha256": part.sha256,
                }.items()
                if value not in (None, "")
            }
            for part in message.attachments
        ],
        "embedded": [
            {"path": list(each.path), "message": summary(each.message, null_reverse_path=False)}
            for each in message.embedded
        ],
        "defects": [str(defect) for defect in message.defects],
    }
    kept = {"classification", "subject", "author", "to", "text", "html", "attachments"}
    return {key: value for key, value in found.items() if key in kept or value}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden_is_understood_as_reviewed(name, request):
    """The mail gives the message that a person reviewed."""
    path = MAIL / f"{name}.json"
    golden = json.loads(path.read_text(encoding="utf-8"))
    null_reverse_path = golden["null_reverse_path"]
    actual = summary(parse_message((MAIL / f"{name}.eml").read_bytes()), null_reverse_path=null_reverse_path)
    if request.config.getoption("--update-goldens"):
        golden["expected"] = actual
        path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert actual == golden["expected"]


def test_goldens_are_many_and_each_has_its_story():
    """There are at least sixty, each with a sentence on where such mail comes from."""
    stories = [json.loads((MAIL / f"{name}.json").read_text(encoding="utf-8"))["story"] for name in GOLDENS]
    assert len(GOLDENS) >= 60
    assert all(len(story) > 30 for story in stories)
    assert len(set(stories)) == len(stories)
