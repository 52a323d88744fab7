"""The reader of what was kept of an outcome: a newer or damaged document shows as less, and never raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.web.documents import WITHHELD, Document, parse_document, withhold_words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)
NAMES = (
    "v",
    "subject",
    "author",
    "to",
    "cc",
    "risks",
    "adaptations",
    "files",
    "request",
    "related",
    "thread",
)


@given(octets=st.binary(max_size=200))
def test_any_octets_are_a_document(octets):
    """Octets that are no JSON give an empty document."""
    assert isinstance(parse_document(octets), Document)


@given(record=st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_record_is_a_document(record):
    """Fields of other types and shapes are left out, and the others are read."""
    document = parse_document(json.dumps(record).encode("utf-8", "surrogatepass"))
    subject = record.get("subject")
    assert document.subject == (subject[:200] if isinstance(subject, str) else "")
    assert all(isinstance(each, tuple) for each in (document.to, document.cc, document.risks, document.files))


@pytest.mark.parametrize("octets", [b"", b"[]", b"null", b"[" * 100_000, b"\xff{}", b'{"v":2}', b"1e999"])
def test_what_is_no_document_of_ours_is_empty(octets):
    """A document without anything known shows nothing."""
    assert parse_document(octets) == Document()


def test_what_a_newer_relay_adds_is_left_out():
    """Unknown fields change nothing, and known ones are read beside them."""
    document = parse_document(b'{"v":9,"subject":"S","new":{"x":1},"files":[{"name":"a","size":-1},7]}')
    assert (document.subject, [(file.name, file.size, file.sent) for file in document.files]) == (
        "S",
        [("a", 0, False)],
    )


@given(
    request=st.dictionaries(st.sampled_from(("EmailMessage", "Attributes", "Name")), JSON),
    message=st.none() | st.dictionaries(st.sampled_from(("RawMessage", "Other")), JSON),
)
def test_words_of_any_request_are_withheld(request, message):
    """A request of any shape has no body and no text of its mail left, and all else stays as it was."""
    asked = request if message is None else {**request, "EmailMessage": message}
    bare = withhold_words(asked)
    assert bare is not None
    assert bare.keys() == asked.keys()
    assert bare.get("Name") == asked.get("Name")
    if "EmailMessage" in bare:
        told = bare["EmailMessage"]
        assert told == WITHHELD or told["RawMessage"]["Body"] == WITHHELD


def test_a_request_keeps_all_but_the_words():
    """The body and the text of the mail give way to a sentence, under any prefix; the rest is as sent."""
    raw = {"Subject": "S", "Body": "words", "ContentType": "text/plain"}
    request = {"EmailMessage": {"RawMessage": raw}, "Attributes": {"m_new_text": "words", "m_tag": "t"}}
    assert withhold_words(request) == {
        "EmailMessage": {"RawMessage": {**raw, "Body": WITHHELD}},
        "Attributes": {"m_new_text": WITHHELD, "m_tag": "t"},
    }
    assert withhold_words(None) is None
