"""A mail opened: its sides, its frame, its original and its files, each under its own policy."""

from __future__ import annotations

import html
import re

import pytest
from page_values import PNG, ValueView, content, file, mail_view, row
from test_application import MAIL, text_of

from relay.spool.model import State
from relay.web.mail_pages import SIDES
from relay.web.responses import FILE_POLICY, FRAME_POLICY, PAGE_POLICY
from relay.web.view import Part

HTML = content(content_type="text/html", body='<p onclick="x()">Hello <img src="cid:logo@x">', text="Hello")


def with_files(*files):
    """A view of one mail with these files."""
    return ValueView(mail_view(content=HTML, files=tuple(each for each, _ in files)), files=files)


async def test_html_stands_in_a_frame_of_its_own(serve):
    """The page frames the body's address, sandboxed; the body comes under a policy that runs and fetches
    nothing, and lets a link open a tab.
    """
    client = await serve(with_files((file(name="logo.png", size=len(PNG), content_id="Logo@x"), PNG)))
    text, headers = await text_of(client, MAIL)
    frame = re.search(r'<iframe[^>]* src="([^"]*)"[^>]* sandbox="([^"]*)"', text)
    assert frame[1] == f"{MAIL}/body"
    assert frame[2] == "allow-popups allow-popups-to-escape-sandbox"
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    for _ in range(2):  # built for the page that frames it, then anew
        body, headers = await text_of(client, f"{MAIL}/body")
        assert headers["Content-Security-Policy"] == FRAME_POLICY
        assert headers["Referrer-Policy"] == "no-referrer"
        assert 'Hello <img src="data:image/png;base64,iVBOR' in body
        assert "onclick" not in body


async def test_each_side_has_its_address(serve):
    """Text, headers, parts and request are shown, each by a link that works without scripts."""
    tree = Part(content_type="multipart/mixed", size=9, parts=(Part(content_type="text/html", size=5),))
    shown = content(**{name: getattr(HTML, name) for name in HTML.__slots__} | {"tree": tree})
    client = await serve(ValueView(mail_view(content=shown)))
    wanted = {
        "text": "Hello</pre>",
        "headers": "Subject",
        "parts": "multipart/mixed",
        "request": '"InstanceId"',
    }
    text, _ = await text_of(client, MAIL)
    for side, words in wanted.items():
        assert f'href="{MAIL}?side={side}"' in text
        assert words in (await text_of(client, f"{MAIL}?side={side}"))[0]
    assert "transcript" in SIDES
    assert "side=transcript" not in text


async def test_the_mail_alone_can_be_asked_for(serve):
    """The module of the page asks for a mail without the list around it."""
    text, _ = await text_of(await serve(ValueView(mail_view())), f"{MAIL}?part=mail")
    assert 'id="mail"' in text
    assert 'id="list"' not in text


async def test_the_original_is_saved(serve):
    """The original comes as it is, to be saved under its id, and is no document of ours."""
    async with (await serve(ValueView(mail_view()))).get(f"{MAIL}/original") as answer:
        assert await answer.read() == b"Subject: Order\r\n\r\nWhere is it?\r\n"
        assert answer.content_type == "message/rfc822"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="01JX000001.1.eml"')
        assert answer.headers["Content-Security-Policy"] == FILE_POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "octets", "kind", "disposition"),
    [
        ("a.png", PNG, "image/png", "inline"),
        ("evil.html", PNG, "image/png", "inline"),
        ("a.png", b"<script>alert(1)</script>", "application/octet-stream", "attachment"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "application/octet-stream", "attachment"),
        ("a.pdf", b"%PDF-1.7", "application/octet-stream", "attachment"),
    ],
)
async def test_a_picture_is_drawn_and_all_else_is_saved(serve, name, octets, kind, disposition):
    """The octets decide, never the name or the type that the mail gave."""
    client = await serve(with_files((file(name=name, content_type="image/png"), octets)))
    async with client.get(f"{MAIL}/files/0") as answer:
        assert await answer.read() == octets
        assert answer.content_type == kind
        assert answer.headers["Content-Disposition"].startswith(f"{disposition}; ")
        assert answer.headers["Content-Security-Policy"] == FILE_POLICY
    async with client.get(f"{MAIL}/files/0?save=yes") as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment; ")


async def test_what_is_left_out_is_told(serve):
    """HTML and text that are too large are cut, and the page says so."""
    large = content(content_type="text/html", body="<p>x" * 100_000, text="y" * 400_000)
    client = await serve(ValueView(mail_view(content=large)))
    assert "it is cut. The original has all." in (await text_of(client, MAIL))[0]
    text, _ = await text_of(client, f"{MAIL}?side=text")
    assert "The first 300,000 of 400,000 characters" in text
    assert len(text) < 320_000


@pytest.mark.parametrize("gone", ["It was removed after 7 days.", ""])
async def test_words_that_are_gone_are_told(serve, gone):
    """A mail whose original is gone is shown with all that is known, and the reason."""
    client = await serve(ValueView(mail_view(content=None, no_content=gone)))
    text, _ = await text_of(client, MAIL)
    assert (gone or "not shown here") in text
    assert "Timeline" in text


async def test_a_side_that_this_page_lacks_is_refused(serve):
    """Each side that a page offers is answered; one that it has not, such as a transcript over a queue, is
    refused with a sentence.
    """
    client = await serve(ValueView(mail_view()))
    text, _ = await text_of(client, MAIL)
    offered = set(re.findall(r"side=(\w+)", text)) | {"message"}
    for side in {*SIDES, "nothing"}:
        answer, _ = await text_of(client, f"{MAIL}?side={side}", 200 if side in offered else 400)
        assert ("side is one of message, text" in answer) == (side not in offered)
    assert "transcript" not in offered


async def test_who_reads_the_request_of_a_mail_that_is_gone_is_noted(serve):
    """The body in a kept request is read as the mail is, so the audit has its reader; where it may not be
    seen, nothing is read.
    """
    for may, noted in ((True, 1), (False, 0)):
        view = ValueView(mail_view(content=None, no_content="It was removed after 7 days."))
        client = await serve(view, content=may)
        await text_of(client, f"{MAIL}?side=request")
        assert len(view.readings) == noted


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        (State.QUEUED, {"retry", "hold", "drop"}),
        (State.LEASED, set()),
        (State.HELD, {"retry", "release", "drop"}),
        (State.DEAD, {"retry", "drop"}),
        (State.DONE, {"drop"}),
    ],
)
async def test_changes_that_the_state_allows_are_offered(serve, state, offered):
    """A mail offers the changes that commands would make in its state, and none where none may be made."""
    view = ValueView(mail_view(row(state=state)))
    text = html.unescape((await text_of(await serve(view), f"{MAIL}?part=mail"))[0])
    assert set(re.findall(r'name="action" value="(\w+)"', text)) == offered
    text, _ = await text_of(await serve(view, actions=False), MAIL)
    assert "form_token" not in text


async def test_what_is_known_is_shown_in_words(serve):
    """Verdicts with reasons, adaptations in words, steps with times, the peer, what became of each file, and
    related mails.
    """
    kept = file(number=1, name="setup.exe", sent=False, why="Connect does not take it.")
    mail = mail_view(
        adaptations=(("A note stands at the end.", "body.note"),),
        files=(file(), kept),
        related=(row(7),),
    )
    text, _ = await text_of(await serve(ValueView(mail)), MAIL)
    assert "<li>A note stands at the end. <code>body.note</code></li>" in text
    for words in (
        "aligned by DKIM",
        "+2.0 s",
        "mx.kunde.example",
        "Connect does not take it.",
        "Order 7",
        "2 files",
    ):
        assert words in text
