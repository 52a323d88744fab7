"""The pages of docs/ that are made of the code: `make docs` writes them, a test says when one is stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from relay.contact.adaptations import build_adaptations_document
from relay.contact.attributes import build_attributes_document
from relay.contact.limits import build_limits_document
from relay.contact.risk.codes import build_risk_document
from relay.replies import build_replies_document

DOCS = Path(__file__).parent
PAGES: Mapping[str, Callable[[], str]] = {
    "adaptations.md": build_adaptations_document,
    "attributes.md": build_attributes_document,
    "limits.md": build_limits_document,
    "replies.md": build_replies_document,
    "risk.md": build_risk_document,
}

if __name__ == "__main__":
    for name, build in PAGES.items():
        (DOCS / name).write_text(build(), encoding="utf-8")
