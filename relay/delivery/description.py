"""The description of an attempt for the page: what the mail became, whichever outcome it had.

Owns what of a plan and its request is kept, and what is cut first where it is too much: the body. URLs of
files are left out, because each is a key to its file. Pure: values in, values out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay.contact.plan import Plan
from relay.contact.record import ID, LINE, list_ids, record_plan
from relay.spool.model import Entry
from relay.spool.page import DOCUMENT_BYTES, Shown, join_words, mark_results

#: The version of the form. A reader takes what it knows, and leaves the rest.
_VERSION: Final = 1
#: Items of a list that are kept where the document is too large, and where it is much too large.
_ITEMS: Final = 20
_FEW: Final = 5


@dataclass(slots=True)
class Attempted:
    """The payload of an attempt as far as it got; filled in while the attempt goes on."""

    plan: Plan | None = None
    request: Mapping[str, Any] | None = None

    def begin(self, plan: Plan) -> None:
        """Take another plan, of which no request has been made yet."""
        self.plan, self.request = plan, None

    def describe(self, entry: Entry, *, prefix: str) -> Shown | None:
        """The description of the attempt. Returns None where it got nowhere; `prefix` is that of
        attributes.
        """
        if self.plan is not None:
            return describe_plan(entry, self.plan, self.request, prefix=prefix)
        return describe_request(entry, self.request, prefix=prefix) if self.request is not None else None


def describe_plan(entry: Entry, plan: Plan, request: Mapping[str, Any] | None, *, prefix: str) -> Shown:
    """The description of a plan, and of the request where one was made."""
    answers = plan.headers.get("IN_REPLY_TO", "")
    return _build(entry, record_plan(plan, prefix=prefix), request, risks=plan.risks, answers=answers)


def describe_request(entry: Entry, request: Mapping[str, Any], *, prefix: str) -> Shown:
    """The description of a stored request that was sent again: it was planned by an earlier attempt."""
    known: Mapping[str, str] = request.get("Attributes", {})
    message: Mapping[str, Any] = request.get("EmailMessage", {}).get("RawMessage", {})
    author: Mapping[str, str] = request.get("FromEmailAddress", {})
    headers: Mapping[str, str] = message.get("Headers", {})
    risks = known.get(f"{prefix}risk", "").split()
    record = {
        "subject": message.get("Subject", "")[:LINE],
        "author_name": author.get("DisplayName", "")[:LINE],
        "author": author.get("EmailAddress", "")[:LINE],
        "classification": known.get(f"{prefix}classification", ""),
        "risks": [[code, ""] for code in risks],
        "adaptations": [[code, ""] for code in known.get(f"{prefix}adaptations", "").split()],
        "files": [
            {"name": each.get("FileName", ""), "sent": True} for each in request.get("Attachments", ())
        ],
        "related": request.get("RelatedContactId", ""),
        "thread": list_ids([headers.get(name, "") for name in ("MESSAGE_ID", "IN_REPLY_TO", "REFERENCES")]),
    }
    answers = headers.get("IN_REPLY_TO", "")
    return _build(entry, record, request, risks=risks, answers=answers, whole=False)


def _build(
    entry: Entry,
    record: Mapping[str, Any],
    request: Mapping[str, Any] | None,
    *,
    risks: Sequence[str],
    answers: str,
    whole: bool = True,
) -> Shown:
    subject, name, address = record["subject"], record["author_name"], record["author"]
    return Shown(
        document=_write(record, request),
        classification=record["classification"],
        marks=mark_results(entry.results, risks),
        # With the mail that it answers, so that a search for a Message-ID finds the answers to it, too.
        words=join_words(entry, subject, name, address, answers[:ID]),
        whole=whole,
    )


def _write(record: Mapping[str, Any], request: Mapping[str, Any] | None) -> bytes:
    """The document. Where it is too large the end of the request's body goes first, then the ends of lists
    and the attributes of the request, then the request; `cut` tells.
    """
    asked, body = _without_urls(request)
    whole = _dump(record, asked, body)
    if len(whole) <= DOCUMENT_BYTES:
        return whole
    short, shorter = _shorten(record, _ITEMS), _shorten(record, _FEW)
    bare = {name: value for name, value in asked.items() if name != "Attributes"}
    for texts, kept, cut in (
        (record, asked, ["body"]),
        (short, bare, ["body", "lists", "attributes"]),
        (shorter, {}, ["lists", "request"]),
    ):
        octets = _dump(texts, kept, "", cut)
        if len(octets) <= DOCUMENT_BYTES:
            return _dump(texts, kept, cut_text(body, DOCUMENT_BYTES - len(octets)), cut) if kept else octets
    return _dump({"subject": record["subject"][:ID], "author": record["author"][:ID]}, {}, "", ["request"])


def _dump(record: Mapping[str, Any], asked: Mapping[str, Any], body: str, cut: Sequence[str] = ()) -> bytes:
    told = {"v": _VERSION, **record}
    if asked:
        message = asked["EmailMessage"]
        raw = {**message["RawMessage"], "Body": body}
        told["request"] = {**asked, "EmailMessage": {**message, "RawMessage": raw}}
    if cut:
        told["cut"] = list(cut)
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _without_urls(request: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The request without the URLs of its files, and its body; of a body only what may be kept of it."""
    if request is None:
        return {}, ""
    asked = dict(request)
    if "Attachments" in asked:
        asked["Attachments"] = [{"FileName": each.get("FileName", "")} for each in asked["Attachments"]]
    message = asked.get("EmailMessage", {})
    raw = message.get("RawMessage", {})
    asked["EmailMessage"] = {**message, "RawMessage": raw}
    body = str(raw.get("Body", ""))
    # One character more than there is room for tells that it was cut.
    return asked, body[: DOCUMENT_BYTES + 1]


def cut_text(text: str, octets: int) -> str:
    """The longest beginning or so of a text whose octets in JSON are at most as many."""
    piece = text[:octets]
    while (
        piece and (size := len(json.dumps(piece, ensure_ascii=False).encode("utf-8", "replace")) - 2) > octets
    ):
        piece = piece[: min(len(piece) - 1, len(piece) * octets // size)]
    return piece


def _shorten(record: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {name: value[:most] if isinstance(value, list) else value for name, value in record.items()}
