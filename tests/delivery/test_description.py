"""The description of an attempt: what is kept of a plan and its request, and what is cut first."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_helpers import NOW, build_destination, build_submission

from relay.contact.plan import Adaptation, Plan, PlannedFile
from relay.contact.request import build_request
from relay.delivery.description import Attempted, cut_text, describe_plan, describe_request
from relay.spool.model import Entry, State
from relay.spool.page import DOCUMENT_BYTES
from relay.vocabulary import Classification, Rung

URL = "https://bucket.s3.example/mail/1?X-Amz-Signature=secret"


def build_file(name="a.pdf", *, attached=True, number=1) -> PlannedFile:
    return PlannedFile(
        name=name,
        content_type="application/pdf",
        size=9,
        sha256="ab" * 32,
        key=f"mail/x/{number}",
        attached=attached,
        chunks=lambda: iter(()),
    )


PLAN = Plan(
    rung=Rung.FULL,
    instance_id="i",
    destination="support@example.com",
    from_address="j@customer.example",
    from_name="Jörg",
    subject="Café offer",
    body="<p>Hello</p>",
    content_type="text/html",
    headers={"MESSAGE_ID": "<1@x>", "IN_REPLY_TO": "<0@x>", "REFERENCES": "<a@x> <0@x>"},
    to=(("b@example.org", "Bob"),),
    cc=(),
    files=(build_file(), build_file("b.exe", attached=False, number=2)),
    original_key=None,
    attributes={"relay_risk_detail": "file.executable: b.exe; file.macro: c.doc and more"},
    classification=Classification.HUMAN,
    risks=("file.executable", "file.macro"),
    adaptations=(
        Adaptation(
            code="attachment.type_not_allowed",
            detail='"b.exe": The instance does not take it.',
            before="b.exe",
            after=f"mail/x/2 {'ab' * 32}",
        ),
    ),
)


def build_entry() -> Entry:
    mail = build_submission("0" * 16, message_id="<1@x>")
    return Entry(
        entry_id=7,
        spool_id=mail.spool_id,
        destination=build_destination(),
        envelope=mail.envelope,
        results={"relay_spf": "pass", "relay_dmarc": "fail", "relay_dmarc_detail": "x"},
        fingerprint="",
        message_id=mail.message_id,
        size=mail.size,
        trace_size=mail.trace_size,
        state=State.LEASED,
        attempts=1,
        cut_short=0,
        next_attempt_at=NOW,
        lease_until=NOW,
        rung=Rung.FULL,
        released=False,
        token="t",
        sent=False,
        in_doubt_since=None,
        request=None,
        request_expires_at=None,
        contact_id=None,
        reason="",
        detail="",
        accepted_at=NOW,
        updated_at=NOW,
    )


def describe(plan=PLAN):
    request = build_request(plan, [URL for file in plan.files if file.attached], client_token="t")
    return describe_plan(build_entry(), plan, request, prefix="relay_")


def test_a_small_mail_is_described_whole():
    """Everything that the page shows of a plan is in the document, but the URLs of its files."""
    shown = describe()
    record = json.loads(shown.document)
    assert URL.encode() not in shown.document
    assert record.pop("request")["Attachments"] == [{"FileName": "a.pdf"}]
    assert record == {
        "v": 1,
        "subject": "Café offer",
        "author_name": "Jörg",
        "author": "j@customer.example",
        "classification": "human",
        "to": ["Bob <b@example.org>"],
        "cc": [],
        "risks": [["file.executable", "b.exe"], ["file.macro", "c.doc and more"]],
        "adaptations": [["attachment.type_not_allowed", '"b.exe": The instance does not take it.']],
        "files": [
            {
                "name": "a.pdf",
                "content_type": "application/pdf",
                "size": 9,
                "sha256": "ab" * 32,
                "sent": True,
            },
            {
                "name": "b.exe",
                "content_type": "application/pdf",
                "size": 9,
                "sha256": "ab" * 32,
                "sent": False,
                "why": "The instance does not take it.",
            },
        ],
        "adaptation_count": 1,
        "file_count": 2,
        "related": "",
        "thread": ["<1@x>", "<0@x>", "<a@x>"],
    }
    assert shown.classification == "human"
    assert shown.marks == " spf=pass dmarc=fail risk=file.executable risk=file.macro "
    assert shown.words == (
        "cafe offer jorg j@customer.example <0@x> ann@customer.example support@example.com support@example.com <1@x>"
    )


def test_the_body_is_cut_first():
    """A long body is kept as far as there is room, and the document says that it was cut."""
    shown = describe(replace(PLAN, body="é\n" * 5_000_000))
    record = json.loads(shown.document)
    assert record["cut"] == ["body"]
    assert DOCUMENT_BYTES - 8 < len(shown.document) <= DOCUMENT_BYTES
    body = record["request"]["EmailMessage"]["RawMessage"]["Body"]
    assert len(body) > 1_000
    assert body == ("é\n" * len(body))[: len(body)]
    assert len(record["files"]) == 2


def test_lists_and_attributes_go_before_the_request():
    """A mail with hundreds of files keeps some of them and its request; one with more keeps its name."""
    many = replace(
        PLAN,
        files=tuple(
            build_file(f"{number}.pdf", number=number, attached=number < 10) for number in range(300)
        ),
    )
    record = json.loads(describe(many).document)
    assert record["file_count"] == 300
    assert (len(record["files"]), record["cut"]) == (20, ["body", "lists", "attributes"])
    assert "Attributes" not in record["request"]
    long = replace(many, files=tuple(build_file(f"{'語' * 400}{number}") for number in range(300)))
    record = json.loads(describe(long).document)
    assert record["cut"] == ["lists", "request"] or record["cut"] == ["request"]
    assert record["subject"] == "Café offer"


def test_a_request_that_is_sent_again_is_described_by_itself():
    """What a stored request says of its mail is shown, and marked as less than a plan would say."""
    request = build_request(
        replace(
            PLAN,
            attributes={
                "relay_classification": "bulk",
                "relay_risk": "file.macro",
                "relay_adaptations": "a.b",
            },
        ),
        [URL],
        client_token="t",
    )
    shown = describe_request(build_entry(), request, prefix="relay_")
    record = json.loads(shown.document)
    assert not shown.whole
    assert (record["subject"], record["author"], shown.classification) == (
        "Café offer",
        "j@customer.example",
        "bulk",
    )
    assert (record["risks"], record["adaptations"]) == ([["file.macro", ""]], [["a.b", ""]])
    assert shown.marks.endswith(" risk=file.macro ")


def test_an_attempt_that_got_nowhere_has_no_description():
    """Without a plan and without a request there is nothing to be shown."""
    assert Attempted().describe(build_entry(), prefix="relay_") is None


@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=60), octets=st.integers(0, 90))
def test_a_text_is_cut_within_its_octets(text, octets):
    """A cut text is a beginning, no longer in JSON than it may be, and whole if it fits."""
    piece = cut_text(text, octets)
    size = len(json.dumps(piece, ensure_ascii=False).encode("utf-8", "replace")) - 2
    assert text.startswith(piece)
    assert size <= octets
    whole = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2
    assert piece == text or whole > octets


@settings(max_examples=40, deadline=None)
@given(
    line=st.text(max_size=3),
    times=st.integers(0, 3_000),
    files=st.integers(0, 60),
    attributes=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=400), max_size=60),
)
def test_a_document_is_never_too_large(line, times, files, attributes):
    """Whatever a plan holds, its document is JSON within the limit, with the subject."""
    text = line * times
    plan = replace(
        PLAN,
        subject=text,
        from_name=text,
        body=text or "x",
        to=tuple((f"{number}@x", text) for number in range(files)),
        files=tuple(build_file(f"{text}{number}", number=number) for number in range(files)),
        attributes=attributes,
    )
    shown = describe(plan)
    assert len(shown.document) <= DOCUMENT_BYTES
    assert json.loads(shown.document)["author"] == "j@customer.example"
    assert "\n" not in shown.words


@pytest.mark.parametrize("risks", [(), ("file.macro",)])
def test_risks_without_details_are_named(risks):
    """A risk of which the attributes say nothing (they had no room) stands with its code."""
    record = json.loads(describe(replace(PLAN, risks=risks, attributes={})).document)
    assert record["risks"] == [[code, ""] for code in risks]
