"""The erasure of a person from a fleet: table and bucket hold nothing of it, and nothing comes twice."""

from __future__ import annotations

import asyncio

import pytest
from fleet_helpers import BUCKET, client
from spool_helpers import NOW, SHOWN, build_submission, claim_one, later

from relay.cli.erase_outside import erase_raw_versions
from relay.spool.action import Action, Via
from relay.spool.audit import AuditFilter
from relay.spool.model import DayCount
from relay.spool.pseudonyms import is_name
from relay.vocabulary import Rung

pytestmark = pytest.mark.system

ANN = "ann.zyx@example.org"
SECRETS = ("ann.zyx", "quarterly-secret")
BODY = b"From: Ann <ann.zyx@example.org>\r\nSubject: quarterly-secret\r\n\r\nquarterly-secret\r\n"


@pytest.fixture
async def spool(fleet_spool, tmp_path):
    spool = fleet_spool(tmp_path)
    yield spool
    await spool.close()


def ann(intake, **like):
    """A mail of Ann's."""
    given = {"body": BODY, "reverse_path": ANN, "author": ANN, "message_id": f"<1.{ANN}>"}
    return build_submission(intake.new_id(), **(given | like))


def everything(spool):
    """All items of the table, and all octets of the bucket, with older versions, as text."""
    table = client("dynamodb", spool.url).scan(TableName=spool.config.fleet.table)["Items"]
    s3 = client("s3", spool.url)
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix=spool.config.fleet.prefix).get("Versions", ())
    octets = [
        s3.get_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
        for each in versions
    ]
    return f"{table} {octets}".lower()


async def test_nothing_of_a_person_is_left(spool):
    """Items, objects and audit hold nothing; a retransmission gets the first id; what is owed stays."""
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    first = (await intake.put(ann(intake))).spool_id
    await outbox.recover(now=NOW)
    entry = await claim_one(outbox)
    request = b'{"FromEmailAddress":"ann.zyx@example.org"}'
    await outbox.save_request(
        entry, request=request, rung=Rung.FULL, token=entry.token, expires_at=later(60), now=NOW
    )
    await outbox.finish(entry, contact_id="c-1", shown=SHOWN, now=NOW)
    held = (await intake.put(ann(intake, body=b"Subject: x\r\n\r\n", message_id="<2@x.example>"))).spool_id
    desk.hold([held], now=NOW)
    await outbox.add_counts([DayCount(desk.now().date().isoformat(), "received", "example.org", 2, 0)])
    desk.note_action(Action(actor="op", via=Via.CLI, command="queue list", about=(f"--sender {ANN}",)))
    assert all(secret in everything(spool) for secret in SECRETS)

    found = desk.find_person(ANN)
    assert {mail.spool_id for mail in found.mails} == {first, held}
    erased = desk.erase(found, address=ANN, now=NOW)
    assert (erased.mails, erased.records, [word for word, _ in erased.left]) == (1, 1, [f"{held}.1"])
    desk.drop([held], now=NOW)
    erased = desk.erase(desk.find_person(ANN), address=ANN, now=NOW)
    assert erased.records == 1
    await asyncio.to_thread(erase_raw_versions, spool.config, found.mails)
    assert not any(secret in everything(spool) for secret in SECRETS)
    assert [each.label for each in desk.day_counts(since="2000-01-01")] == ["other"]
    (row,) = desk.actions(AuditFilter(command="queue list"))
    assert is_name(row.action.about[0].removeprefix("--sender "))

    assert {mail.spool_id for mail in desk.find_person(ANN).mails} == {first, held}
    assert desk.find_person("c-1").mails[0].erased
    assert desk.remembered("c-1")[0].erased_at is not None
    receipt = await intake.put(ann(intake, at=later(60)))
    assert (receipt.spool_id, receipt.duplicate) == (first, True)
    assert await outbox.find_token(entry.token) == (True, "c-1")


async def test_redacted_octets_leave_no_version(spool):
    """Octets that go with their outcome are in no version of a bucket that keeps versions."""
    s3 = client("s3", spool.url)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    try:
        intake, outbox = spool.open_intake(), spool.open_outbox()
        await intake.put(ann(intake))
        await outbox.recover(now=NOW)
        await outbox.finish(await claim_one(outbox), contact_id="c-1", forget=True, now=NOW)
        assert "quarterly-secret" not in everything(spool)
    finally:
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
