"""The page's view of a real spool: its status, its list, a mail, and changes."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import pytest
from spool_helpers import LocalSpool, build_destination, build_submission

from relay.errors import SpoolError
from relay.spool.audit import AuditFilter
from relay.spool.model import DayCount, State
from relay.spool.page import Shown
from relay.timing import utc_now
from relay.vocabulary import Rung
from relay.web.spool_view import SpoolView
from relay.web.view import Query, Verdict


@pytest.fixture
async def spool(tmp_path):
    spool = LocalSpool(tmp_path)
    yield spool
    await spool.close()


@pytest.fixture
async def view(spool):
    view = SpoolView(spool.config)
    yield view
    await view.close()


async def put(intake, subject="Hello", **like):
    """Puts a mail; its spool id."""
    body = f"From: Ann <ann@customer.example>\r\nSubject: {subject}\r\n\r\nWords\r\n".encode()
    receipt = await intake.put(build_submission(intake.new_id(), body=body, at=intake.now(), **like))
    return receipt.spool_id


async def test_status_counts_every_mail_with_its_reason(spool, view):
    """The strip has each mail in one figure, with reasons, and says what a person should read."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    for number in range(5):
        await put(intake, f"Mail {number}")
    now = outbox.now()
    entries = await outbox.claim(now=now, limit=4, lease_seconds=60)
    await outbox.finish(entries[0], contact_id="c-1", now=now)
    await outbox.hold(entries[1], reason="policy.x", detail="", now=now)
    await outbox.bury(entries[2], reason="too_old", detail="", now=now)
    await outbox.defer(entries[3], until=now + timedelta(hours=1), reason="s3.timeout", detail="", now=now)
    today = utc_now().date().isoformat()
    await outbox.add_counts([DayCount(today, "refused.recipient", "550 5.1.1", 3)])
    spool.open_desk().pause("intake", now=utc_now())
    status = await view.status()
    figures = {
        name: getattr(status, name) for name in ("received", "waiting", "held", "dead", "done", "refused")
    }
    assert {name: (figure.number, figure.reasons) for name, figure in figures.items()} == {
        "received": (5, ()),
        "waiting": (2, (("s3.timeout", 1),)),
        "held": (1, (("policy.x", 1),)),
        "dead": (1, (("too_old", 1),)),
        "done": (1, ()),
        "refused": (3, (("550 5.1.1", 3),)),
    }
    assert {name: figure.others for name, figure in figures.items() if figure.others} == {"waiting": 1}
    assert status.pace == pytest.approx(1 / 60)
    assert status.quota == 2.0
    assert status.oldest_seconds is not None
    assert status.oldest_seconds < 60
    (notice,) = status.notices
    assert notice == "The intake is paused, no mail is accepted (relay resume intake)."


async def test_a_mail_that_waits_for_a_pause_says_so(spool, view):
    """A mail of a paused route, or of a paused delivery, names what it waits for and the command that ends
    it; that of another route, and mail that waits for nothing, name none.
    """
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    for address, route in (("a@example.com", "sales"), ("b@example.com", "help"), ("c@example.com", "sales")):
        await put(intake, destinations=(build_destination(address, route=route),))
    now = outbox.now()
    (done,) = await outbox.claim(now=now, limit=1, lease_seconds=60)
    await outbox.finish(done, contact_id="c-1", now=now)
    rows = {row.recipient: row for row in (await view.list(Query())).rows}

    async def stops():
        mails = {to: await view.mail(row.reference, content=False) for to, row in rows.items()}
        return {
            to: [stop.partition("(")[2] for stop in mail.stops] for to, mail in mails.items() if mail.stops
        }

    assert await stops() == {}
    desk.pause("route sales", now=utc_now())
    waiting = {to for to, row in rows.items() if row.state is State.QUEUED}
    of_sales = {to: ["relay resume route sales)."] for to in waiting - {"b@example.com"}}
    assert of_sales
    assert await stops() == of_sales
    desk.pause("delivery", now=utc_now())
    assert await stops() == {to: ["relay resume delivery).", *of_sales.get(to, [])] for to in waiting}


async def test_a_spool_without_a_daemon_is_told_of(spool, view):
    """Nobody delivers: the page says so, and shows the mail all the same."""
    intake = spool.open_intake()
    await put(intake)
    assert (await view.status()).notices[0].startswith("No daemon runs")
    assert len((await view.list(Query())).rows) == 1


async def test_rows_show_a_mail_before_its_first_outcome(spool, view):
    """A mail that just came has its subject, author, addresses and results in the list, and fits filters."""
    intake = spool.open_intake()
    spool_id = await put(
        intake, "Café 東京", destinations=(build_destination("sales@example.com", route="sales"),)
    )
    (row,) = (
        await view.list(Query(text="cafe", verdicts=((Verdict.SPF, "pass"),), states=(State.QUEUED,)))
    ).rows
    assert row.reference.startswith(f"{spool_id}.")
    assert (row.subject, row.author_name, row.author) == ("Café 東京", "Ann", "ann@customer.example")
    assert (row.sender, row.recipient, row.route) == ("ann@customer.example", "sales@example.com", "sales")
    assert (row.state, row.verdicts, row.classification) == (State.QUEUED, {"spf": "pass"}, "")
    assert "sales" in await view.routes()


async def test_a_look_at_a_header_shows_no_card_number(spool, view):
    """Before the first outcome, at which routes redact, list and mail have no number either."""
    spool_id = await put(spool.open_intake(), "My card 4111 1111 1111 1111")
    (row,) = (await view.list(Query())).rows
    opened = await view.mail(row.reference, content=False)
    assert row.reference.startswith(spool_id)
    for shown in (row, opened.row):
        assert "1111 1111" not in shown.subject
        assert shown.subject.startswith("My card 4111")


async def test_a_mail_has_its_timeline(spool, view):
    """A mail tells its steps with the time between them, and where its contact is."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    spool_id = await put(intake, destinations=(build_destination(), build_destination("b@example.com")))
    now = outbox.now()
    first, _ = await outbox.claim(now=now, limit=2, lease_seconds=60)
    await outbox.defer(first, until=now, reason="s3.timeout", detail="slow", now=now + timedelta(seconds=2))
    (again,) = await outbox.claim(now=now + timedelta(seconds=2), limit=1, lease_seconds=60)
    await outbox.finish(again, contact_id="c-1", now=now + timedelta(seconds=5))
    mail = await view.mail(first.reference, content=False)
    assert mail is not None
    assert [(step.event, round(step.seconds)) for step in mail.timeline[2:]] == [("deferred", 2), ("done", 3)]
    assert [step.event for step in mail.timeline[:2]] == ["connected", "accepted"]
    assert mail.timeline[2].words == "Put off (attempt 1): s3.timeout: slow"
    assert mail.timeline[3].words == "Became the contact c-1 (attempt 2)"
    assert [row.reference.partition(".")[0] for row in mail.related] == [spool_id]
    assert mail.peer["address"] == "192.0.2.7"
    assert await view.mail("0" * 16 + ".1", content=False) is None
    original = await view.original(first.reference)
    assert original is not None
    assert original.startswith(b"Received: from x\r\n")
    assert await view.original("nothing") is None


async def test_a_timeline_promises_nothing(spool, view):
    """Each step says what was, so the last refusal of a mail that is given up tells of no further attempt."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await put(intake)
    now = outbox.now()
    (entry,) = await outbox.claim(now=now, limit=1, lease_seconds=60)
    await outbox.refuse(entry, rung=Rung.TEXT, token="u", reason="connect.x", detail="no", now=now)
    await outbox.bury(entry, reason="connect.x", detail="no", now=now)
    mail = await view.mail(entry.reference, content=False)
    assert mail is not None
    assert [step.words for step in mail.timeline[2:]] == [
        "Connect refused this form of the mail (attempt 1): connect.x: no",
        "Given up (attempt 1): connect.x: no",
    ]


async def test_changes_are_those_of_the_commands(spool, view):
    """A change answers for each mail: changed, or left with the reason that the command gives."""
    intake = spool.open_intake()
    await put(intake)
    (row,) = (await view.list(Query())).rows
    acted = await view.act("hold", [row.reference, "nothing"], actor="ann", reason="")
    assert (acted.changed, acted.left) == ((row.reference,), (("nothing", "no such id"),))
    again = await view.act("hold", [row.reference], actor="ann", reason="")
    assert again.left == ((row.reference, "is held"),)
    assert (await view.act("release", [row.reference], actor="ann", reason="")).changed == (row.reference,)
    assert (await view.act("drop", [row.reference], actor="ann", reason="")).changed == (row.reference,)
    assert (await view.list(Query())).rows == ()


async def test_changes_by_the_page_are_in_the_audit(spool, view):
    """The audit has each change by the page, with the person and the reason."""
    intake = spool.open_intake()
    await put(intake)
    (row,) = (await view.list(Query())).rows
    await view.act("hold", [row.reference], actor="ann", reason="asked to wait")
    (audited,) = spool.open_desk().actions(AuditFilter())
    assert (audited.action.actor, audited.action.via, audited.action.reason) == (
        "ann",
        "page",
        "asked to wait",
    )
    assert (audited.action.command, audited.action.about) == ("queue hold", (row.reference,))


async def test_a_waiter_is_woken_by_a_change(spool, view):
    """A caller that waits learns of a change by another process's connection within seconds."""
    intake = spool.open_intake()
    mark = await asyncio.wait_for(view.wait("something older"), 5)
    waiting = asyncio.create_task(view.wait(mark))
    also = asyncio.create_task(view.wait(mark))
    done, _ = await asyncio.wait({waiting}, timeout=0.6)
    assert not done
    await put(intake)
    changed = await asyncio.wait_for(waiting, 10)
    assert changed != mark
    assert await asyncio.wait_for(also, 10) == changed


async def test_the_event_loop_is_left_free(spool, view):
    """Questions are asked in threads: while one is slow, the loop goes on."""
    intake = spool.open_intake()
    await put(intake)
    asked = asyncio.create_task(view._desks.ask(lambda _desk: time.sleep(0.2)))
    status = asyncio.create_task(view.status())
    turns = 0
    while not (asked.done() and status.done()):
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20


async def test_related_mail_is_that_of_the_thread(spool, view):
    """A mail names what it answers, what answers it, and the other entries of itself, newest first."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    for number in range(4):
        await put(intake, f"Mail {number}", message_id=f"<{number}@thread.example>")
    documents = [
        {"thread": ["<0@thread.example>"]},
        {"thread": ["<1@thread.example>", "<0@thread.example>"]},
        {"thread": ["<2@thread.example>", "<1@thread.example>"]},
        {"thread": ["<3@thread.example>"]},
    ]
    now = outbox.now()
    entries = sorted(await outbox.claim(now=now, limit=4, lease_seconds=60), key=lambda each: each.reference)
    for entry, document in zip(entries, documents, strict=True):
        shown = Shown(
            document=json.dumps(document).encode(),
            classification="human",
            marks=" ",
            words=f"x {' '.join(document['thread'][1:])} {document['thread'][0]}",
        )
        await outbox.finish(entry, contact_id=f"c-{entry.reference}", shown=shown, now=now)
    mail = await view.mail(entries[1].reference, content=False)
    assert mail is not None
    assert [row.reference for row in mail.related] == [entries[2].reference, entries[0].reference]


async def test_another_spool_in_its_place_is_noticed(spool, view):
    """Where a copy was put in place of the spool, the page fails once, and then shows what is there now."""
    intake = spool.open_intake()
    await put(intake)
    assert len((await view.list(Query())).rows) == 1
    await spool.close()
    spool.opened.clear()
    folder = spool.config.data_dir / "spool"
    folder.rename(folder.with_name("moved"))
    await spool.open_intake().close()
    with pytest.raises(SpoolError):
        await view.list(Query())
    assert (await view.list(Query())).rows == ()


async def test_a_page_that_has_ended_says_so(spool):
    """Questions after the end fail as those to a spool that cannot be read: somebody may still wait."""
    spool.open_intake()
    view = SpoolView(spool.config)
    waiting = asyncio.create_task(view.wait(await view.wait("before")))
    await asyncio.sleep(0)
    await view.close()
    with pytest.raises(SpoolError, match="ending"):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(SpoolError, match="ending"):
        await view.status()


async def test_without_a_spool_there_is_an_error_of_the_spool(spool, view):
    """Before the daemon has made its spool the page can say so, and it works from then on."""
    with pytest.raises(SpoolError, match="there is no spool"):
        await view.list(Query())
    spool.open_intake()
    assert (await view.list(Query())).rows == ()
