"""The fields of a contact that an operator's templates fill."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from contact.factory import make_config, make_context, make_message, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.aws.request_limits import check_request
from relay.config.template import FIELDS, split_template
from relay.contact.fit import fit
from relay.contact.limits import REFERENCE_BYTES
from relay.contact.original import fit_original
from relay.contact.request import build_request
from relay.message.parse import parse_message
from relay.vocabulary import Cause, Rung

EVERY = "|".join(f"{{{name}}}" for name in FIELDS) + "|{header:X-Order-Id}"


def plan_of(message=None, *, rung=Rung.FULL, contact=None, context=None, **route):
    config = make_config(contact=contact, **route)
    return fit(
        message or make_message(text="Hi"), context or make_context(), make_route(config), config, rung=rung
    )


def request_of(plan):
    urls = ["https://bucket.example/file"] * sum(file.attached for file in plan.files)
    return build_request(plan, urls, client_token="token")


def codes(plan):
    return [change.code for change in plan.adaptations]


def test_name_is_the_subject_by_default():
    """Without a word of configuration a contact is called by its subject, and has no such field more."""
    request = request_of(plan_of())
    assert request["Name"] == "Order 4711"
    assert not request.keys() & {"Description", "References", "SegmentAttributes"}
    assert "Name" not in request_of(plan_of(make_message(subject="", text="Hi")))


def test_every_field_of_the_list_has_its_value():
    """Each field of the closed list, a header and braces stand in a text as the mail has them."""
    message = replace(
        make_message(text="Hi", reply_to=["kim@x.example"], cc=["eve@x.example"]),
        headers=(("X-Order-Id", "4711"), ("Importance", "high"), ("Content-Language", "de")),
        message_id="<1@x.example>",
        date=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
    )
    context = make_context(results={"relay_identity": "verified: x.example signed this"})
    template = " ".join(f"{name}={{{name}}};" for name in FIELDS) + " x={header:x-order-id} {{}}"
    words = plan_of(message, context=context, description=template).description
    assert words == (
        "subject=Order 4711; author=jane@customer.example; author_name=Jane Doe; reply_to=kim@x.example; "
        "to=support@example.com; cc=eve@x.example; reverse_path=jane@customer.example; "
        "forward_path=support@example.com; destination=support@example.com; route=support@example.com; tag=; "
        "message_id=<1@x.example>; date=2025-03-01T12:00:00+00:00; accepted_at=2025-03-01T12:00:00+00:00; "
        f"size={context.raw_size}; files=0; classification=human; identity=verified: x.example signed this; "
        "importance=high; language=de; spool_id=0123456789ab; x=4711 {}"
    )


def test_route_goes_before_what_holds_for_all():
    """What a route says goes before [contact]; what it does not say is taken from there."""
    contact = {
        "name": "all {subject}",
        "description": "for all",
        "attributes": {"channel": "mail", "desk": "none"},
        "references": {"shop": {"value": "all"}, "more": {"value": "too"}},
        "segment_attributes": {"tier": "plain", "score": 1},
    }
    plan = plan_of(
        contact=contact,
        contact_name="one {subject}",
        attributes={"desk": "support {author}"},
        references={"shop": {"value": "one"}},
        segment_attributes={"tier": "gold"},
    )
    request = request_of(plan)
    assert (request["Name"], request["Description"]) == ("one Order 4711", "for all")
    assert plan.attributes["desk"] == "support jane@customer.example"
    assert plan.attributes["channel"] == "mail"
    assert {key: each["Value"] for key, each in request["References"].items()} == {
        "shop": "one",
        "more": "too",
    }
    assert request["SegmentAttributes"] == {"tier": {"ValueString": "gold"}, "score": {"ValueInteger": 1}}


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("STRING", "{header:X-A}", "a b"),
        ("NUMBER", "{header:X-N}", "-12.5"),
        ("NUMBER", "{header:X-A}", None),
        ("DATE", "{date}", "1740830400"),
        ("DATE", "{accepted_at}", "1740830400"),
        ("DATE", "{header:X-D}", "1740787200"),
        ("DATE", "{header:X-E}", "1700000000"),
        ("DATE", "Mon, 3 Mar 2025 10:00:00 +0100", "1740992400"),
        ("DATE", "3 Mar 2025", "1740960000"),
        ("DATE", "{header:X-A}", None),
        (
            "URL",
            "https://shop.example.com/{header:X-U}",
            "https://shop.example.com/..%2F%3Fq%3D1%40evil.example",
        ),
        ("URL", "https://shop.example.com/a b", None),
        ("STRING", "{header:X-None}", ""),
    ],
)
def test_reference_has_a_value_of_its_type_or_is_left_out(kind, value, found):
    """A number is a number, a date seconds since 1970, a URL leads to the operator's server; else none."""
    message = replace(
        make_message(text="Hi"),
        date=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
        headers=(
            ("X-A", "a b"),
            ("X-N", "-12.5"),
            ("X-D", "2025-03-01"),
            ("X-E", "1700000000"),
            ("X-U", "../?q=1@evil.example"),
        ),
    )
    plan = plan_of(message, references={"one": {"type": kind, "value": value}})
    assert plan.references == ({"one": {"Type": kind, "Value": found}} if found else {})
    assert codes(plan) == (["reference.unusable"] if found is None else [])


def test_references_beyond_their_room_are_left_out_from_the_last():
    """All references together stay within 4,096 bytes; the first of the file stay."""
    references = {str(number): {"value": "{header:X-Long}"} for number in range(5)}
    message = replace(make_message(text="Hi"), headers=(("X-Long", "ä" * 600),))
    plan = plan_of(message, references=references)
    assert list(plan.references) == ["0", "1", "2"]
    assert (
        sum(len(key) + len(one["Value"].encode()) for key, one in plan.references.items()) <= REFERENCE_BYTES
    )
    assert codes(plan) == ["references.dropped"]


def test_refused_contact_goes_without_what_templates_made():
    """Below the first rung no template is left that Connect could refuse, at last not even the expiry."""
    own = {
        "contact_name": "one",
        "references": {"a": {"value": "b"}},
        "segment_attributes": {"tier": "gold"},
        "attributes": {"desk": "d", "from": "{author}"},
        "expiry_minutes": 60,
    }
    full, trimmed, text = (
        request_of(plan_of(rung=rung, **own)) for rung in (Rung.FULL, Rung.TRIMMED, Rung.TEXT)
    )
    expiry = {"connect:ContactExpiry": {"ValueMap": {"ExpiryDuration": {"ValueInteger": 60}}}}
    assert full["SegmentAttributes"] == {"tier": {"ValueString": "gold"}} | expiry
    assert trimmed["SegmentAttributes"] == expiry
    assert not trimmed.keys() & {"Name", "Description", "References"}
    assert not text.keys() & {"Name", "Description", "References", "SegmentAttributes"}
    assert [request["Attributes"].get("from") for request in (full, trimmed, text)] == [
        "jane@customer.example", "jane@customer.example", None,
    ]  # fmt: skip
    assert text["Attributes"]["desk"] == "d"
    assert "template.left_out" in codes(plan_of(rung=Rung.TRIMMED, **own))
    assert "template.left_out" not in codes(plan_of(rung=Rung.TRIMMED))


HOSTILE = st.text(max_size=400) | st.sampled_from(
    ["\x00", "\ud800", "😀" * 3_000, "a" * 9_000, "{subject}", "\u202e"]
)
TEMPLATES = st.sampled_from(
    [EVERY, "{subject}" * 50, "{header:X-A}", "literal " * 100, "{{}}", "", "\n{cc}\n"]
)


@given(
    subject=HOSTILE, name=HOSTILE, header=HOSTILE, template=TEMPLATES,
    kind=st.sampled_from(["STRING", "NUMBER", "DATE"]), rung=st.sampled_from([Rung.FULL, Rung.TRIMMED, Rung.TEXT]),
)  # fmt: skip
def test_no_template_and_no_mail_exceed_a_limit(subject, name, header, template, kind, rung):
    """Whatever a mail fills in, the request of each rung is one that Connect takes, and nothing raises."""
    message = replace(
        make_message(subject=subject, name=name, text=header),
        headers=(("X-A", header), ("Importance", header), ("Content-Language", header)),
    )
    plan = plan_of(
        message,
        rung=rung,
        contact_name=template,
        description=template,
        attributes={"one": template, "two": template},
        references={
            "typed": {"type": kind, "value": template},
            "text": {"value": template},
            "url": {"type": "URL", "value": f"https://shop.example.com/{template}"},
        },
        segment_attributes={"text": template, "map": {"inner": template, "number": 3}},
        captures=[{"from": "body", "pattern": r"(?P<word>\w+)"}],
        expiry_minutes=5,
    )
    assert check_request(request_of(plan)) == ()
    json.dumps(request_of(plan)).encode()


@given(st.text(alphabet=st.sampled_from("{}ab:"), max_size=40) | st.text(max_size=60))
def test_any_text_is_a_template_or_a_mistake(text):
    """A template is read, or refused with a sentence; without braces it is its own text."""
    if {"{", "}"} & set(text):
        with contextlib.suppress(ValueError):
            assert split_template(text)[-1][1] is None
    else:
        assert split_template(text) == ((text, None),)


def test_last_rung_has_no_template():
    """The original of a mail carries no field of a template but the attributes that are plain words."""
    config = make_config(
        attributes={"desk": "support", "from": "{author}"}, description="{subject}", expiry_minutes=5
    )
    plan = fit_original(b"Subject: a\r\n\r\nb", make_context(), make_route(config), config, why=Cause.REFUSED)
    request = request_of(plan)
    assert not request.keys() & {"Name", "Description", "References", "SegmentAttributes"}
    assert request["Attributes"]["desk"] == "support"
    assert "from" not in request["Attributes"]


def test_header_field_is_read_from_a_whole_mail():
    """A header of the mail as it was sent, encoded words and all, fills its field."""
    raw = b"From: a@b.example\r\nX-Order-Id: =?utf-8?q?N=C2=B0_7?=\r\nSubject: s\r\n\r\nHi\r\n"
    assert plan_of(parse_message(raw), description="{header:X-ORDER-ID}").description == "N° 7"
