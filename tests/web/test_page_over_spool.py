"""The page over a real spool: each mail is found from the strip, changed, and told of when it comes."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import date, timedelta
from urllib.parse import quote

import pytest
from spool_helpers import LocalSpool, build_destination, build_submission
from test_application import text_of
from test_events import read_until
from understanding import task_of

from relay.contact.fit import fit
from relay.contact.request import build_request
from relay.delivery.description import describe_plan, describe_request
from relay.message.parse import parse_message
from relay.spool.audit import AuditFilter
from relay.spool.opening import open_desk
from relay.web.mail_pages import SIDES
from relay.web.spool_view import SpoolView


@pytest.fixture
async def spool(tmp_path):
    spool = LocalSpool(tmp_path)
    yield spool
    await spool.close()


@pytest.fixture
async def client(spool, serve):
    view = SpoolView(spool.config)
    yield await serve(view)
    await view.close()


async def put(intake, subject="Hello", **like):
    body = f"From: Ann <ann@customer.example>\r\nSubject: {subject}\r\n\r\nWords\r\n".encode()
    receipt = await intake.put(build_submission(intake.new_id(), body=body, at=intake.now(), **like))
    return receipt.spool_id


async def fill(spool):
    """Mails in each state. Returns the outbox."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    for number in range(5):
        await put(intake, f"Mail {number}", destinations=(build_destination(f"a{number}@example.com"),))
    now = outbox.now()
    entries = await outbox.claim(now=now, limit=4, lease_seconds=60)
    await outbox.finish(entries[0], contact_id="c-1", now=now)
    await outbox.hold(entries[1], reason="policy.x", detail="<b>why</b>", now=now)
    await outbox.bury(entries[2], reason="too_old", detail="", now=now)
    await outbox.defer(entries[3], until=now + timedelta(hours=1), reason="s3.timeout", detail="", now=now)
    return outbox


def references(text):
    return re.findall(r'<li class="row \w+" data-reference="([^"]+)"', text)


async def test_each_figure_leads_to_the_mails_that_it_counts(spool, client):
    """Nothing that was mailed is nowhere: the figures' links show as many mails as the figures say, with each
    reason, and together all of the list.
    """
    await fill(spool)
    text, _ = await text_of(client, "/")
    assert len(references(text)) == 5
    found = []
    for name in ("waiting", "held", "dead", "done"):
        number, way = re.search(rf'data-figure="{name}">\s*<a href="([^"]+)"><b>(\d+)</b>', text).groups()[
            ::-1
        ]
        shown = references((await text_of(client, way))[0])
        assert len(shown) == int(number)
        found += shown
        for reason_way in re.findall(rf'href="(/\?state={name}&reason=[^"]+)"', text):
            assert len(references((await text_of(client, reason_way))[0])) == 1
    assert sorted(found) == sorted(references(text))
    way = re.search(r'data-figure="received">\s*<a href="([^"]+)"', text)[1]
    day = date.fromisoformat(way.removeprefix("/?since="))
    for since, count in ((day - timedelta(days=1), 5), (day + timedelta(days=2), 0)):
        assert len(references((await text_of(client, f"/?since={since}"))[0])) == count


@pytest.mark.process  # a worker understands the mail
async def test_a_mail_is_opened_and_changed(spool, client):
    """The held mail opens with its words and header, and is released by the page, which says so."""
    await fill(spool)
    text, _ = await text_of(client, "/?state=held")
    (reference,) = references(text)
    way = f"/mails/{quote(reference)}"
    mail, _ = await text_of(client, way)
    assert "policy.x" in mail
    assert re.search(r'<pre class="text"[^>]*>Words', mail)
    assert "ann@customer.example" in (await text_of(client, f"{way}?side=headers"))[0]
    token = re.search(r'name="form_token" value="([^"]+)"', mail)[1]
    form = {"form_token": token, "action": "release", "reason": "looked at it"}
    async with client.post(f"{way}/change", data=form) as answer:
        assert "It goes on." in await answer.text()
    assert references((await text_of(client, "/?state=held"))[0]) == []
    async with client.post(f"{way}/change", data=form) as answer:
        assert "It goes on." not in await answer.text()
        assert 'class="notice said"' in await answer.text()


async def test_an_original_is_saved_with_its_trace(spool, client):
    """The original has our trace header in front, and the words as they came."""
    await put(spool.open_intake(), "My words")
    (reference,) = references((await text_of(client, "/?q=words"))[0])
    async with client.get(f"/mails/{reference}/original") as answer:
        raw = await answer.read()
    assert raw.endswith(b"Subject: My words\r\n\r\nWords\r\n")


@pytest.mark.parametrize("reference", ["nobody", "01ARZ3NDEKTSV4RRFFQ69G5FAV.7", "a.b.c", "%00", "..%2f..", "x" * 2_000, "'%22;--"])  # fmt: skip
async def test_a_reference_of_nobody_is_answered(spool, client, reference):
    """Whatever stands in place of a reference, every address of a mail answers that there is none."""
    await put(spool.open_intake())
    for rest in ("", "/body", "/original", "/files/0"):
        await text_of(client, f"/mails/{reference}{rest}", 404)


async def test_a_mail_that_comes_is_told(spool, client):
    """A listener hears of a mail that is accepted, and the list has it."""
    intake = spool.open_intake()
    await text_of(client, "/", 200)
    async with client.get("/events") as answer:
        await read_until(answer, b"retry:")
        await put(intake)
        await read_until(answer, b"event: changed")
    assert len(references((await text_of(client, "/rows"))[0])) == 1


async def test_a_list_of_any_length_goes_on(spool, client):
    """A list of more than a page has the way to the rest, and each mail once."""
    intake = spool.open_intake()
    for number in range(130):
        await put(intake, f"Mail {number}")
    text, _ = await text_of(client, "/")
    way = re.search(r'<a rel="next" href="([^"]+)" data-rows="([^"]+)"', text)
    rest, _ = await text_of(client, way[2])
    assert "<html" not in rest
    assert references((await text_of(client, way[1]))[0]) == references(rest)
    both = references(text) + references(rest)
    assert len(both) == len(set(both)) == 130


async def test_a_spool_that_is_not_there_is_told(client):
    """Before the daemon has made its spool, the page is there, and says so."""
    text, _ = await text_of(client, "/", 503)
    assert "there is no spool in" in text


@pytest.mark.process
async def test_who_reads_the_words_of_a_mail_is_in_the_audit(spool, client):
    """A mail opened, its original saved: a row for each, once however often the page asks; the list alone,
    and a mail that is not there, are no reading.
    """
    await fill(spool)
    text, _ = await text_of(client, "/")
    reference = references(text)[0]
    way = f"/mails/{quote(reference)}"
    await text_of(client, "/mails/0000000000000000.9", 404)
    for _ in range(2):
        for path in (way, f"{way}?side=text", f"{way}/original"):
            assert (await client.get(path)).status == 200
    with closing(open_desk(spool.config)) as desk:
        rows = desk.actions(AuditFilter())
    assert [(row.action.via, row.action.command, row.action.about) for row in rows] == [
        ("page", "page mail", (reference,)),
        ("page", "page original", (reference,)),
    ]
    assert {row.action.actor for row in rows} == {"(anyone)"}


@pytest.mark.parametrize("again", [False, True], ids=["planned", "sent again"])
@pytest.mark.parametrize("prefix", ["relay_", "mail_"])
async def test_no_side_has_the_words_of_a_mail_without_the_right(spool, serve, prefix, again):
    """What is kept of a real contact has words of its mail, in the body of its request and in an attribute; a
    page without content gives them on no side.
    """
    raw = b"From: Ann <ann@customer.example>\r\nSubject: Hello\r\n\r\nXyzzy\r\n"
    config = spool.config.model_copy(
        update={"contact": spool.config.contact.model_copy(update={"attribute_prefix": prefix})}
    )
    task = task_of(raw, config)
    plan = fit(parse_message(raw), task.context, task.route, config)
    request = build_request(plan, [], client_token="t")
    assert str(request).count("Xyzzy") == 2
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await intake.put(build_submission(intake.new_id(), body=raw, at=intake.now()))
    (entry,) = await outbox.claim(now=outbox.now(), limit=1, lease_seconds=60)
    shown = (
        describe_request(entry, request, prefix=prefix)
        if again
        else describe_plan(entry, plan, request, prefix=prefix)
    )
    await outbox.finish(entry, contact_id="c-1", shown=shown, now=outbox.now())
    assert shown.document.count(b"Xyzzy") == 2
    view = SpoolView(spool.config)
    client = await serve(view, content=False)
    way = f"/mails/{quote(entry.reference)}"
    for side in SIDES.keys() - {"transcript"}:
        for part in ("", "&part=mail"):
            text, _ = await text_of(client, f"{way}?side={side}{part}")
            assert "Xyzzy" not in text, side
            assert ("RawMessage" in text) == (side == "request")
    await view.close()
