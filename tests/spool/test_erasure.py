"""The erasure of a person: nothing of what was removed is in data_dir, and no second contact comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from spool_helpers import (
    NOW,
    SHOWN,
    build_config,
    build_destination,
    build_submission,
    claim_one,
    later,
    raw_files,
    tables_of,
)

from relay.errors import SpoolError, SpoolUnfitError
from relay.spool.action import Action, Via
from relay.spool.audit import AuditFilter
from relay.spool.local import erasing
from relay.spool.local.addressed import key_of
from relay.spool.local.database import query
from relay.spool.local.key import make_key, read_key
from relay.spool.model import DayCount, Filter, PolicyCount, State
from relay.spool.opening import open_desk, open_intake, open_outbox, restore_spool
from relay.spool.patterns import name_pattern
from relay.spool.pseudonyms import is_name, name_address
from relay.vocabulary import Rung

ANN = "Ann.Zyx@Example.ORG"
#: Octets that only Ann's mails have.
SECRETS = (b"ann.zyx", b"example.org", b"quarterly-secret")
BODY = b"From: Ann <ann.zyx@example.org>\r\nSubject: quarterly-secret\r\n\r\nquarterly-secret\r\n"


@pytest.fixture
def config(tmp_path):
    return build_config(tmp_path / "data", large_message_bytes=4_096)


@pytest.fixture
async def spool(config):
    intake, outbox = open_intake(config), open_outbox(config)
    desk = open_desk(config)
    yield intake, outbox, desk
    desk.close()
    await outbox.close()
    await intake.close()


def ann(intake, **like):
    """A mail of Ann's."""
    given = {
        "body": BODY,
        "reverse_path": ANN,
        "author": "ann.zyx@example.org",
        "message_id": "<1@example.org>",
    }
    return build_submission(intake.new_id(), **(given | like))


async def put(intake, **like):
    return (await intake.put(ann(intake, **like))).spool_id


async def deliver(outbox, *, contact_id="c-1", now=NOW):
    """One entry as a delivery leaves it, with its request and what the page shows."""
    entry = await claim_one(outbox, now=now)
    await outbox.save_request(
        entry,
        request=b'{"FromEmailAddress":"ann.zyx@example.org"}',
        rung=Rung.FULL,
        token=entry.token,
        expires_at=later(60),
        now=now,
    )
    shown = replace(
        SHOWN, document=b'{"subject":"quarterly-secret"}', words="quarterly-secret ann.zyx@example.org"
    )
    await outbox.finish(entry, contact_id=contact_id, shown=shown, now=now)
    return entry


def found_in(data_dir, *secrets):
    """The files below data_dir that hold one of these octet strings, in any case."""
    return [
        path.name
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and any(secret in path.read_bytes().lower() for secret in secrets or SECRETS)
    ]


def erase(desk, word=ANN, **more):
    found = desk.find_person(word)
    return desk.erase(found, address=word if "@" in word else "", now=NOW, **more)


async def test_nothing_of_a_person_is_left(spool, config):
    """Rows, a large file, requests, what is shown, ledger, audit, counts and log hold nothing after it."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    large = BODY + b"quarterly-secret " * 1_000
    await put(intake, body=large, message_id="<2@example.org>", reverse_path="bounces@mailer.example")
    await deliver(outbox, contact_id="c-2")
    await outbox.add_counts(
        [
            PolicyCount("2026-11-23", "auth.fail", "tag", False, "support", "example.org", 2),
            DayCount("2026-11-23", "received", "example.org", 2, 0),
        ]
    )
    words = Action(actor="op", via=Via.CLI, command="queue drop", about=("--sender ann.zyx@example.org",))
    desk.note_action(replace(words, reason="joann.zyx@example.org asked"))
    assert len(raw_files(config.data_dir)) == 1
    assert found_in(config.data_dir)
    erased = erase(desk)
    assert (erased.mails, erased.records, erased.audited, erased.counted) == (2, 2, 1, 2)
    assert (erased.left, erased.notes) == (
        (),
        ("an address that was removed stands in other mail of the spool, which is not looked into",),
    )
    (row,) = desk.actions(AuditFilter())
    assert row.action.reason == "joann.zyx@example.org asked"  # another person's
    assert is_name(row.action.about[0].removeprefix("--sender "))
    assert desk.policy_counts(since="2026-11-01")[0].domain == "other"
    assert [count.label for count in desk.day_counts(since="2026-11-01")] == ["other"]
    assert raw_files(config.data_dir) == []


async def test_files_hold_nothing(spool, config):
    """A search through every file of data_dir finds neither address nor words, whatever lay around them."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    await put(intake, body=BODY + b"quarterly-secret " * 1_000, message_id="<2@example.org>")
    await deliver(outbox, contact_id="c-2")
    assert {"spool.db-wal"} < {*found_in(config.data_dir)}
    erased = erase(desk)
    assert (erased.mails, erased.notes) == (2, ())
    assert found_in(config.data_dir) == []


def plant(data_dir, octets):
    """Put octets into the free space of a page, where SQLite may leave a copy of a row that it has moved."""
    path = data_dir / "spool" / "spool.db"
    with tables_of(data_dir) as connection:
        query(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        ((page,),) = query(connection, "SELECT rootpage FROM sqlite_schema WHERE name = 'control'")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4_096 + 1_000)  # the table is empty: behind the head all of the page is free
        file.write(octets)


async def test_a_copy_in_the_free_space_of_a_page_goes(config, monkeypatch):
    """A copy of a row that SQLite left in a page is found and goes; in a large file only if told so."""
    intake, outbox = open_intake(config), open_outbox(config)
    await put(intake)
    await deliver(outbox)
    await outbox.close()
    await intake.close()
    plant(config.data_dir, b"<1@example.org>")
    desk = open_desk(config)
    monkeypatch.setattr(erasing, "_QUICK_BYTES", 1_000)
    erased = erase(desk)
    assert erased.mails == 1
    assert "--compact" in erased.notes[0]
    assert found_in(config.data_dir, b"<1@example.org>") == ["spool.db"]
    plant(config.data_dir, ANN.encode())
    assert erase(desk, compact=True).notes == ()
    assert found_in(config.data_dir) == []
    desk.close()


async def test_a_retransmission_makes_no_second_contact(spool):
    """The same octets from the same sender get the first id; from another sender they are another mail."""
    intake, outbox, desk = spool
    first = await put(intake)
    entry = await deliver(outbox)
    erase(desk)
    receipt = await intake.put(ann(intake, at=later(60)))
    assert (receipt.spool_id, receipt.duplicate) == (first, True)
    assert (await intake.put(ann(intake, reverse_path="eve@example.org"))).duplicate is False
    assert await outbox.find_token(entry.token) == (True, "c-1")


async def test_a_retransmission_whose_key_is_lost_keeps_its_token(spool, config):
    """Without the key an erased record vouches for nobody, but Connect is asked by the same token again."""
    intake, outbox, desk = spool
    await put(intake)
    entry = await deliver(outbox)
    erase(desk)
    (config.data_dir / "address.key").unlink()
    assert (await intake.put(ann(intake, at=later(60)))).duplicate is False
    assert (await claim_one(outbox, now=later(60))).token == entry.token


@pytest.mark.parametrize("state", [State.QUEUED, State.LEASED, State.HELD, State.DEAD])
async def test_owed_mail_stays(spool, state):
    """An entry that is not finished stays with its reason, and the others of its mail; not other mail."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    both = (build_destination(), build_destination("sales@example.com", route="sales"))
    owed = await put(intake, body=b"Subject: two\r\n\r\n", message_id="<2@example.org>", destinations=both)
    await deliver(outbox, contact_id="c-2")
    if state is not State.QUEUED:
        entry = await claim_one(outbox)
        if state is State.HELD:
            await outbox.hold(entry, reason="policy.spam", detail="", now=NOW)
        elif state is State.DEAD:
            await outbox.bury(entry, reason="age", detail="", now=NOW)
    erased = erase(desk)
    assert erased.mails == 1
    assert len(erased.left) == 2
    assert [word.partition(".")[0] for word, _ in erased.left] == [owed, owed]
    word = {State.LEASED: "is being delivered"}.get(state, f"is {state}")
    assert sorted(why.startswith(word) for _, why in erased.left) == [False, True]
    assert len(desk.select(Filter(ids=(owed,)))) == 2


async def test_an_erased_person_is_found_again(spool):
    """The address, its name and the contact id lead to what is remembered, the Message-ID no longer."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    assert desk.remembered(ANN)[0].erased_at is None
    erase(desk)
    name = desk.name_address("ann.zyx@EXAMPLE.org")
    for word in (ANN, name, "c-1"):
        (record,) = desk.remembered(word)
        assert (record.contact_id, record.message_id) == ("c-1", None)
        assert record.erased_at is not None
        (mail,) = desk.find_person(word).mails
        assert mail.erased
    assert desk.remembered("<1@example.org>") == []
    assert erase(desk).records == 0  # again, and nothing is left to do


async def test_one_mail_is_erased_by_its_id(spool, config):
    """A spool id and a contact id mean one mail; another of the same person stays."""
    intake, outbox, desk = spool
    first = await put(intake)
    await deliver(outbox)
    second = await put(intake, body=b"Subject: two\r\n\r\n", message_id="<2@example.org>")
    await deliver(outbox, contact_id="c-2")
    assert erase(desk, first).mails == 1
    assert [entry.spool_id for entry in desk.trace(ANN)] == [second]
    assert erase(desk, "c-2").mails == 1
    assert desk.trace(ANN) == []
    assert found_in(config.data_dir) == []


async def test_a_mail_that_only_the_ledger_knows(spool):
    """A mail whose retention is over is erased in the ledger."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    await outbox.expire(now=NOW + timedelta(days=15))
    erased = erase(desk)
    assert (erased.mails, erased.records) == (0, 1)


async def test_an_erased_record_ends_with_its_window(spool, config):
    """The hashes go when no retransmission can come any more, before other records of that age."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    await put(
        intake,
        body=b"Subject: o\r\n\r\n",
        reverse_path="bob@b.example",
        author=None,
        message_id="<3@b.example>",
    )
    await deliver(outbox, contact_id="c-2")
    erase(desk)
    name = desk.name_address(ANN)
    with tables_of(config.data_dir) as connection:
        assert query(connection, "SELECT 1 FROM addressed WHERE address = ?", (key_of(name),)) == [(1,)]
    await outbox.expire(now=NOW + timedelta(days=6))
    assert len(desk.remembered(ANN)) == 1
    await outbox.expire(now=NOW + timedelta(days=8))
    assert (desk.remembered(ANN), len(desk.remembered("bob@b.example"))) == ([], 1)
    with tables_of(config.data_dir) as connection:
        for word in (ANN, name):
            assert query(connection, "SELECT 1 FROM addressed WHERE address = ?", (key_of(word),)) == []


async def test_a_domain_of_several_people_stays_in_the_counts(spool):
    """A domain of which somebody else has written is nobody's name."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    await put(
        intake,
        reverse_path="bob@example.org",
        author=None,
        message_id="<5@b.example>",
        body=b"Subject: o\r\n\r\n",
    )
    await outbox.add_counts([DayCount("2026-11-23", "received", "example.org", 2, 0)])
    assert erase(desk).counted == 0


async def test_the_key_is_in_a_backup(spool, config, tmp_path):
    """A restored spool finds who was erased; a data_dir that has another key is left as it is."""
    intake, outbox, desk = spool
    await put(intake)
    await deliver(outbox)
    erase(desk)
    archive = tmp_path / "spool.tar"
    desk.back_up(archive, progress=lambda *_: None)
    there = build_config(tmp_path / "there")
    restore_spool(there, archive, progress=lambda *_: None)
    again = open_desk(there)
    assert len(again.remembered(ANN)) == 1
    again.close()
    key = there.data_dir / "address.key"
    assert key.stat().st_mode & 0o777 == 0o600
    other = build_config(tmp_path / "other")
    other.data_dir.mkdir()
    make_key(other.data_dir / "address.key")
    with pytest.raises(SpoolError, match="is another key than that of the archive"):
        restore_spool(other, archive, progress=lambda *_: None)
    assert not (other.data_dir / "spool").exists()


def test_a_key_is_made_once(tmp_path):
    """The key is the same for all who ask; a file that is none is told, and never replaced."""
    path = tmp_path / "address.key"
    assert read_key(path) is None
    assert make_key(path) == make_key(path) == read_key(path)
    path.write_text("no key\n")
    with pytest.raises(SpoolUnfitError, match="bring it back from a backup"):
        make_key(path)


def test_names_are_of_one_key():
    """A name is the same however the address is written, and another under another key."""
    assert name_address(b"k", "Ann@B.example") == name_address(b"k", "<ann@b.EXAMPLE>")
    assert name_address(b"k", "ann@b.example") != name_address(b"l", "ann@b.example")
    assert is_name(name_address(b"k", "ann@b.example"))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("--sender ANN@b.example.", "--sender *."),
        ("<ann@b.example>", "<*>"),
        ("joann@b.example", "joann@b.example"),
        ("jo.ann@b.example", "jo.ann@b.example"),
        ("ann@b.example.org", "ann@b.example.org"),
        ("ann@b.example-x", "ann@b.example-x"),
    ],
)
def test_an_address_is_found_as_a_whole(text, left):
    """A longer address that has this one in it is another person's."""
    assert name_pattern("Ann@b.example").sub("*", text) == left
