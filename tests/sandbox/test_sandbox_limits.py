"""What the simulator refuses, and in which words."""

from __future__ import annotations

import pytest
from aws_parts import request_for

from relay.config.builtin import INSTANCE_ID
from relay.sandbox.limits import Settings, check

MEGABYTE = 1024 * 1024
URL = "https://bucket.example/mail/1"


def refusal(params, *, sizes=None, **settings):
    """(code, reason word) of the refusal; None where there is none."""
    found = check(params, Settings(**settings), size_of=(sizes or {}).get)
    return found and (found.code, *(found.reason or {}).values())


def files(*names):
    return request_for(Attachments=[{"FileName": name, "S3Url": f"{URL}/{name}"} for name in names])


def raw(**changes):
    message = {"Subject": "s", "Body": "b", "ContentType": "text/plain"} | changes
    return request_for(EmailMessage={"MessageSourceType": "RAW", "RawMessage": message})


def people(to, cc):
    address = {"EmailAddress": "someone@example.org"}
    return request_for(AdditionalRecipients={"ToAddresses": [address] * to, "CcAddresses": [address] * cc})


def attributes(size):
    return request_for(Attributes={"k": "é" * ((size - 1) // 2) + "x" * ((size - 1) % 2)})


INVALID = ("InvalidRequestException",)
MISSING = ("ResourceNotFoundException",)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (request_for(), None),
        ([], INVALID),
        ({}, INVALID),
        (request_for(InstanceId=""), INVALID),
        (request_for(Unknown="x"), INVALID),
        (request_for(DestinationEmailAddress="nobody"), INVALID),
        (raw(Subject="s" * 998), None),
        (raw(Subject="s" * 999), INVALID),
        (raw(Subject=""), None),
        (raw(Body=""), INVALID),
        (raw(Body="é" * 2_621_440), None),
        (raw(Body="é" * 2_621_440 + "x"), INVALID),
        (raw(ContentType="text/markdown"), INVALID),
        (raw(Headers={"MESSAGE_ID": "<a@b>"}), None),
        (raw(Headers={"SUBJECT": "s"}), INVALID),
        (people(25, 24), None),
        (people(25, 25), INVALID),
        (attributes(32_768), None),
        (attributes(32_769), INVALID),
        (request_for(Attributes={"a b": "v"}), INVALID),
        (request_for(References={"r": {"Type": "STRING", "Value": "x" * 4_000}}), None),
        (request_for(References={"r": {"Type": "STRING", "Value": "x" * 4_096}}), INVALID),
        (request_for(References={"r": {"Type": "EMAIL", "Value": "x"}}), INVALID),
        (files("a.pdf"), None),
        (files("x" * 252 + ".pdf"), None),
        (files("x" * 253 + ".pdf"), INVALID),
        (files("zero\u200bwidth.pdf"), INVALID),
        (request_for("https://b.example/" + "x" * 1_982), None),
        (request_for("https://b.example/" + "x" * 1_983), INVALID),
        (files("A.PDF", "見積書.docx"), None),
        (files("tool.exe"), (*INVALID, "INVALID_FILE_TYPE")),
        (files("README"), (*INVALID, "INVALID_FILE_TYPE")),
        (files("a.pdf.zip"), (*INVALID, "INVALID_FILE_TYPE")),
        (files(*(f"{number}.pdf" for number in range(10))), None),
        (
            files(*(f"{number}.pdf" for number in range(11))),
            ("ServiceQuotaExceededException", "TOTAL_FILE_COUNT_EXCEEDED"),
        ),
        (files(*(f"{number}.pdf" for number in range(51))), INVALID),
    ],
)
def test_a_request_is_taken_up_to_its_limits(params, expected):
    """Each documented limit: what just fits passes, one more is refused."""
    assert refusal(params) == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((20 * MEGABYTE,), None),
        ((20 * MEGABYTE + 1,), (*INVALID, "INVALID_FILE_SIZE")),
        ((0,), (*INVALID, "INVALID_FILE_SIZE")),
        ((13 * MEGABYTE, 12 * MEGABYTE - 12), None),  # the body of request_for has 12 bytes
        ((13 * MEGABYTE, 12 * MEGABYTE - 11), ("ServiceQuotaExceededException", "TOTAL_FILE_SIZE_EXCEEDED")),
    ],
)
def test_files_are_weighed(sizes, expected):
    """20 MB a file, 25 MB with the body in all."""
    known = {f"{URL}/{number}.pdf": size for number, size in enumerate(sizes)}
    assert refusal(files(*(f"{number}.pdf" for number in range(len(sizes)))), sizes=known) == expected


def test_what_was_never_uploaded_has_no_size_to_refuse():
    """A URL that leads nowhere is found out when it is fetched, as in the service."""
    assert refusal(files("a.pdf"), sizes={}) is None


def test_an_instance_takes_what_its_administrator_says():
    """File types and their number are settings of the instance."""
    assert refusal(files("a.zip"), extensions=("zip",)) is None
    assert refusal(files(*(f"{n}.pdf" for n in range(50))), max_attachments=50) is None
    assert refusal(files("a.pdf", "b.pdf"), max_attachments=1)[1] == "TOTAL_FILE_COUNT_EXCEEDED"


def test_what_does_not_exist_is_not_found():
    """Instances by id or by ARN, destinations by the instance's addresses."""
    known = {"instance_ids": frozenset({INSTANCE_ID})}
    arn = f"arn:aws:connect:eu-central-1:123456789012:instance/{INSTANCE_ID}"
    assert refusal(request_for(), **known) is None
    assert refusal(request_for(InstanceId=arn), **known) is None
    assert refusal(request_for(InstanceId="other"), **known) == MISSING
    assert refusal(request_for(), has_address=lambda _instance, address: address == "a@b.example") == MISSING
