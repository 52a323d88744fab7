"""The arguments of StartEmailContact."""

from __future__ import annotations

import pytest
from factory import make_config, make_context, make_message, make_part, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.fit import fit
from relay.contact.request import build_earlier_token, build_request
from relay.vocabulary import Rung


def plan(message, **route):
    config = make_config(**route)
    return fit(message, make_context(), make_route(config), config)


def test_plain_request():
    """A small mail gives exactly these arguments; what is empty is absent."""
    request = build_request(plan(make_message(text="hi", message_id="<1@x>")), [], client_token="t")
    attributes = request.pop("Attributes")
    assert attributes["relay_spool_id"] == "0123456789ab"
    assert request == {
        "InstanceId": "11111111-2222-3333-4444-555555555555",
        "FromEmailAddress": {"EmailAddress": "jane@customer.example", "DisplayName": "Jane Doe"},
        "DestinationEmailAddress": "support@example.com",
        "EmailMessage": {
            "MessageSourceType": "RAW",
            "RawMessage": {
                "Subject": "Order 4711",
                "Body": "hi",
                "ContentType": "text/plain",
                "Headers": {"MESSAGE_ID": "<1@x>"},
            },
        },
        "Name": "Order 4711",
        "ClientToken": "t",
    }


def test_whole_request():
    """Recipients, attachments, flow and relation stand where the API wants them."""
    message = make_message(
        text="hi",
        to=["bob@x.example"],
        cc=["eve@x.example"],
        attachments=[make_part(name="a.pdf"), make_part(name="b.zip")],
    )
    config = make_config(contact_flow_id="flow-1")
    made = fit(message, make_context(related_contact_id="contact-1"), make_route(config), config)
    request = build_request(made, ["https://s3/a"], client_token="t")
    assert request["AdditionalRecipients"] == {
        "ToAddresses": [{"EmailAddress": "bob@x.example"}],
        "CcAddresses": [{"EmailAddress": "eve@x.example"}],
    }
    assert request["Attachments"] == [{"FileName": "a.pdf", "S3Url": "https://s3/a"}]
    assert request["ContactFlowId"] == "flow-1"
    assert request["RelatedContactId"] == "contact-1"


def test_every_attached_file_needs_its_url():
    """A missing or an extra URL is a fault of the caller."""
    made = plan(make_message(text="hi", attachments=[make_part()]))
    with pytest.raises(ValueError, match="zip"):
        build_request(made, [], client_token="t")
    with pytest.raises(ValueError, match="zip"):
        build_request(made, ["a", "b"], client_token="t")


TOKEN = {
    "instance_id": "i",
    "destination": "a@b.example",
    "fingerprint": "f" * 64,
    "salt": "",
    "rung": Rung.FULL,
}


def test_token_is_deterministic():
    """The same mail gives the same token in every process, whatever the case of the address."""
    token = build_earlier_token(**TOKEN)
    assert token == "cmr-60e339769313a0653354e3f5747d7d2ef0569d0466a7995b9ce204e8e6636610"
    assert token == build_earlier_token(**TOKEN | {"destination": "A@b.Example"})


@pytest.mark.parametrize(
    "other",
    [
        {"instance_id": "j"},
        {"destination": "b@b.example"},
        {"fingerprint": "0"},
        {"salt": "1"},
        {"rung": Rung.TEXT},
    ],
)
def test_token_differs(other):
    """Each argument alone makes another token."""
    assert build_earlier_token(**TOKEN | other) != build_earlier_token(**TOKEN)


@given(st.text(), st.text())
def test_token_is_never_ambiguous(first, second):
    """Arguments do not run into each other, and any text gives at most 500 characters of ASCII."""
    one = build_earlier_token(**TOKEN | {"fingerprint": first + second, "salt": ""})
    two = build_earlier_token(**TOKEN | {"fingerprint": first, "salt": second})
    assert (one == two) == (second == "")
    assert len(one) <= 500
    assert one.isascii()
