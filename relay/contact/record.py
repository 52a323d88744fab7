"""The record of a plan for people: what a contact became of its mail, as plain data.

Owns its form, which `relay.delivery.description` keeps with each outcome and the page reads. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from relay.contact.plan import Plan, PlannedFile

#: Characters of subjects and names, of sentences, and of a Message-ID.
LINE: Final = 400
ID: Final = 200
_SENTENCE: Final = 300
#: Items of a list.
_MOST: Final = 200
#: Message-IDs of References that are kept.
_IDS: Final = 10
_NOT_SENT: Final = "It is kept beside the contact, and named in the note of its body."


def record_plan(plan: Plan, *, prefix: str) -> dict[str, Any]:
    """The record of a plan without its words; `prefix` is that of attributes."""
    thread = [plan.headers.get(name, "") for name in ("MESSAGE_ID", "IN_REPLY_TO", "REFERENCES")]
    reasons = {each.after: each.detail for each in plan.adaptations}
    return {
        "subject": plan.subject[:LINE],
        "author_name": plan.from_name[:LINE],
        "author": plan.from_address[:LINE],
        "classification": str(plan.classification),
        "to": [_mailbox(*each) for each in plan.to[:_MOST]],
        "cc": [_mailbox(*each) for each in plan.cc[:_MOST]],
        "risks": list(_list_risks(plan, prefix)),
        "adaptations": [[str(each.code), each.detail[:_SENTENCE]] for each in plan.adaptations[:_MOST]],
        "files": [_describe_file(each, reasons) for each in plan.files[:_MOST]],
        # Of all of them, also where some were left out.
        "adaptation_count": len(plan.adaptations),
        "file_count": len(plan.files),
        "related": plan.related_contact_id or "",
        "thread": list_ids(thread),
    }


def _mailbox(address: str, name: str) -> str:
    return f"{name[:LINE]} <{address[:LINE]}>" if name else address[:LINE]


def list_ids(headers: Sequence[str]) -> list[str]:
    """The Message-IDs in some headers, the mail's own first; of many references the newest."""
    own, *others = headers
    ids = [each[:ID] for value in others for each in value.split()]
    return (
        list(dict.fromkeys([own[:ID], *ids[:1], *ids[-_IDS:]])) if own else list(dict.fromkeys(ids[-_IDS:]))
    )


def _list_risks(plan: Plan, prefix: str) -> Iterator[list[str]]:
    """Give the codes, each with what was found, out of the attribute that has all of it."""
    told, at = plan.attributes.get(f"{prefix}risk_detail", ""), 0
    for code, following in zip(plan.risks, [*plan.risks[1:], ""], strict=False):
        begin = told.find(f"{code}: ", at)
        end = told.find(f"; {following}: ", begin) if following else -1
        at = end if end >= 0 else len(told)
        yield [code, told[begin + len(code) + 2 : at][:_SENTENCE] if begin >= 0 else ""]


def _describe_file(file: PlannedFile, reasons: Mapping[str, str]) -> dict[str, Any]:
    """A file, and what became of it where the contact does not have it; the reasons are by its place."""
    why = reasons.get(f"{file.key} {file.sha256}", _NOT_SENT)
    return {
        "name": file.name[:LINE],
        "content_type": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
        "sent": file.attached,
        **({} if file.attached else {"why": why.removeprefix(f'"{file.name}": ')[:_SENTENCE]}),
    }
