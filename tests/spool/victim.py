"""A process to be killed: receives and delivers, and tells each step that the world would have seen.

250 <spool id> <number>      a peer was told that mail `number` is ours
contact <entry> <number>     Connect has the contact (its token makes a second one impossible)
dropped <number>             an operator was told that the mail is gone
end                          nothing struck
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from spool_helpers import NOW, build_config, build_destination, build_submission, later

from relay.spool.model import Filter
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.vocabulary import Rung

LARGE_BYTES = 4_096
SUPPORT = build_destination()
SALES = build_destination("sales@example.com", route="sales")


def body_of(number: int) -> bytes:
    """Odd mails are large."""
    return b"Subject: mail %d\r\n\r\n" % number + b"x" * (20_000 if number % 2 else 100)


def number_of(raw: bytes) -> int:
    return int(raw.split(b"mail ", 1)[1].split(b"\r", 1)[0])


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def settings(data_dir: Path):
    return build_config(data_dir, large_message_bytes=LARGE_BYTES, retain_days=1.0)


async def put(intake, number: int, *, again: bool = False) -> None:
    spool_id = intake.new_id()
    raw = None
    if number % 2:
        raw = await asyncio.to_thread(intake.open_file, spool_id)
        for octets in (b"Received: from x\r\n", body_of(number)):
            await asyncio.to_thread(raw.write, octets)
    receipt = await intake.put(
        build_submission(
            spool_id,
            body=body_of(number),
            message_id=f"<{number}@x>",
            raw=raw,
            destinations=(SUPPORT, SALES) if number % 3 == 0 else (SUPPORT,),
        )
    )
    assert receipt.duplicate == again
    say("250", receipt.spool_id, number)


async def deliver(outbox, entry, now) -> None:
    async with outbox.open_raw(entry) as view:
        number = number_of(bytes(view))
    await outbox.save_request(entry, request=b"{}", rung=Rung.FULL, token="t", expires_at=now, now=now)
    if entry.attempts == 1 and number in {1, 2, 4}:
        await outbox.defer(entry, until=now, reason="connect.timeout", detail="", now=now)
    elif entry.attempts == 1 and number == 5:
        await outbox.hold(entry, reason="operator", detail="", now=now)
    elif entry.attempts == 1 and number == 6:
        await outbox.bury(entry, reason="payload_refused", detail="", now=now)
    else:
        say("contact", entry.spool_id, entry.destination.address, number)
        await outbox.finish(entry, contact_id=f"c-{entry.entry_id}", now=now)


async def main(data_dir: Path) -> None:
    config = settings(data_dir)
    intake = open_intake(config)
    outbox = open_outbox(config)
    await outbox.recover(now=NOW)
    await put(intake, 1)
    await asyncio.gather(*(put(intake, number) for number in range(2, 10)))
    await put(intake, 1, again=True)
    await outbox.probe()
    for second in range(1, 4):
        for entry in await outbox.claim(now=later(second), limit=4, lease_seconds=60):
            await deliver(outbox, entry, later(second))
    await outbox.hold_route("sales", reason="connect.NotFound", detail="", now=NOW)
    await outbox.resume_route("sales")
    desk = open_desk(config)
    desk.retry([entry.spool_id for entry in desk.select(Filter())], now=later(9))
    for entry in await outbox.claim(now=later(9), limit=3, lease_seconds=60):
        await deliver(outbox, entry, later(9))
    (last,) = desk.trace("<9@x>")[:1]
    if desk.drop([f"{last.spool_id}"], now=later(9)).count:
        say("dropped", 9)
    await outbox.expire(now=NOW + timedelta(days=2))
    desk.close()
    await intake.close()
    await outbox.close()
    say("end")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
