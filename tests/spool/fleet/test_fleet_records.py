"""The records of a fleet's table: values and items, both ways, and items that are none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spool_helpers import NOW, build_destination, build_submission

from relay.aws.values import dump_item, load_item
from relay.envelope import Destination, ForwardPath
from relay.errors import SpoolCorruptError
from relay.spool.fleet import encoding, tables
from relay.spool.fleet.encoding import (
    build_entry,
    build_guard,
    build_instant,
    build_ledger,
    build_mail,
    parse_entry,
    parse_guard,
    parse_instant,
    parse_ledger,
    parse_mail,
)
from relay.spool.fleet.records import EntryRecord, GuardRecord, LedgerRecord, MailRecord, StoredRequest, join
from relay.spool.model import Event, State
from relay.vocabulary import Rung

#: Texts that were trouble somewhere; a record has thirty of them, so they are chosen, not made.
SOME = st.sampled_from(
    ["a", "Grüße", "#", "sha256:x", " ", "\0", '"\\', "\U0001f600", "x" * 2_000, "[]", "null", "0"]
)
TEXT = SOME | st.just("")
INSTANTS = st.integers(0, 10**17 - 1)
IDS = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=16, max_size=16)
DESTINATIONS = st.builds(
    Destination,
    instance_id=SOME,
    address=SOME,
    forward_paths=st.tuples(SOME) | st.tuples(SOME, TEXT),
    route=SOME,
    tag=TEXT,
)
EVENTS = st.builds(
    Event,
    at=st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
    event=SOME,
    attempt=st.integers(0, 1000),
    reason=TEXT,
    detail=TEXT.map(lambda text: text[:50]),
)
MAILS = st.builds(
    MailRecord,
    spool_id=IDS,
    envelope=st.just(build_submission("x").envelope),
    results=st.dictionaries(TEXT, TEXT, max_size=4),
    fingerprint=SOME,
    message_id=st.none() | SOME,
    size=st.integers(0, 10**9),
    trace_size=st.integers(0, 10**6),
    trace_sha256=st.binary(max_size=32),
    author=st.none() | SOME,
    sender=TEXT,
    entries=st.integers(1, 1000),
    accepted_at=INSTANTS,
    node=TEXT,
    op=SOME,
)
ENTRIES = st.builds(
    EntryRecord,
    spool_id=IDS,
    number=st.integers(1, 999_999),
    destination=DESTINATIONS,
    state=st.sampled_from([each for each in State if each is not State.DONE]),
    priority=st.integers(0, 1),
    group=st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)),
    due_at=INSTANTS,
    accepted_at=INSTANTS,
    updated_at=INSTANTS,
    op=SOME,
    attempts=st.integers(0, 10**6),
    epoch=st.integers(0, 10**9),
    cut_short=st.integers(0, 9),
    lease_until=st.none() | INSTANTS,
    rung=st.sampled_from(Rung),
    released=st.booleans(),
    token=st.none() | SOME,
    sent_at=st.none() | INSTANTS,
    in_doubt_since=st.none() | INSTANTS,
    request=st.none()
    | st.builds(
        StoredRequest,
        name=SOME,
        size=st.integers(0, 10**8),
        sha256=st.binary(max_size=32),
        expires_at=INSTANTS,
    ),
    contact_id=st.none() | SOME,
    reason=TEXT,
    detail=TEXT,
    captured=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    dropped_at=st.none() | INSTANTS,
    history=st.lists(EVENTS, max_size=3).map(tuple),
    rest=st.dictionaries(st.just("newer"), SOME | st.integers(-9, 9), max_size=1),
)
LEDGER = st.builds(
    LedgerRecord,
    spool_id=IDS,
    number=st.integers(1, 999_999),
    destination=DESTINATIONS,
    message_id=st.none() | SOME,
    author=st.none() | SOME,
    sender=TEXT,
    token=st.none() | SOME,
    contact_id=st.none() | SOME,
    accepted_at=INSTANTS,
    dropped_at=st.none() | INSTANTS,
    expires=st.integers(0, 10**11),
)
GUARDS = st.builds(
    GuardRecord,
    key=st.tuples(SOME, SOME),
    spool_id=IDS,
    number=st.integers(1, 1000),
    accepted_at=INSTANTS,
    dmarc=TEXT,
    expires=st.integers(0, 10**11),
    confirmed=st.booleans(),
)
ENTRY = EntryRecord(
    spool_id="0" * 16,
    number=1,
    destination=build_destination(),
    state=State.QUEUED,
    priority=1,
    group=(1, 2),
    due_at=5,
    accepted_at=5,
    updated_at=5,
    op="op",
)
MAIL = MailRecord(
    spool_id="0" * 16,
    envelope=build_submission("x").envelope,
    results={},
    fingerprint="f" * 64,
    message_id="<m@x>",
    size=9,
    trace_size=3,
    trace_sha256=b"h",
    author=None,
    sender="",
    entries=1,
    accepted_at=5,
    node="mx1",
    op="op",
)


def over_the_wire(item):
    """The item as it comes back from the table."""
    return load_item(dump_item(item))


@given(MAILS)
def test_mail_comes_back(mail):
    """A mail is the same after its way through an item."""
    assert parse_mail(over_the_wire(build_mail(mail))) == mail


@given(ENTRIES)
def test_entry_comes_back(entry):
    """An entry is the same after its way through an item, with the attributes of a newer version."""
    assert parse_entry(over_the_wire(build_entry(entry))) == entry


@given(LEDGER)
def test_ledger_comes_back(record):
    """A record of the ledger is the same after its way through an item."""
    assert parse_ledger(over_the_wire(build_ledger(record))) == record


@given(GUARDS)
def test_guard_comes_back(guard):
    """A guard is the same after its way through an item."""
    assert parse_guard(over_the_wire(build_guard(guard))) == guard


def test_finished_entry_is_in_no_queue():
    """An entry that is done has no attribute by which the index of due entries would hold it."""
    item = build_entry(replace(ENTRY, state=State.DONE))
    assert not {"q", "due"} & item.keys()
    assert parse_entry(item).state is State.DONE


@pytest.mark.parametrize("recipients", [1, 100, 10_000])
def test_mail_for_many_fits_an_item(recipients):
    """The envelope of a mail with ten thousand recipients is packed, stays below 400 KB, and comes back."""
    paths = tuple(ForwardPath(address=f"customer-{number}@example.com") for number in range(recipients))
    mail = replace(MAIL, envelope=replace(MAIL.envelope, forward_paths=paths))
    item = build_mail(mail)
    assert len(item["env"]) < 300_000
    assert parse_mail(item) == mail


@given(st.data())
def test_item_that_is_none_is_corrupt(data):
    """Whatever stands in the attributes of an item, it is read, or it is corrupt: no other error."""
    build, parse = data.draw(st.sampled_from([(build_mail, parse_mail), (build_entry, parse_entry)]))
    item = dict(build(MAIL if parse is parse_mail else replace(ENTRY, history=(event(1),), captured={})))
    junk = st.text(max_size=9) | st.integers() | st.booleans() | st.binary(max_size=9) | st.none()
    for name in data.draw(st.lists(st.sampled_from(sorted(item)), min_size=1, max_size=3)):
        value = data.draw(junk)
        item.pop(name, None) if value is None else item.update({name: value})
    with suppress(SpoolCorruptError):
        parse(item)


def event(number, detail=""):
    return Event(at=NOW, event="deferred", attempt=number, reason="r", detail=detail)


def test_history_keeps_its_end_and_stays_small():
    """A long history loses its beginning, and long sentences their end: an item has 400 KB, and costs by the
    KB.
    """
    entry = replace(ENTRY, history=tuple(event(number, "x" * 5_000) for number in range(200)))
    kept = parse_entry(build_entry(entry)).history
    assert [each.attempt for each in kept] == list(range(150, 200))
    assert {len(each.detail) for each in kept} == {encoding.EVENT_DETAIL_LIMIT}


def test_item_of_a_newer_version_is_not_read():
    """An item of a version that this relay does not know is refused, not misread."""
    with pytest.raises(SpoolCorruptError, match="version"):
        parse_entry({**build_entry(ENTRY), "v": tables.VERSION + 1})


def test_text_that_no_item_holds_is_refused():
    """Half of a surrogate pair is refused when the item is built, before anything is sent."""
    with pytest.raises(ValueError, match="surrogate"):
        build_mail(replace(MAIL, message_id="<\ud800@x>"))


@given(INSTANTS, INSTANTS)
def test_instants_sort_as_keys(one, other):
    """Keys of instants have the order of the instants, and come back."""
    assert (build_instant(one) < build_instant(other)) is (one < other)
    assert parse_instant(build_instant(one)) == one


def test_records_become_an_entry_of_the_interface():
    """Every field of the two records that the interface has is in its entry."""
    entry = replace(
        ENTRY, sent_at=7, in_doubt_since=8, request=StoredRequest(name="r", size=2, sha256=b"", expires_at=9)
    )
    joined = join(MAIL, entry, request=b"{}")
    assert joined.reference == f"{ENTRY.spool_id}.1" == entry.reference
    assert (joined.sent, joined.request, joined.size) == (True, b"{}", MAIL.size)
    same = {each.name for each in fields(entry)} & {each.name for each in fields(joined)} - {
        "accepted_at", "updated_at", "in_doubt_since", "request", "lease_until"
    }  # fmt: skip
    assert {name: getattr(joined, name) for name in same} == {name: getattr(entry, name) for name in same}


ADDRESSES = st.sampled_from(["a@x.example", "A@x.example", "a@X.example", "b@x.example"])


@given(SOME, ADDRESSES, SOME, TEXT, TEXT)
def test_guard_tells_each_way_from_others(fingerprint, address, route, tag, sender):
    """The key of a guard is another for another octet, route, tag or reverse-path, and the same for a
    domain in capitals; it is never too long.
    """
    destination = Destination(instance_id="i", address=address, forward_paths=(), route=route, tag=tag)
    key = tables.guard_key(fingerprint, destination, sender=sender)
    others = [
        tables.guard_key(f"{fingerprint}0", destination, sender=sender),
        tables.guard_key(fingerprint, replace(destination, route=f"{route}0"), sender=sender),
        tables.guard_key(fingerprint, replace(destination, tag=f"{tag}0"), sender=sender),
        tables.guard_key(fingerprint, destination, sender=f"{sender}0"),
        tables.guard_key(fingerprint, replace(destination, route="r" * 5_000), sender=sender),
    ]
    assert len({key, *others}) == len(others) + 1
    assert (
        tables.guard_key(fingerprint, replace(destination, address=address.replace("X", "x")), sender=sender)
        == key
    )
    assert all(len(each.encode()) <= 1_024 for _, each in (key, *others))
