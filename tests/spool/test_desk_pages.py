"""What every `Desk` gives the page: the list of all entries, and its figures."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest
from spool_helpers import (
    NOW,
    build_config,
    build_destination,
    build_submission,
    claim_one,
    later,
    make_version_2,
)

from relay.spool.model import State
from relay.spool.opening import open_desk, restore_spool
from relay.spool.page import EntryQuery, Shown, fold, split_words

SALES = (build_destination("sales@example.com", route="sales"),)


def mail(subject="Hello", author="Ann <ann@customer.example>") -> bytes:
    return f"From: {author}\r\nSubject: {subject}\r\n\r\nWords\r\n".encode()


def search(desk, text, **more):
    """The spool ids of the entries that hold these words."""
    return [row.entry.spool_id for row in desk.page(EntryQuery(words=split_words(text), **more)).rows]


async def test_pages_follow_each_other_while_mail_comes(put, desk):
    """The newest come first, each entry is in one page, and later mail in none of them."""
    ids = [await put() for _ in range(7)]
    first = desk.page(EntryQuery(limit=3))
    await put()
    second = desk.page(EntryQuery(limit=3, before=first.more))
    third = desk.page(EntryQuery(limit=3, before=second.more))
    told = [[row.entry.spool_id for row in page.rows] for page in (first, second, third)]
    assert told == [ids[:3:-1], ids[3:0:-1], ids[:1]]
    assert third.more == ""


async def test_a_page_that_has_no_time_goes_on_where_it_ended(put, desk):
    """However short the time, each page comes further, and together they have every entry once."""
    ids = {await put() for _ in range(5)}
    found, before, pages = [], "", 0
    while pages == 0 or before:
        page = desk.page(EntryQuery(words=("customer.example",), before=before, seconds=0.0, limit=2))
        found += [row.entry.spool_id for row in page.rows]
        before, pages = page.more, pages + 1
        assert page.stopped_at is None or page.more
        assert pages < 20
    assert (len(found), set(found)) == (5, ids)


async def test_a_mark_that_is_none_begins_anew(put, desk):
    """A mark of somebody else's making is no error: the list begins at its newest entry."""
    await put()
    for before in ("nonsense", "-1", "9" * 30, "٣", "1.5"):
        assert len(desk.page(EntryQuery(before=before)).rows) == 1, before


async def test_every_state_is_in_the_list(put, outbox, desk):
    """Mail is shown whatever became of it, and by the state that an operator sees."""
    ids = {
        state: await put(destinations=SALES if state == "of its route" else None)
        for state in (*State, "of its route")
    }
    ends = {
        State.HELD: lambda entry: outbox.hold(entry, reason="policy.x", detail="", now=NOW),
        State.DEAD: lambda entry: outbox.bury(entry, reason="too_old", detail="", now=NOW),
        State.DONE: lambda entry: outbox.finish(entry, contact_id="c-1", now=NOW),
        State.QUEUED: lambda entry: outbox.defer(
            entry, until=later(99), reason="s3.timeout", detail="", now=NOW
        ),
    }
    for entry in await outbox.claim(now=NOW, limit=9, lease_seconds=60):
        state = next(state for state, spool_id in ids.items() if spool_id == entry.spool_id)
        if state in ends:
            await ends[state](entry)
        elif state == "of its route":
            await outbox.defer(entry, until=later(99), reason="", detail="", begun=False, now=NOW)
    await outbox.hold_route("sales", reason="connect.x", detail="", now=NOW)
    shown = {row.entry.spool_id: row.entry.shown_state for row in desk.page(EntryQuery()).rows}
    assert shown == {
        spool_id: State.HELD if state not in set(State) else state for state, spool_id in ids.items()
    }
    for state in State:
        found = {row.entry.spool_id for row in desk.page(EntryQuery(states=(state,))).rows}
        assert found == {spool_id for spool_id, each in shown.items() if each is state}
    assert len(desk.page(EntryQuery(states=(State.HELD, State.DEAD))).rows) == 3
    assert len(desk.page(EntryQuery(route="sales")).rows) == 1
    assert len(desk.page(EntryQuery(reason="connect.")).rows) == 1
    assert desk.reasons() == {
        State.QUEUED: {"s3.timeout": 1},
        State.LEASED: {},
        State.HELD: {"policy.x": 1, "connect.x": 1},
        State.DEAD: {"too_old": 1},
    }


async def test_contacts_since_an_instant_are_counted(put, outbox, desk):
    """What became a contact counts for the pace from then on."""
    await put()
    await outbox.finish(await claim_one(outbox), contact_id="c-1", now=NOW)
    assert desk.contacts(since=NOW - timedelta(seconds=1)) == 1
    assert desk.contacts(since=NOW) == 0


WORDS = (
    ("offer", True),
    ("OFFER quarter", True),
    ("angebot", False),
    ("cafe", True),
    ("CAFÉ", True),
    ("東京", True),
    ("京", True),
    ("ｏｆｆｅｒ", True),
    ("strasse", True),
    ("jorg", True),
    ("jörg@customer", False),
    ("j@customer.ex", True),
    ("bounces@customer", True),
    ("sales@", True),
    ("offer offer nothing", False),
    ("%", False),
    ("' OR 1", False),
    ("*", False),
)


async def test_words_are_found_before_any_outcome(put, desk):
    """A search looks into subject, author, addresses and ids, in any script, without case or accents."""
    body = mail("Offer for Q4 quarter café 東京 Straße", "Jörg <j@customer.example>")
    wanted = await put(
        body=body, destinations=SALES, reverse_path="bounces@customer.example", author="j@customer.example"
    )
    await put(body=mail("Other"), reverse_path=None)
    for text, fits in WORDS:
        assert search(desk, text) == ([wanted] if fits else []), text


async def test_ids_are_found(put, outbox, desk):
    """A spool id, a reference, a contact id and a Message-ID lead to their entry, as do beginnings."""
    await put()
    spool_id = await put(message_id="<odd.id@elsewhere.example>")
    assert search(desk, "odd.id@elsewhere") == [spool_id]
    await put()
    entries = {entry.spool_id: entry for entry in await outbox.claim(now=NOW, limit=3, lease_seconds=60)}
    entry = entries[spool_id]
    await outbox.finish(entry, contact_id="12345678-90ab-cdef-1234-567890abcdef", now=NOW)
    for text in (spool_id, spool_id.lower(), entry.reference, "12345678-90ab", "12345678-90AB-cdef"):
        assert search(desk, text) == [spool_id], text
    assert search(desk, f"{spool_id}.999999") == []
    assert search(desk, spool_id, states=(State.DEAD,)) == []


async def test_results_filter_mail_without_an_outcome(put, desk):
    """The results of the checks are known from the acceptance on; class and risks only from an outcome on."""
    await put()
    assert len(desk.page(EntryQuery(verdicts=(("spf", "pass"),))).rows) == 1
    assert desk.page(EntryQuery(verdicts=(("spf", "fail"),))).rows == ()
    assert desk.page(EntryQuery(classification="human")).rows == ()
    assert desk.page(EntryQuery(risk="file.macro")).rows == ()


async def test_a_large_mail_shows_its_header(intake, desk):
    """A mail that lies in a file of its own is looked at there, and its beginning is enough."""
    spool_id = intake.new_id()
    trace = b"Received: from x\r\n"
    raw = await asyncio.to_thread(intake.open_file, spool_id)
    content = mail("A large one") + b"x" * 300_000
    raw.write(trace + content)
    await intake.put(build_submission(spool_id, body=content, raw=raw))
    (row,) = desk.page(EntryQuery()).rows
    assert (row.head.subject, row.head.author_name, row.head.author) == (
        "A large one",
        "Ann",
        "ann@customer.example",
    )
    assert desk.listed([spool_id]) == (row,)


async def test_a_mark_changes_with_the_spool(put, desk):
    """The version stays while nothing happens, and is another one after anybody's change."""
    before = desk.version()
    assert desk.version() == before
    spool_id = await put()
    between = desk.version()
    desk.hold([spool_id], now=NOW)
    assert len({before, between, desk.version()}) == 3


async def test_mails_since_an_instant_are_counted(put, desk):
    """The mails of a day are counted by the spool's clock."""
    begun = desk.now()
    await put()
    await put(destinations=(build_destination(), *SALES))
    assert desk.accepted(since=begun) == 2
    assert desk.accepted(since=desk.now() + timedelta(seconds=1)) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ärger", "arger"),
        ("ＡＢＣ", "abc"),
        ("Straße", "STRASSE"),
        ("ﬁn", "FIN"),
        ("Ёлка", "елка"),
        ("が", "が"),
    ],
)
def test_words_are_compared_folded(one, other):
    """Case, accents and widths make no difference; marks that are letters of their script do."""
    assert fold(one) == fold(other)
    assert fold("が") != fold("か")


def shown(words="offer", **more) -> Shown:
    given = {
        "document": b"{}",
        "classification": "human",
        "marks": " dmarc=fail risk=file.macro ",
        "words": words,
    }
    return Shown(**{**given, **more})


@pytest.mark.parametrize("outcome", ["done", "held", "dead", "queued"])
async def test_every_outcome_keeps_what_is_shown(put, outbox, desk, outcome):
    """What an outcome says of its mail is found by words, class, results and risks, and given with it."""
    await put()
    entry = await claim_one(outbox)
    match outcome:
        case "done":
            await outbox.finish(entry, contact_id="c-1", shown=shown(), now=NOW)
        case "held":
            await outbox.hold(entry, reason="r", detail="", shown=shown(), now=NOW)
        case "dead":
            await outbox.bury(entry, reason="r", detail="", shown=shown(), now=NOW)
        case "queued":
            await outbox.defer(entry, until=later(9), reason="r", detail="", shown=shown(), now=NOW)
    for fits, query in (
        (True, EntryQuery(words=("off",))),
        (True, EntryQuery(words=("off",), states=(State(outcome),), risk="file.macro")),
        (True, EntryQuery(classification="human", verdicts=(("dmarc", "fail"),))),
        (False, EntryQuery(words=("hello",))),
        (False, EntryQuery(words=("off",), route="other")),
        (False, EntryQuery(classification="bulk")),
        (False, EntryQuery(risk="file.mac")),
        (False, EntryQuery(verdicts=(("dmarc", "pass"),))),
    ):
        rows = desk.page(query).rows
        assert [(row.shown, row.head) for row in rows] == ([(b"{}", None)] if fits else []), query


async def test_the_last_whole_description_stays(put, outbox, desk):
    """A later outcome replaces what is shown, unless it knows less, or nothing."""
    await put()
    for number, (given, found) in enumerate(
        [
            (None, b""),
            (shown(document=b"1", whole=False), b"1"),
            (shown(document=b"2", whole=False), b"1"),
            (shown(document=b"3"), b"3"),
            (shown(document=b"4", whole=False), b"3"),
            (None, b"3"),
            (shown(document=b"5"), b"5"),
        ]
    ):
        entry = await claim_one(outbox, now=later(number))
        await outbox.defer(entry, until=later(number), reason="r", detail="", shown=given, now=later(number))
        assert desk.page(EntryQuery()).rows[0].shown == found


async def test_finished_mail_without_a_description_is_found_by_its_addresses(put, outbox, desk):
    """A mail that ended before it was understood is in the list, with its header, and found by addresses."""
    spool_id = await put(body=mail("Subject"))
    await outbox.finish(await claim_one(outbox), contact_id=None, reason="policy.x", dropped=True, now=NOW)
    assert search(desk, "customer.example") == [spool_id]
    assert desk.page(EntryQuery(states=(State.DONE,))).rows[0].head.subject == "Subject"
    assert len(desk.page(EntryQuery(verdicts=(("spf", "pass"),))).rows) == 1


async def test_what_is_shown_goes_with_the_mail(put, outbox, desk, spool):
    """An entry that is dropped takes its words and its document along; nothing of them stays in the file."""
    spool_id = await put()
    word = "unmistakable"
    await outbox.finish(
        await claim_one(outbox), contact_id="c", shown=shown(word, document=f'"{word}"'.encode()), now=NOW
    )
    assert search(desk, word) == [spool_id]
    assert desk.drop([spool_id], now=NOW).count == 1
    assert search(desk, word) == []
    files = [path for path in spool.config.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if word.encode() in path.read_bytes()]


async def test_finished_mails_of_a_thread_are_found(put, outbox, desk):
    """The mails of some Message-IDs that became contacts are given newest first; others are not."""
    ids = [await put(message_id=f"<{number}@thread.example>") for number in range(4)]
    for entry in await outbox.claim(now=NOW, limit=3, lease_seconds=60):
        await outbox.finish(entry, contact_id=f"c-{entry.spool_id}", now=NOW)
    wanted = [f"<{number}@thread.example>" for number in (0, 2, 3, 9)]
    assert [row.entry.spool_id for row in desk.thread(wanted, limit=20)] == [ids[2], ids[0]]
    assert [row.entry.spool_id for row in desk.thread(wanted, limit=1)] == [ids[2]]
    assert [row.entry.spool_id for row in desk.thread([], contact_id=f"c-{ids[1]}", limit=9)] == [ids[1]]
    assert desk.thread([], limit=20) == ()


async def test_the_spool_of_an_older_relay_is_listed(put, outbox, desk, spool):
    """A spool without these rows is listed and searched by its addresses, and is left as it is."""
    done = await put()
    await outbox.finish(await claim_one(outbox), contact_id="c-1", now=NOW)
    waiting = await put(body=mail("Older"))
    await spool.close()
    spool.opened.clear()
    spool.desks.clear()
    make_version_2(spool.config)
    older = spool.open_desk()
    assert [row.entry.spool_id for row in older.page(EntryQuery()).rows] == [waiting, done]
    assert search(older, "older") == [waiting]
    assert search(older, "customer.example") == [waiting, done]
    assert older.reasons()[State.QUEUED] == {}
    assert older.accepted(since=NOW - timedelta(days=9_999)) == 2


async def test_what_is_shown_is_in_a_backup(put, outbox, desk, spool, tmp_path):
    """A spool that was brought back from its backup shows and finds what the outcomes wrote."""
    spool_id = await put()
    await outbox.finish(await claim_one(outbox), contact_id="c", shown=shown("findable"), now=NOW)
    archive = tmp_path / "archive.tar"
    desk.back_up(archive, progress=lambda *_: None)
    restored = build_config(tmp_path / "restored")
    restored.data_dir.mkdir()
    restore_spool(restored, archive, progress=lambda *_: None)
    with contextlib.closing(open_desk(restored)) as other:
        assert search(other, "findable") == [spool_id]
        assert other.page(EntryQuery()).rows[0].shown == b"{}"
