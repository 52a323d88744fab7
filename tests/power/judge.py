"""The judgement of an image: what the world had seen by the instant of the cut is held against the promise.

every acknowledged mail is there once for each of its destinations, with all of its octets
a contact that Connect had started is recorded, or its entry would send the same request under the same token
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import apsw
from harness import send, until
from power.story import Seen, contacts_of, daemon_on
from spool_helpers import build_config, tables_of

from relay.sandbox.service import Sandbox
from relay.spool.desk import Desk
from relay.spool.model import Entry, Filter, State
from relay.spool.opening import has_spool, open_desk, open_outbox

_ALL = Filter(limit=10**6)


def numbers_by_id(seen: Seen) -> dict[str, str]:
    """The number of each mail by its Message-ID."""
    return {_field(mail.octets, b"Message-ID"): number for number, mail in seen.mails.items()}


def _field(octets: bytes, name: bytes) -> str:
    return octets.partition(name + b": ")[2].partition(b"\r\n")[0].decode()


async def judge(data_dir: Path, seen: Seen, at: int) -> None:
    """Start the spool as the deliverer does, and hold what is there against what was seen before `at`."""
    promised = [number for number, when in seen.acknowledged.items() if when < at]
    config = build_config(data_dir)
    if not has_spool(config):
        assert not promised, f"there is no spool, and {len(promised)} mails were acknowledged"
        return
    outbox = open_outbox(config)
    try:
        await outbox.recover(now=datetime.now(UTC))
        with contextlib.closing(open_desk(config)) as desk:
            _judge_entries(desk, seen, promised)
            _judge_contacts(desk.select(_ALL), data_dir, seen, at)
    finally:
        await outbox.close()
    with tables_of(data_dir) as tables:
        _check_whole(tables)


def _check_whole(tables: apsw.Connection) -> None:
    assert tables.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert tables.execute("PRAGMA foreign_key_check").fetchall() == []


def _judge_entries(desk: Desk, seen: Seen, promised: Sequence[str]) -> None:
    numbers = numbers_by_id(seen)
    entries = desk.select(_ALL)
    found = Counter((numbers[entry.message_id or ""], entry.destination.address) for entry in entries)
    assert [pair for pair, count in found.items() if count > 1] == [], "a mail is in the spool twice"
    lost = [
        (number, address)
        for number in promised
        for address in seen.mails[number].recipients
        if not found[number, address]
    ]
    assert lost == [], "acknowledged mails are lost"
    for entry in entries:
        raw = desk.export(entry.spool_id)
        assert raw is not None
        assert raw[entry.trace_size :] == seen.mails[numbers[entry.message_id or ""]].octets, entry


def _judge_contacts(entries: Sequence[Entry], data_dir: Path, seen: Seen, at: int) -> None:
    numbers = numbers_by_id(seen)
    by_pair = {(numbers[entry.message_id or ""], entry.destination.address): entry for entry in entries}
    with tables_of(data_dir) as tables:
        stored = {entry_id for (entry_id,) in tables.execute("SELECT entry_id FROM requests")}
    known = {contact.contact_id for contact in seen.contacts}
    for contact in (each for each in seen.contacts if each.at < at):
        entry = by_pair.get((contact.number, contact.destination))
        assert entry is not None, f"Connect has a contact of which the spool knows no mail: {contact}"
        if entry.state is State.DONE:
            assert entry.contact_id == contact.contact_id, (entry, contact)
        else:
            assert entry.token == contact.token, f"a second contact: {entry} {contact}"
            assert entry.entry_id in stored, f"the request is made anew: {entry} {contact}"
            assert entry.in_doubt_since is not None, f"nobody doubts this request: {entry} {contact}"
    for entry in entries:
        assert entry.state is not State.DONE or entry.contact_id in known, f"no contact: {entry}"


def start_and_judge(home: Path, data_dir: Path, box: Sandbox, seen: Seen, at: int) -> None:
    """Start a daemon over the image, whose peers try each mail again that they have seen no 250 for, and
    count the contacts of both lives by their tokens, as Connect does.
    """
    box.clear()
    before = [contact for contact in seen.contacts if contact.at < at]
    begun = [number for number, when in seen.begun.items() if when < at]
    with daemon_on(home, data_dir, box) as daemon:
        daemon.start()
        for number in begun:
            if seen.acknowledged.get(number, at) >= at:
                send(daemon.port, seen.mails[number].octets, seen.mails[number].recipients)
        wanted = {(number, address) for number in begun for address in seen.mails[number].recipients}

        def arrived() -> Counter[tuple[str, str]]:
            tokens = {(each.number, each.destination, each.token) for each in (*before, *contacts_of(box))}
            return Counter((number, destination) for number, destination, _ in tokens)

        until(lambda: arrived().keys() >= wanted, seconds=60, so="all contacts")
        with contextlib.closing(open_desk(build_config(data_dir))) as desk:
            waiting = [State.QUEUED, State.LEASED, State.HELD, State.DEAD]
            until(lambda: not any(desk.counts()[state] for state in waiting), so="nothing waits")
        assert daemon.stop() == 0
        assert arrived() == Counter(dict.fromkeys(wanted, 1))
