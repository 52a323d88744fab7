"""The page: what an agent would see, and nothing of a mail that does anything."""

from __future__ import annotations

import html
import re

import pytest
from aws_parts import planned, request_for

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import builtin_config
from relay.sandbox.page import octets as shown_octets

EVIL = "<script>alert('you')</script>\"><img src=x onerror=alert(1)>"
PNG = b"\x89PNG\r\n\x1a\n"


def mail(subject="Hello", body="Where is it?", content_type="text/plain", **more):
    raw = {"Subject": subject, "Body": body, "ContentType": content_type, **more}
    return {"EmailMessage": {"MessageSourceType": "RAW", "RawMessage": raw}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def start(clients):
    async def run(*files, **fields):
        store = AttachmentStore(clients.s3, config=builtin_config().s3)
        stored = await store.put_all(files)
        names = tuple(file.name for file in files)
        return await ConnectClient(clients.connect).start_email_contact(
            request_for(*stored.urls, names=names, **fields)
        )

    return run


async def page(http, box, path="/"):
    async with http.get(box.http_url + path) as answer:
        assert answer.status == 200
        return await answer.text(), answer.headers


async def test_the_first_page_says_how_to_send_a_mail(http, box):
    """A newcomer finds the address and three ways to write to it."""
    text, _ = await page(http, box)
    assert box.smtp in text
    assert all(way in text for way in ("swaks --server", "smtplib", "curl smtp://", "/api/chaos"))
    assert "No contact yet." in text


async def test_a_contact_is_shown_as_an_agent_sees_it(http, box, start):
    """Subject, people, body, files with size and digest, headers, attributes."""
    contact_id = await start(
        planned(b"12345", name="Grüße.pdf"),
        **mail(subject="Wo bleibt es?", body="Grüße\nAnna", Headers={"MESSAGE_ID": "<a@b.example>"}),
        Attributes={
            "relay_spool_id": "01J",
            "relay_classification": "human",
            "relay_adaptations": "body.note",
        },
        AdditionalRecipients={"CcAddresses": [{"EmailAddress": "bob@other.example", "DisplayName": "Bob"}]},
    )
    box.contacts()
    text, _ = await page(http, box, f"/contacts/{contact_id}")
    text = html.unescape(text)
    for wanted in (
        "<h1>Wo bleibt es?</h1>",
        "<b>Anna</b> <anna@kunde.example>",
        "Bob <bob@other.example>",
        "Grüße\nAnna</pre>",
        "Grüße.pdf",
        "5 B",
        "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5",
        "<a@b.example>",
        "01J",
        "adapted: body.note",
    ):
        assert wanted in text


async def test_html_stands_in_a_frame_without_scripts(http, box, start):
    """The body is the frame's own document: sandboxed, without allow-scripts, under a policy that allows
    none.
    """
    contact_id = await start(**mail(body=f"<b>{EVIL}</b>", content_type="text/html"))
    text, headers = await page(http, box, f"/contacts/{contact_id}")
    frame = re.search(r'<iframe[^>]* sandbox="([^"]*)" srcdoc="([^"]*)">', text)
    assert frame[1] == "allow-same-origin"
    assert html.unescape(frame[2]) == f"<b>{EVIL}</b>"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "img-src 'self' data:" in policy


@pytest.mark.parametrize("path", ["/", "/contacts/{}"])
async def test_nothing_of_a_mail_is_markup(http, box, start, path):
    """Whatever subject, names, attributes and files say, it is text on the page."""
    contact_id = await start(
        planned(b"x", name="<script>alert(1)</script>.pdf"),
        **mail(subject=EVIL, body=EVIL, Headers={"MESSAGE_ID": EVIL}),
        Attributes={"relay_helo": EVIL, "relay_adaptations": EVIL},
        FromEmailAddress={"EmailAddress": "a<b>@c.example", "DisplayName": EVIL},
    )
    text, _ = await page(http, box, path.format(contact_id))
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "alert(&#39;you&#39;)" in text


async def test_new_contacts_can_be_asked_for_by_number(http, box, start):
    """The page asks once a second for what it has not seen."""
    await start(**mail(subject="first"), token="1")
    async with http.get(f"{box.http_url}/rows?after=0") as answer:
        first = await answer.json()
    second_id = await start(**mail(subject="second"), token="2")
    box.chaos(connect={"throttle": 0.5})
    async with http.get(f"{box.http_url}/rows?after={first['rows'][-1]['number']}") as answer:
        news = await answer.json()
    assert [(row["subject"], row["contact_id"]) for row in news["rows"]] == [("second", second_id)]
    assert (news["count"], news["faults"]) == (2, "connect.throttle 0.5")


async def test_files_are_downloads_and_only_pictures_are_drawn(http, box, start):
    """HTML that came as a file must not run on our page; a picture may be seen."""
    contact_id = await start(
        planned(b"<script>", name="a.txt", content_type="text/html"),
        planned(PNG, "mail/01TEST/1", name="b.png", content_type="image/png"),
    )
    box.contacts()
    where = f"{box.http_url}/contacts/{contact_id}/attachments"
    async with http.get(f"{where}/0") as answer:
        assert await answer.read() == b"<script>"
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.txt"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    async with http.get(f"{where}/1") as answer:
        assert (await answer.read(), answer.content_type) == (PNG, "image/png")
        assert answer.headers["Content-Disposition"].startswith("inline")
    for missing in (f"{where}/2", f"{box.http_url}/contacts/other/attachments/0"):
        async with http.get(missing) as answer:
            assert answer.status == 404


async def test_a_file_can_be_opened_while_s3_has_faults(http, box, start):
    """The page shows what came, whatever S3 is told to do to the relay."""
    contact_id = await start(planned(b"here"))
    box.contacts()
    box.chaos(s3={"refuse": True})
    async with http.get(f"{box.http_url}/contacts/{contact_id}/attachments/0") as answer:
        assert await answer.read() == b"here"


async def test_an_attachment_that_was_never_uploaded_says_so(http, box, clients, start):
    """A failed attachment stands on the page with its reason."""
    contact_id = await ConnectClient(clients.connect).start_email_contact(
        request_for("https://elsewhere.example/x")
    )
    box.contacts()
    text, _ = await page(http, box, f"/contacts/{contact_id}")
    assert "Connect could not fetch it: https://elsewhere.example is not the S3" in html.unescape(text)
    async with http.get(f"{box.http_url}/contacts/{contact_id}/attachments/0") as answer:
        assert answer.status == 404


async def test_a_contact_that_is_gone_leads_to_the_list(http, box):
    """A page left open over a "Clear" does not end in an error."""
    async with http.get(f"{box.http_url}/contacts/gone") as answer:
        assert (answer.status, answer.url.path) == (200, "/")


async def test_the_pages_own_files_are_served(http, box):
    """Style and script come with the package."""
    for name in ("page.css", "page.js"):
        async with http.get(f"{box.http_url}/static/{name}") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("size", "text"), [(None, ""), (0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KB"), (5_242_880, "5.0 MB")]
)
async def test_sizes_are_for_people(size, text):
    """Octets, kilobytes, megabytes."""
    assert shown_octets(size) == text
