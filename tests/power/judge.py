"""The judgement of an image: what the world had seen by the instant of the cut is held against the promise.

every acknowledged mail is there once for each of its destinations, with all of its octets
what an operator dropped is gone, and what was released is no longer held
no file is left that belongs to no mail
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
from power.story import HELD, Seen, contacts_of, daemon_on
from spool_helpers import build_config, raw_files, tables_of

from relay.sandbox.service import Sandbox
from relay.spool.desk import Desk
from relay.spool.model import Entry, Filter, State
from relay.spool.opening import has_spool, open_desk, open_outbox

_ALL = Filter(limit=10**6)


def number_of(entry: Entry) -> str:
    """The number of a mail, which stands in its Message-ID before the domain."""
    assert entry.message_id is not None
    return entry.message_id.partition("@")[0].rpartition(".")[2]


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
            _judge_entries(desk, seen, promised, at)
            _judge_contacts(desk.select(_ALL), data_dir, seen, at)
            _judge_files(desk.select(_ALL), data_dir)
    finally:
        await outbox.close()
    with tables_of(data_dir) as tables:
        _check_whole(tables)


def _check_whole(tables: apsw.Connection) -> None:
    assert tables.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert tables.execute("PRAGMA foreign_key_check").fetchall() == []


def _judge_entries(desk: Desk, seen: Seen, promised: Sequence[str], at: int) -> None:
    entries = desk.select(_ALL)
    found = Counter((number_of(entry), entry.destination.address) for entry in entries)
    assert [pair for pair, count in found.items() if count > 1] == [], "a mail is in the spool twice"
    lost = [
        (number, address)
        for number in promised
        for address in seen.mails[number].recipients
        if not found[number, address] and not seen.is_dropped(number, at)
    ]
    assert lost == [], "acknowledged mails are lost"
    back = [number for number, (_, done) in seen.dropped.items() if done < at and found[number, HELD]]
    assert back == [], "dropped mails are back"
    for entry in entries:
        if entry.state is State.HELD:
            assert seen.is_kept(number_of(entry), at), f"a release is forgotten: {entry}"
        raw = desk.export(entry.spool_id)
        assert raw is not None
        assert raw[entry.trace_size :] == seen.mails[number_of(entry)].octets, entry


def _judge_contacts(entries: Sequence[Entry], data_dir: Path, seen: Seen, at: int) -> None:
    by_pair = {(number_of(entry), entry.destination.address): entry for entry in entries}
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


def _judge_files(entries: Sequence[Entry], data_dir: Path) -> None:
    large = build_config(data_dir).spool.large_message_bytes
    named = {entry.spool_id for entry in entries if entry.size > large}
    assert {path.name for path in raw_files(data_dir)} == named


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
            if seen.acknowledged.get(number, at) >= at and not seen.is_dropped(number, at):
                send(daemon.port, seen.mails[number].octets, seen.mails[number].recipients)
        done = [
            number for number in begun if not seen.is_kept(number, at) and not seen.is_dropped(number, at)
        ]
        wanted = {(number, address) for number in done for address in seen.mails[number].recipients}

        def arrived() -> Counter[tuple[str, str]]:
            tokens = {(each.number, each.destination, each.token) for each in (*before, *contacts_of(box))}
            return Counter((number, destination) for number, destination, _ in tokens)

        until(lambda: arrived().keys() >= wanted, seconds=60, so="all contacts")
        with contextlib.closing(open_desk(build_config(data_dir))) as desk:
            waiting = [State.QUEUED, State.LEASED, State.DEAD]
            until(lambda: not any(desk.counts()[state] for state in waiting), so="nothing waits")
        assert daemon.stop() == 0
        # A release that was not told to be done may have been.
        perhaps = {(number, HELD) for number, (when, _) in seen.released.items() if when < at}
        found = arrived()
        assert wanted <= found.keys() <= wanted | perhaps
        assert set(found.values()) <= {1}, f"mails became two contacts: {found}"
