"""Every mail of tests/mail that names a contact becomes it; `--update-goldens` rewrites what is expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contact.factory import make_config, make_context, make_route

from relay.contact.fit import fit
from relay.contact.plan import Plan
from relay.message.parse import parse_message

MAIL = Path(__file__).parent.parent / "mail"
GOLDENS = [path for path in sorted(MAIL.glob("*.json")) if '"contact"' in path.read_text(encoding="utf-8")]


def summary(plan: Plan) -> dict[str, object]:
    """What an agent and a flow see of a contact, and what was changed for it."""
    found: dict[str, object] = {
        "subject": plan.subject,
        "from": [plan.from_name, plan.from_address],
        "to": [list(pair) for pair in plan.to],
        "cc": [list(pair) for pair in plan.cc],
        "headers": dict(plan.headers),
        "content_type": plan.content_type,
        "body": plan.body,
        "attached": [file.name for file in plan.files if file.attached],
        "stored": [file.name for file in plan.files if not file.attached],
        "bounce": {key: value for key, value in plan.attributes.items() if key.startswith("relay_bounce")},
        "adaptations": [change.code for change in plan.adaptations],
    }
    return {key: value for key, value in found.items() if value or key == "body"}


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden_becomes_the_contact_that_was_reviewed(path, request):
    """The mail gives the contact that a person reviewed."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    config = make_config()
    reverse_path = None if golden["null_reverse_path"] else "ann@customer.example"
    message = parse_message(path.with_suffix(".eml").read_bytes())
    plan = fit(message, make_context(reverse_path=reverse_path), make_route(config), config)
    actual = summary(plan)
    if request.config.getoption("--update-goldens"):
        golden["contact"] = actual
        path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert actual == golden["contact"]
