"""The cost of a mail in a fleet, as the emulator counts it: calls, and units of capacity."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from spool_helpers import NOW, build_submission, later

from relay.vocabulary import Rung

pytestmark = pytest.mark.system
#: The results of a mail whose origin is checked, as large as they are.
IDENTITY = {
    f"relay_{word}": "pass " + "x" * 90
    for word in ("spf", "dkim", "dmarc", "arc", "iprev", "risk", "identity")
}


@pytest.mark.parametrize(
    ("results", "put", "whole"), [({}, 10, 26), (IDENTITY, 12, 29)], ids=["plain", "identity"]
)
async def test_mail_costs_no_more(fleet_spool, tmp_path, results, put, whole):
    """A mail of one destination is put, claimed, sent and finished within the budget of docs/fleet.md."""
    spool = fleet_spool(tmp_path)
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await intake.put(build_submission(intake.new_id()))  # it names the route
    (first,) = await outbox.claim(now=NOW, limit=1, lease_seconds=60)
    await outbox.finish(first, contact_id="c", now=NOW)
    meters = (intake._store.meter, outbox._store.meter)
    before = sum((meter.units["write"] for meter in meters), 0.0)
    calls = sum((meter.calls for meter in meters), Counter())
    mail = build_submission(intake.new_id(), body=b"Subject: x\r\n\r\n" + b"y" * 20_000)
    await intake.put(mail._replace(results=results))
    assert intake._store.meter.units["write"] + outbox._store.meter.units["write"] - before <= put
    (entry,) = await outbox.claim(now=NOW, limit=1, lease_seconds=60)
    async with outbox.open_raw(entry) as raw:
        assert len(raw) == mail.size
    await outbox.save_request(
        entry, request=b"{}" * 2_000, rung=Rung.FULL, token="t" * 68, expires_at=later(9), now=NOW
    )
    await outbox.finish(entry, contact_id="c" * 36, now=NOW)
    renewals = 2  # of the lease, meanwhile
    assert sum((meter.units["write"] for meter in meters), 0.0) - before <= whole + renewals
    made = sum((meter.calls for meter in meters), Counter()) - calls
    assert (made["put_object"], made["get_object"]) == (2, 1)
    await asyncio.gather(spool.close())
