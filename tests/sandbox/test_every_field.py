"""Every field of StartEmailContact: made from one mail by configuration alone, and held to its limit."""

from __future__ import annotations

import json
import tomllib
from email.message import EmailMessage

import pytest
from aws_parts import planned, request_for
from click.testing import CliRunner

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.cli import main
from relay.cli.explanations import build_record
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.explain import Explainer
from relay.sandbox.limits import Settings, check

CONFIGURATION = """
[contact]
description = "{classification} mail of {author_name} to {forward_path}"
attributes = { channel = "mail {size}" }

[[contact.captures]]
from = "body"
pattern = 'item (?P<item>[A-Z]+)'

[[routes]]
match = ["support@example.com"]
contact_flow_id = "846ec553-a005-41c0-8341-000000000000"
contact_name = "Order {order}: {subject}"
attributes = { desk = "orders" }
captures = [{ from = "subject", pattern = '#(?P<order>[0-9]{5,})' }]
references = { shop = { type = "URL", value = "https://shop.example.com/orders/{order}" }, number = { type = "NUMBER", value = "{order}" }, item = { value = "{item}" }, sent = { type = "DATE", value = "{date}" } }
segment_attributes = { tier = "gold {item}", score = 5, place = { row = 3, shelf = "A {item}" } }
expiry_minutes = 135
"""


def build_mail():
    mail = EmailMessage()
    mail["From"] = "Ann Example <ann@customer.example>"
    mail["To"] = "support@example.com, Kim <kim@x.example>"
    mail["Cc"] = "Bob <bob@x.example>"
    mail["Subject"] = "Where is #47110?"
    mail["Date"] = "Sat, 01 Mar 2025 12:00:00 +0000"
    mail["Message-ID"] = "<3@customer.example>"
    mail["In-Reply-To"] = "<2@example.com>"
    mail["References"] = "<1@example.com> <2@example.com>"
    mail.set_content("I miss item LAMP.")
    mail.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="bill.pdf")
    return mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))


def explain():
    """The request of the mail by the configuration, as `relay explain --json` prints it."""
    config = builtin_config(**tomllib.loads(CONFIGURATION))
    (found,) = Explainer(config, recipients=("support@example.com",)).explain("mail.eml", build_mail())
    assert found.error is None
    return build_record(found)["request"]


def test_one_mail_fills_every_field_by_configuration_alone():
    """The request has every field of the API at creation but RelatedContactId, which the ledger gives."""
    request = explain()
    assert request["Name"] == "Order 47110: Where is #47110?"
    assert request["Description"] == "human mail of Ann Example to support@example.com"
    assert request["References"] == {
        "shop": {"Type": "URL", "Value": "https://shop.example.com/orders/47110"},
        "number": {"Type": "NUMBER", "Value": "47110"},
        "item": {"Type": "STRING", "Value": "LAMP"},
        "sent": {"Type": "DATE", "Value": "1740830400"},
    }
    assert request["SegmentAttributes"] == {
        "tier": {"ValueString": "gold LAMP"},
        "score": {"ValueInteger": 5},
        "place": {"ValueMap": {"row": {"ValueInteger": 3}, "shelf": {"ValueString": "A LAMP"}}},
        "connect:ContactExpiry": {"ValueMap": {"ExpiryDuration": {"ValueInteger": 135}}},
    }
    assert request["Attributes"].items() >= {"desk": "orders", "order": "47110", "item": "LAMP"}.items()
    assert request["EmailMessage"]["RawMessage"]["Headers"].keys() == {
        "MESSAGE_ID",
        "IN_REPLY_TO",
        "REFERENCES",
    }
    assert request.keys() == {
        "InstanceId", "FromEmailAddress", "DestinationEmailAddress", "Description", "References", "Name",
        "EmailMessage", "AdditionalRecipients", "Attachments", "ContactFlowId", "Attributes",
        "SegmentAttributes", "ClientToken",
    }  # fmt: skip
    assert check(request | {"RelatedContactId": "c-1"}, Settings(), size_of=lambda _url: 8) is None


@pytest.mark.asyncio(loop_scope="module")
async def test_every_field_is_taken_and_shown(http, box, clients):
    """The simulator takes the request, and shows name, description, references and segments as they came."""
    stored = await AttachmentStore(clients.s3, config=builtin_config().s3).put_all(
        (planned(b"%PDF-1.4", name="bill.pdf"),)
    )
    request = explain()
    request["Attachments"][0]["S3Url"] = stored.urls[0]
    contact_id = await ConnectClient(clients.connect).start_email_contact(request)
    async with http.get(f"{box.http_url}/api/contacts/{contact_id}") as answer:
        shown = (await answer.json())["request"]
    assert {name: shown[name] for name in request} == request
    box.contacts()


@pytest.mark.process  # explain has a worker read each mail
def test_explain_shows_every_field(tmp_path):
    """The page of `relay explain` has them in words, its JSON as Connect would get them."""
    config, file = tmp_path / "relay.toml", tmp_path / "mail.eml"
    config.write_text(
        f'[s3]\nbucket = "example-mail"\n[connect]\ninstance_id = "{INSTANCE_ID}"\n{CONFIGURATION}'
    )
    file.write_bytes(build_mail())
    run = CliRunner().invoke(main, ["explain", "--config", str(config), "--at", "0", str(file)])
    assert run.exit_code == 0, run.output
    shown = " ".join(run.output.split())
    for words in (
        "Name Order 47110: Where is #47110?",
        "Description human mail of Ann Example to support@example.com",
        "Reference shop = https://shop.example.com/orders/47110 (URL)",
        "Segment place.row = 3",
        "Segment connect:ContactExpiry.ExpiryDuration = 135",
        "Attribute order = 47110",
        "Attribute relay_accepted_at = 1970-01-01T00:00:00+00:00",
    ):
        assert words in shown
    run = CliRunner().invoke(main, ["explain", "--config", str(config), "--json", str(file)])
    assert json.loads(run.output)["request"]["Name"] == "Order 47110: Where is #47110?"


def reference(kind="STRING", value="v", key="k", **more):
    return {"References": {key: {"Type": kind, "Value": value, **more}}}


def segment(value, key="k"):
    return {"SegmentAttributes": {key: value}}


def expiry(value, member="ExpiryDuration"):
    return segment({"ValueMap": {member: value}}, "connect:ContactExpiry")


@pytest.mark.parametrize(
    ("fields", "is_taken"),
    [
        ({"Name": "n" * 1_024}, True),
        ({"Name": "n" * 1_025}, False),
        ({"Description": "d" * 4_096}, True),
        ({"Description": "d" * 4_097}, False),
        (reference(value="v" * 4_095), True),
        (reference(value="é" * 2_047 + "xx"), False),
        (reference("NUMBER", "-4.5"), True),
        (reference("NUMBER", "four"), False),
        (reference("DATE", "1740830400"), True),
        (reference("DATE", "2025-03-01"), False),
        (reference("URL", "https://shop.example.com/"), True),
        (reference("EMAIL"), False),
        (reference("EMAIL_MESSAGE"), False),
        (reference("ATTACHMENT"), False),
        (reference("CONTACT_ANALYSIS"), False),
        (reference("LINK"), False),
        (reference(key=""), False),
        ({"References": {"k": {"Value": "no type"}}}, False),
        (segment({"ValueString": "v" * 1_024}), True),
        (segment({"ValueString": "v" * 1_025}), False),
        (segment({"ValueInteger": 5}), True),
        (segment({"ValueInteger": "5"}), False),
        (segment({"ValueString": "v"}, "k" * 128), True),
        (segment({"ValueString": "v"}, "k" * 129), False),
        (segment({"ValueString": "v"}, "a key"), False),
        (segment({"ValueString": "v"}, ""), False),
        (segment({}), False),
        (segment({"ValueString": "v", "ValueInteger": 5}), False),
        (segment({"ValueMap": {"inner": {"ValueString": "v" * 1_025}}}), False),
        (segment({"ValueMap": {"a key": {"ValueString": "v"}}}), False),
        (expiry({"ValueInteger": 1}), True),
        (expiry({"ValueInteger": 129_600}), True),
        (expiry({"ValueInteger": 129_601}), False),
        (expiry({"ValueInteger": 0}), False),
        (expiry({"ValueString": "5"}), False),
        (expiry({"ValueInteger": 5}, "Minutes"), False),
        (segment({"ValueInteger": 5}, "connect:ContactExpiry"), False),
    ],
)
def test_simulator_enforces_the_limits_of_the_fields(fields, is_taken):
    """At its documented limit a field is taken, and refused one beyond it, in the service's own error."""
    found = check(request_for(**fields), Settings(), size_of=lambda _url: None)
    assert (found is None) is is_taken
    assert found is None or found.code == "InvalidRequestException"
