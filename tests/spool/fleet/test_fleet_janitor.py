"""The janitor of a fleet: what is finished goes in its time, and what is owed never."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from fleet_helpers import BUCKET, client
from spool_helpers import NOW, build_submission

from relay.errors import SpoolSickError
from relay.spool.model import Filter
from relay.vocabulary import Rung

pytestmark = pytest.mark.system


@pytest.fixture
async def spool(fleet_spool, tmp_path):
    spool = fleet_spool(tmp_path)
    yield spool
    await spool.close()


def objects_of(spool):
    """The names of the objects below the spool's prefix."""
    prefix = spool.config.fleet.prefix
    found = client("s3", spool.url).list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
    return [each["Key"].removeprefix(prefix) for each in found]


def items_of(spool):
    """The keys of all items of mails."""
    found = client("dynamodb", spool.url).scan(TableName=spool.table)["Items"]
    return sorted(
        each["pk"]["S"] for each in found if each["pk"]["S"][0] in "MS" and each["pk"]["S"][1] == "#"
    )


async def test_finished_mail_goes_and_owed_mail_stays(spool):
    """Past its retention a finished mail is gone with its octets and requests; mail that waits, is held or
    dead is there for ever, and the ledger still knows the contact.
    """
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    owed = [build_submission(intake.new_id()) for _ in range(3)]
    done = build_submission(intake.new_id())
    for mail in (*owed, done):
        await intake.put(mail)
    for entry in await outbox.claim(now=NOW, limit=9, lease_seconds=600):
        if entry.spool_id == done.spool_id:
            await outbox.save_request(
                entry, request=b"{}", rung=Rung.FULL, token="t", expires_at=NOW, now=NOW
            )
            await outbox.finish(entry, contact_id="c", now=NOW)
        elif entry.spool_id == owed[0].spool_id:
            await outbox.bury(entry, reason="r", detail="", now=NOW)
        else:
            await outbox.hold(entry, reason="r", detail="", now=NOW)
    assert await outbox.expire(now=outbox.now()) == 0, "it is kept for days"
    assert await outbox.expire(now=outbox.now() + timedelta(days=15)) == 1
    assert sorted(objects_of(spool)) == sorted(f"raw/{mail.spool_id}" for mail in owed)
    assert {key.partition("#")[2] for key in items_of(spool)} == {mail.spool_id for mail in owed}
    assert len(await asyncio.to_thread(desk.select, Filter())) == 3
    (kept,) = await asyncio.to_thread(desk.remembered, done.spool_id)
    assert kept.contact_id == "c"


async def test_octets_without_a_mail_go_and_their_late_commit_fails(spool):
    """What a receiver left that died before its commit is removed; a commit that slept for days is refused,
    instead of accepting a mail without octets.
    """
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await outbox.recover(now=NOW)
    late = build_submission(intake.new_id())
    planned = intake._plan(late, trace=b"", is_reply=False)
    await intake._store_raw(late, (await intake._digests(late))[1])
    await outbox.expire(now=outbox.now() + timedelta(days=15))
    assert objects_of(spool) == []
    with pytest.raises(SpoolSickError, match="another's"):
        await intake._commit(planned)


async def test_walk_that_is_cut_short_goes_on_later(spool):
    """A sweep that is told to end leaves the rest to the next."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await intake.put(build_submission(intake.new_id()))
    for entry in await outbox.claim(now=NOW, limit=9, lease_seconds=600):
        await outbox.finish(entry, contact_id="c", now=NOW)
    later = outbox.now() + timedelta(days=15)

    async def end(_seconds):
        return True

    assert await outbox.expire(now=later, pause=end) == 1
    assert await outbox.expire(now=later) == 0
