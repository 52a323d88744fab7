"""The check of a request against the service model and the documents."""

from __future__ import annotations

import copy
import time

import pytest
from botocore.model import Shape

from relay.aws import request_limits as model
from relay.aws.request_limits import StrictValidator, check_request, input_shape
from relay.aws.shapes import compile_shape

GOOD = {
    "InstanceId": "11111111-2222-3333-4444-555555555555",
    "FromEmailAddress": {"EmailAddress": "jane@customer.example", "DisplayName": "Jane"},
    "DestinationEmailAddress": "support@example.com",
    "EmailMessage": {
        "MessageSourceType": "RAW",
        "RawMessage": {
            "Subject": "Hi",
            "Body": "hello",
            "ContentType": "text/plain",
            "Headers": {"MESSAGE_ID": "<1@x>"},
        },
    },
    "AdditionalRecipients": {"ToAddresses": [{"EmailAddress": "bob@x.example"}]},
    "Attachments": [{"FileName": "a.pdf", "S3Url": "https://bucket.example/1"}],
    "Attributes": {"relay_spool_id": "1"},
    "References": {"mail": {"Type": "URL", "Value": "https://x.example"}},
    "ClientToken": "t",
}


def change(path, value):
    """GOOD with one member replaced, or removed when the value is None."""
    request = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    place = request
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return request


def test_good_request():
    """What Connect takes has no problems."""
    assert check_request(GOOD) == ()


RAW = "EmailMessage.RawMessage"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("InstanceId", "x" * 101, "'InstanceId' failed to satisfy constraint: Member must have length less than or equal to 100"),
        ("InstanceId", None, 'Missing required parameter in input: "InstanceId"'),
        ("Unknown", "x", "Unknown parameter"),
        ("FromEmailAddress.EmailAddress", "root@localhost", "regular expression pattern"),
        ("FromEmailAddress.EmailAddress", "x" * 250 + "@x.example", "equal to 255"),
        ("FromEmailAddress.DisplayName", "x" * 257, "equal to 256"),
        ("FromEmailAddress.DisplayName", "😀" * 129, "equal to 256"),
        ("DestinationEmailAddress", "two words@x.example", "regular expression pattern"),
        (f"{RAW}.Subject", "x" * 999, "equal to 998"),
        (f"{RAW}.Subject", "two\nlines", "one line"),
        (f"{RAW}.Body", "", "valid min length: 1"),
        (f"{RAW}.Body", "é" * 2_621_441, "5242882 bytes"),
        (f"{RAW}.Body", "a\x00b", "NUL"),
        (f"{RAW}.Body", "half \ud83d", "lone surrogate"),
        (f"{RAW}.ContentType", "text/markdown", "text/plain, text/html"),
        (f"{RAW}.Headers", {"X_OTHER": "x"}, "enum value set"),
        (f"{RAW}.Headers", {"REFERENCES": "x" * 20_001}, "equal to 20000"),
        (f"{RAW}.Headers", {"REFERENCES": ""}, "valid min length: 1"),
        (f"{RAW}.Headers", {"REFERENCES": "a\r\nb"}, "one line"),
        ("EmailMessage.MessageSourceType", "TEMPLATE", "enum value set"),
        ("EmailMessage.RawMessage", None, "RawMessage is required"),
        ("AdditionalRecipients.ToAddresses", [], "valid min length: 1"),
        ("AdditionalRecipients.ToAddresses", [{"EmailAddress": f"{n}@x.example"} for n in range(50)], "51 addresses"),
        ("Attachments", [], "valid min length: 1"),
        ("Attachments", [{"FileName": f"{n}", "S3Url": "u"} for n in range(11)], "equal to 10"),
        ("Attachments.0.FileName", "", "valid min length: 1"),
        ("Attachments.0.FileName", "x" * 257, "equal to 256"),
        ("Attachments.0.FileName", "zero\u200bwidth", "regular expression pattern"),
        ("Attachments.0.FileName", "line\n", "regular expression pattern"),
        ("Attachments.0.S3Url", "u" * 2_001, "equal to 2000"),
        ("ContactFlowId", "x" * 501, "equal to 500"),
        ("RelatedContactId", "x" * 257, "equal to 256"),
        ("ClientToken", "x" * 501, "equal to 500"),
        ("Attributes", {"a b": "x"}, "letters, digits, dash and underscore"),
        ("Attributes", {"a": 1}, "Invalid type"),
        ("Attributes", {"a": "x" * 20_000, "b": "é" * 6_400}, "32802 bytes"),
        ("References", {"a": {"Type": "URL", "Value": "x" * 4_096}}, "4097 bytes"),
        ("References", {"a": {"Type": "EMAIL", "Value": "x"}}, "when a contact is started"),
        ("SegmentAttributes", {"a": {"ValueInteger": True}}, "Invalid type"),
    ],
)  # fmt: skip
def test_one_problem(path, value, words):
    """Each limit is held, and the sentence says which and where."""
    problems = check_request(change(path, value))
    assert len(problems) == 1
    assert words in problems[0]
    assert "\n" not in problems[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{RAW}.Subject", ""),
        (f"{RAW}.Body", "é" * 2_621_440),
        (f"{RAW}.Headers", {"REFERENCES": "x" * 20_000}),
        ("FromEmailAddress.DisplayName", ""),
        ("AdditionalRecipients.ToAddresses", [{"EmailAddress": f"{n}@x.example"} for n in range(49)]),
        ("Attachments", [{"FileName": "Größe 📎.pdf", "S3Url": "u" * 2_000} for n in range(10)]),
        ("Attributes", {"a": "x" * 32_766, "b": ""}),
    ],
)
def test_limits_themselves_are_good(path, value):
    """What stands exactly at a limit is taken."""
    assert check_request(change(path, value)) == ()


def test_number_of_attachments_is_configurable():
    """AWS raised it from 10 to 50; both ways round the configuration decides."""
    fifty = change("Attachments", [{"FileName": f"{n}", "S3Url": "u"} for n in range(50)])
    assert check_request(fifty, max_attachments=50) == ()
    assert "equal to 49" in check_request(fifty, max_attachments=49)[0]


def test_sizes_of_files():
    """20 MB each and 25 MB with the body, none empty."""
    assert check_request(GOOD, sizes=[20_971_520, 5_242_875]) == ()
    assert "26214401 bytes" in check_request(GOOD, sizes=[20_971_520, 5_242_876])[0]
    assert "20971521 bytes" in check_request(GOOD, sizes=[20_971_521])[0]
    assert "0 bytes" in check_request(GOOD, sizes=[0])[0]


def test_several_problems_are_several_sentences():
    """All that is wrong is said at once."""
    request = change("DestinationEmailAddress", "x")
    request["ClientToken"] = "t" * 501
    assert len(check_request(request)) == 2


def test_validator_is_of_use_for_other_shapes():
    """The simulator checks any shape of the service with the same core."""
    shape = model.load_service_model().shape_for("EmailAddressInfo")
    assert StrictValidator().check({"EmailAddress": "a@b.c"}, shape) == ()
    assert len(StrictValidator().check({"EmailAddress": "x"}, shape)) == 1
    assert input_shape().name == "StartEmailContactRequest"


def every_shape(shape, found):
    """The shapes below one, each once, by name."""
    if shape.name not in found:
        found[shape.name] = shape
        for name in ("key", "value", "member"):
            if hasattr(shape, name):
                every_shape(getattr(shape, name), found)
        for one in getattr(shape, "members", {}).values():
            every_shape(one, found)
    return found


SHAPES = every_shape(input_shape(), {})


def values_for(shape):
    """Values at and beyond the limits of a shape, and of every other type."""
    yield from (
        None,
        True,
        0,
        7,
        1.5,
        b"x",
        [],
        {},
        (),
        "",
        "x",
        "a@b.c",
        "RAW",
        "URL",
        "x\x00",
        "half \ud83d",
        "zero\u200b",
        "ok\n",
    )
    for size in {shape.metadata.get("min", 0), shape.metadata.get("max", 9)}:
        yield from (unit * more for unit in ("x", "\u00e9") for more in range(max(size - 1, 0), size + 2))
        yield from ("\U0001f600" * more for more in (size // 2, size // 2 + 1))
        yield from ([{"EmailAddress": "a@b.c"}] * min(more, 60) for more in (size, size + 1))
    yield from (
        {"ValueString": "x"},
        {"ValueString": 1},
        {"k": {"ValueMap": {"k": {"ValueInteger": 1}}}},
        {"k": {"ValueMap": {"": {}}}},
    )
    yield from (
        {"k": "v"},
        {"k": 1},
        {1: "v"},
        {"k": {"Type": "URL"}},
        {"EmailAddress": "a@b.c", "Other": "x"},
        [GOOD],
        GOOD,
    )


@pytest.mark.parametrize("name", SHAPES)
def test_quick_look_agrees_with_the_validator(name):
    """A value fits a shape exactly where the validator has nothing to say of it."""
    shape, fits = SHAPES[name], compile_shape(SHAPES[name], {})
    for value in values_for(shape):
        assert fits(value) == (StrictValidator().check(value, shape) == ()), repr(value)[:80]


def test_quick_look_judges_no_type_that_it_does_not_know():
    """A shape of a type without a function here fits nothing, so that the validator judges it."""
    blob = Shape("Blob", {"type": "blob"})
    assert not compile_shape(blob, {})(b"x")


def test_model_is_read_once():
    """Only the first check pays for the model."""
    check_request(GOOD)
    begun = time.process_time()
    for _ in range(100):
        check_request(GOOD)
    assert time.process_time() - begun < 0.5
