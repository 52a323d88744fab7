"""The pages of a sandbox: mails to try, transcripts, faults."""

from __future__ import annotations

import re

from aiohttp import FormData
from page_extras import ValueExtras
from page_values import ValueView, mail_view, row
from test_application import MAIL, text_of

from relay.spool.model import State


async def token_of(client, path):
    text, _ = await text_of(client, path)
    return re.search(r'name="form_token" value="([^"]+)"', text)[1]


async def send(client, path, *files, **fields):
    form = FormData({"form_token": await token_of(client, path)} | fields)
    for name, octets in files:
        form.add_field("files", octets, filename=name, content_type="application/octet-stream")
    async with client.post(path, data=form, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def test_a_mail_is_tried_with_its_files(serve):
    """The form's fields and files reach the sandbox, and the page leads to the mail and its transcript."""
    extras = ValueExtras()
    client = await serve(ValueView(mail_view()), extras=extras)
    status, text = await send(
        client, "/try", ("a.eml", b"Subject: x\r\n\r\n"), ("b.bin", b"\0\xff"),
        sender="a@b.example", recipient="support@example.com", subject="Hi", body="Hello",
    )  # fmt: skip
    assert status == 200
    assert 'href="/mails/a.1"' in text
    assert 'href="/sessions/1"' in text
    (mail,) = extras.tried
    assert (mail.sender, mail.subject) == ("a@b.example", "Hi")
    assert [(each.name, each.body) for each in mail.files] == [
        ("a.eml", b"Subject: x\r\n\r\n"),
        ("b.bin", b"\0\xff"),
    ]


async def test_a_mail_that_cannot_be_sent_comes_back(serve):
    """A wrong field is told, and the form keeps the words that were written."""
    client = await serve(ValueView(), extras=ValueExtras())
    status, text = await send(client, "/try", recipient="nobody", subject="my words")
    assert status == 400
    assert "no address" in text
    assert 'value="my words"' in text


async def test_a_magic_recipient_is_one_click_away(serve):
    """Each recipient that makes things happen leads to the form with its address."""
    client = await serve(ValueView(), extras=ValueExtras())
    text, _ = await text_of(client, "/try?to=support%2Bdead@example.com")
    assert 'value="support+dead@example.com"' in text
    assert 'href="/try?to=support%40example.com"' in text


async def test_faults_are_set_and_ended(serve):
    """The form sets the faults that it names; the other button ends all; a wrong value is told."""
    extras = ValueExtras()
    client = await serve(ValueView(), extras=extras)
    fields = {"fault:share.fault": "0.5", "fault:switch.fault": "on", "other": "x"}
    assert (await send(client, "/faults", **fields))[0] == 303
    assert (await send(client, "/faults", end="yes", **fields))[0] == 303
    assert extras.set == [{"share.fault": "0.5", "switch.fault": "on"}, {}]
    status, text = await send(client, "/faults", **{"fault:share.fault": "2"})
    assert status == 400
    assert "share.fault is from 0 to 1." in text


async def test_a_form_of_another_page_sends_nothing(serve):
    """A mail is tried and a fault set from forms of this page only."""
    extras = ValueExtras()
    client = await serve(ValueView(), extras=extras)
    for path in ("/try", "/faults"):
        async with client.post(path, data={"form_token": "guessed"}) as answer:
            assert answer.status == 403
    assert extras.tried == extras.set == []


async def test_transcripts_are_shown(serve):
    """The list of sessions, one session, and the session of a mail."""
    client = await serve(ValueView(mail_view()), extras=ValueExtras("EHLO there"))
    assert 'href="/sessions/1"' in (await text_of(client, "/sessions"))[0]
    for path in ("/sessions/1", f"{MAIL}?side=transcript"):
        assert (await text_of(client, path))[0].count("EHLO there") >= 3
    assert "not among the last" in (await text_of(client, "/sessions/2", 404))[0]
    assert "As Connect fetched them" not in (await text_of(client, MAIL))[0]


async def test_faults_in_force_are_on_the_strip(serve):
    """A fault that is in force is told on each page, and in the strip that is asked for anew."""
    client = await serve(ValueView(mail_view()), extras=ValueExtras())
    for path in ("/", "/strip", "/try", MAIL):
        assert "Faults in force: <b>share.fault</b> 0.5" in (await text_of(client, path))[0]


async def test_a_node_is_killed_and_started_by_a_button(serve):
    """The page of a fleet has a button for what each node can do; a node that is none is a sentence."""
    extras = ValueExtras()
    client = await serve(ValueView(mail_view()), extras=extras)
    text, _ = await text_of(client, "/nodes")
    assert text.count('name="kill"') == 1  # of the one that runs; one that starts has no button
    assert text.count('name="start"') == 2
    assert "running, <b>delivers</b>" in text
    assert (await send(client, "/nodes", node="running", kill="yes"))[0] == 303
    assert (await send(client, "/nodes", node="killed", start="yes"))[0] == 303
    assert extras.changed == [("running", "kill"), ("killed", "start")]
    status, text = await send(client, "/nodes", node="elsewhere", kill="yes")
    assert (status, "is no node" in text) == (400, True)


async def test_one_daemon_has_no_page_of_nodes(serve):
    """Without a fleet the page is not there, nor a link to it."""
    extras = ValueExtras()
    extras.has_nodes = False
    client = await serve(ValueView(mail_view()), extras=extras)
    text, _ = await text_of(client, "/")
    assert "/nodes" not in text
    async with client.get("/nodes") as answer:
        assert answer.status == 404


async def test_a_mail_names_its_nodes(serve):
    """In a fleet a row and an opened mail say which node accepted the mail and which delivered it."""
    mail = mail_view(row(state=State.DONE, accepted_by="one", delivered_by="two"))
    client = await serve(ValueView(mail))
    for path in ("/", f"/mails/{mail.row.reference}"):
        text, _ = await text_of(client, path)
        assert "accepted by <bdi>one</bdi>" in text
        assert "delivered by <bdi>two</bdi>" in text
