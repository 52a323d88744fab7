"""The JSON API, held to docs/sandbox.md."""

from __future__ import annotations

import json

import pytest
from aws_parts import octets, planned, request_for

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import builtin_config

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def start(clients):
    """Start contacts t0, t1, ..., the first with two attachments."""

    async def run(count):
        store = AttachmentStore(clients.s3, config=builtin_config().s3)
        stored = await store.put_all([planned(octets(9, n), f"mail/01API/{n}") for n in range(2)])
        connect = ConnectClient(clients.connect)
        urls = [stored.urls, *[()] * (count - 1)]
        return [await connect.start_email_contact(request_for(*urls[n], token=f"t{n}")) for n in range(count)]

    return run


async def get(http, url):
    async with http.get(url) as answer:
        assert answer.content_type == "application/json"
        return answer.status, json.loads(await answer.text())


@pytest.mark.slow
async def test_contacts_are_a_list_oldest_first(http, box, start):
    """Each with its id, its time, its request, and its attachments as they were fetched."""
    ids = await start(3)
    status, found = await get(http, f"{box.http_url}/api/contacts")
    assert status == 200
    assert [contact["contact_id"] for contact in found] == ids
    assert {key for contact in found for key in contact} == {
        "contact_id",
        "received_at",
        "request",
        "attachments",
    }
    assert found[1]["request"] == request_for(token="t1")
    assert [(file["name"], file["size"], len(file["sha256"])) for file in found[0]["attachments"]] == [
        ("paper-0.pdf", 9, 64),
        ("paper-1.pdf", 9, 64),
    ]
    assert found == box.contacts()


async def test_an_empty_list_is_a_list(http, box):
    """Before the first contact, and after DELETE."""
    assert await get(http, f"{box.http_url}/api/contacts") == (200, [])


async def test_a_reader_goes_on_where_it_was(http, box, start):
    """`since` and `limit`, which the contract does not ask for, serve long runs."""
    ids = await start(4)
    _, found = await get(http, f"{box.http_url}/api/contacts?since={ids[1]}&limit=1")
    assert [contact["contact_id"] for contact in found] == [ids[2]]
    for wrong in ("since=nobody", "limit=many"):
        status, error = await get(http, f"{box.http_url}/api/contacts?{wrong}")
        assert (status, "since takes a contact id" in error["error"]) == (400, True)


async def test_one_contact_can_be_asked_for(http, box, start):
    """By its id; another id is 404."""
    (contact_id,) = await start(1)
    status, found = await get(http, f"{box.http_url}/api/contacts/{contact_id}")
    assert (status, found) == (200, box.contacts()[0])
    assert (await get(http, f"{box.http_url}/api/contacts/other"))[0] == 404


async def test_a_long_list_comes_whole(http, box, start):
    """A list that is written in many pieces is one JSON document."""
    await start(1)
    contact = box.book.newest(after=0, limit=1)[0]
    for number in range(3_000):
        box.book.add(f"x{number}", contact.raw, {}, digest=b"", now=contact.received_at)
    _, found = await get(http, f"{box.http_url}/api/contacts")
    assert len(found) == 3_001
    assert found[-1]["contact_id"] == "x2999"


async def test_delete_empties_the_list_and_forgets_tokens(http, box, start):
    """The same request after it is a new contact."""
    (first,) = await start(1)
    async with http.delete(f"{box.http_url}/api/contacts") as answer:
        assert answer.status == 200
    assert await get(http, f"{box.http_url}/api/contacts") == (200, [])
    (second,) = await start(1)
    assert first != second


CONNECT = {"throttle": 0.2, "error": 0.1, "latency_seconds": 1.0, "lose_reply": 0.1, "deny": 0.3}


async def test_chaos_is_set_and_read(http, box):
    """The document of the contract goes in and comes out."""
    async with http.post(
        f"{box.http_url}/api/chaos", json={"connect": CONNECT, "s3": {"refuse": 0.5}}
    ) as answer:
        assert answer.status == 200
    _, document = await get(http, f"{box.http_url}/api/chaos")
    assert (document["connect"], document["s3"]["refuse"]) == (CONNECT, 0.5)
    assert box.chaos() == document
    async with http.delete(f"{box.http_url}/api/chaos") as answer:
        assert (await answer.json())["connect"]["throttle"] == 0


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"connect": {"throtle": 1}}', '"connect.throtle" is no fault; connect has "throttle", "error"'),
        ('{"sqs": {}}', '"sqs" is no table of faults'),
        ("{", "the document is no JSON"),
        ("[]", "the document must be a JSON object"),
    ],
)
async def test_a_mistake_in_chaos_is_a_sentence(http, box, body, sentence):
    """400 with what would be right, and nothing is changed."""
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{box.http_url}/api/chaos", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith(sentence)
    assert not any(share for table in box.chaos().values() for share in table.values())


async def test_other_clients_find_their_account(http, box):
    """What points an AWS client at this sandbox can be asked for."""
    assert await get(http, f"{box.http_url}/api/env") == (200, box.env)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("LocalHost", 200),
        ("[::1]:8025", 200),
        ("evil.example", 403),
        ("evil.example:8025", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("[::1].evil.example", 403),
        ("192.0.2.1", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("page", ["/", "/api/contacts", "/api/env", "/nothing"])
async def test_page_of_another_name_gets_nothing(http, box, host, status, page):
    """A name that somebody's DNS leads here is none of ours, whatever is asked for."""
    async with http.get(f"{box.http_url}{page}", headers={"Host": host}) as answer:
        assert answer.status == (404 if (status, page) == (200, "/nothing") else status)
        assert status == 200 or "error" in await answer.json()


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_form_of_another_page_changes_nothing(http, box, method, kind):
    """What a browser sends to foreign hosts without asking them, a form or plain text, is no change."""
    for page in ("/api/chaos", "/api/contacts"):
        async with http.request(
            method,
            f"{box.http_url}{page}",
            data=b'{"s3": {"refuse": 1}}',
            headers={"Content-Type": kind},
            skip_auto_headers=["Content-Type"],
        ) as answer:
            assert answer.status == 415
    assert box.chaos()["s3"]["refuse"] == 0
