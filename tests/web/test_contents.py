"""The words and the files of mails on the page, read by real workers."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
import pytest_asyncio
from harness import build_mail
from spool_helpers import LocalSpool, build_destination, build_submission, tables_of

from relay.spool.page import Shown
from relay.web.spool_view import SpoolView
from relay.web.view import Query
from relay.web.words import NOT_HERE

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40
HTML = "<p>Hello <b>agent</b></p><p>日本</p>"

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spool(tmp_path_factory):
    """One spool with the workers of one page for all tests; a mail with the word ends its worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELAY_FAULT_POINT", "delivery.understand:segv:@end-the-worker")
        spool = LocalSpool(tmp_path_factory.mktemp("page"))
        spool.intake = spool.open_intake()
        spool.view = SpoolView(spool.config)
        yield spool
        await spool.view.close()
        await spool.close()


async def put(spool, mail, *, route=None):
    """Puts a mail; its reference."""
    body = mail if isinstance(mail, bytes) else mail.as_bytes().replace(b"\n", b"\r\n")
    destination = build_destination(route=route or spool.config.routes[0].name)
    submission = build_submission(
        spool.intake.new_id(), body=body, destinations=(destination,), at=spool.intake.now()
    )
    spool_id = (await spool.intake.put(submission)).spool_id
    (row,) = (await spool.view.list(Query(text=spool_id))).rows
    return row.reference


def html_mail():
    mail = build_mail(1, attachment=PDF)
    mail.replace_header("Subject", "Grüße")
    body = mail.get_body(("plain",))
    body.add_alternative(HTML, subtype="html")
    return mail


async def test_a_mail_is_shown_as_its_agent_sees_it(spool):
    """The page has the body that the contact would have, its text, its header, its tree and its files."""
    reference = await put(spool, html_mail())
    mail = await spool.view.mail(reference, content=True)
    assert mail is not None
    content = mail.content
    assert content is not None
    assert content.content_type == "text/html"
    assert "<b>agent</b>" in content.body
    assert content.text.strip()
    assert dict(content.headers)["Subject"] == "Grüße"
    assert content.headers[0][0] == "Received"
    assert content.tree.content_type == "multipart/mixed"
    assert [part.content_type for part in content.tree.parts] == ["multipart/alternative", "application/pdf"]
    assert mail.row.classification == "human"
    (sent,) = [file for file in mail.files if file.sent]
    assert (sent.size, sent.content_type) == (len(PDF), "application/pdf")
    found = await spool.view.file(reference, sent.number)
    assert found == (sent, PDF)
    assert await spool.view.file(reference, 99) is None
    assert await spool.view.file(reference, -1) is None
    assert await spool.view.file("nothing", 0) is None


async def test_words_are_only_shown_where_they_may_be(spool):
    """Without leave there is no content, and the page says why."""
    mail = await spool.view.mail(await put(spool, html_mail()), content=False)
    assert mail is not None
    assert (mail.content, mail.no_content) == (None, NOT_HERE)


async def test_a_mail_that_ends_its_worker_is_shown_as_its_original(spool):
    """What nobody can understand shows the words of its beginning, as its contact would."""
    raw = b"Subject: odd\r\n\r\nplain words end-the-worker\r\n"
    mail = await spool.view.mail(await put(spool, raw), content=True)
    assert mail is not None
    assert mail.content is not None
    assert "plain words" in mail.content.body
    assert "message.not_understood" in [code for _, code in mail.adaptations]
    other = await spool.view.mail(await put(spool, html_mail()), content=True)
    assert other is not None
    assert other.content is not None


async def test_a_mail_of_a_route_that_is_gone_is_shown_as_it_came(spool):
    """A mail whose route the configuration has no more is read all the same, without a plan."""
    mail = await spool.view.mail(await put(spool, html_mail(), route="gone"), content=True)
    assert mail is not None
    assert mail.content is not None
    assert "<b>agent</b>" in mail.content.body
    assert mail.files == ()


async def test_files_are_those_that_the_outcome_told_of(spool):
    """A file is asked for by its place among the files that were sent, whatever today's plan would be."""
    reference = await put(spool, html_mail())
    mail = await spool.view.mail(reference, content=True)
    assert mail is not None
    (sent,) = mail.files
    files = [
        {"name": "lost.txt", "sha256": "00"},
        {"name": "x.pdf", "size": 1, "sha256": sent.sha256, "sent": True},
    ]
    outbox = spool.open_outbox()
    wanted = {
        entry.reference: entry for entry in await outbox.claim(now=outbox.now(), limit=99, lease_seconds=9)
    }
    shown = Shown(document=json.dumps({"files": files}).encode(), classification="bulk", marks=" ", words="x")
    await outbox.finish(wanted[reference], contact_id="c", shown=shown, now=outbox.now())
    told = await spool.view.file(reference, 1)
    assert told is not None
    assert (told[0].name, told[1]) == ("x.pdf", PDF)
    assert await spool.view.file(reference, 0) is None
    await outbox.close()
    spool.opened.remove(outbox)


async def test_a_mail_that_the_spool_lost_has_no_words(spool):
    """Where the raw mail is gone or spoiled, the page says so, and shows the rest."""
    reference = await put(spool, html_mail())
    with tables_of(spool.config.data_dir) as tables:
        await asyncio.to_thread(
            tables.execute,
            "DELETE FROM raws WHERE mail_id = (SELECT mail_id FROM mails WHERE spool_id = ?)",
            (reference.partition(".")[0],),
        )
    mail = await spool.view.mail(reference, content=True)
    assert mail is not None
    assert mail.content is None
    assert "is not there" in mail.no_content
    assert await spool.view.file(reference, 0) is None


async def test_the_file_of_an_original_is_the_mail_itself(spool):
    """A mail that went as its original has one file, which is what came."""
    raw = b"Subject: odd\r\n\r\nwords\r\n"
    reference = await put(spool, raw)
    outbox = spool.open_outbox()
    wanted = {
        entry.reference: entry for entry in await outbox.claim(now=outbox.now(), limit=99, lease_seconds=9)
    }
    entry = wanted[reference]
    await outbox.begin_original(entry, reason="crash", detail="", now=outbox.now())
    digest = hashlib.sha256(raw).hexdigest()
    files = [{"name": "original.txt", "size": len(raw), "sha256": digest, "sent": True}]
    shown = Shown(
        document=json.dumps({"files": files}).encode(), classification="human", marks=" ", words="x"
    )
    await outbox.finish(entry, contact_id="c", shown=shown, now=outbox.now())
    mail = await spool.view.mail(reference, content=True)
    assert mail is not None
    assert mail.content is not None
    assert "words" in mail.content.body
    found = await spool.view.file(reference, 0)
    assert found is not None
    assert (found[0].name, found[1]) == ("original.txt", raw)
    await outbox.close()
    spool.opened.remove(outbox)
