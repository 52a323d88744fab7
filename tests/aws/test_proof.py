"""Success is what is proved: servers on loopback that say 200 and have done nothing, or something else."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aws_parts import (
    MEBIBYTE,
    Peer,
    answer,
    clients_of,
    planned,
    read_head,
    request_for,
    stored_headers,
)
from hypothesis import given
from hypothesis import strategies as st

from relay.alarms.sender import AlarmSender
from relay.aws.clients import is_amazons
from relay.aws.connect import ConnectClient
from relay.aws.proof import check_contact_id, check_head, check_message_id, check_put, check_url, is_taken
from relay.aws.s3 import AttachmentStore
from relay.config.alarms import Alarms
from relay.config.builtin import BUCKET, INSTANCE_ID, builtin_config
from relay.errors import Blame, FailureClass, RemoteError

in_one_loop = pytest.mark.asyncio(loop_scope="module")

DATA = b"the octets of a file"
DIGEST = hashlib.sha256(DATA).digest()
CHECKSUM = base64.b64encode(DIGEST).decode()
GOOD = stored_headers(DIGEST)
ETAG = GOOD["ETag"]
PAGE = b"<!DOCTYPE html><html><h1>Sign in to the guest network</h1></html>"
ERROR = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>again</Message></Error>'
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
UNPROVEN = (FailureClass.TEMPORARY, "unproven")


class Liar:
    """A server that answers what it is told to, whatever it is asked, and keeps the methods that it was asked
    by.
    """

    def __init__(self) -> None:
        self.tell()

    def tell(self, status="200 OK", body=b"", headers=None, *, head=("200 OK", {}), wire=b""):
        self.status, self.body, self.headers, self.head, self.wire = status, body, headers or {}, head, wire
        self.asked = []

    async def serve(self, reader, writer, _number):
        while True:
            fields = await read_head(reader)
            await reader.readexactly(int(fields.get("content-length", 0)))
            self.asked.append(fields[""].split()[0])
            if self.wire:
                writer.write(self.wire)
                await writer.drain()
                return
            if self.asked[-1] == "HEAD":
                status, headers = self.head
                lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())
            else:
                answer(writer, self.status, self.body, **self.headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def liar(module_box):
    """The liar, with `s3`, `connect` and `sns` of the relay's own clients that ask it."""
    liar = Liar()
    with pytest.MonkeyPatch.context() as patch:
        async with Peer(liar.serve) as peer:
            endpoints = {f"AWS_ENDPOINT_URL_{name}": peer.url for name in ("S3", "CONNECT", "SNS")}
            async with clients_of(module_box.environ() | endpoints, patch) as clients:
                liar.s3, liar.connect, liar.sns = clients.s3, clients.connect, clients.sns
                liar.store = AttachmentStore(clients.s3, config=builtin_config().s3)
                yield liar


async def outcome(call):
    """How a call ended: its class and word, or () for success."""
    try:
        await call
    except RemoteError as exc:
        return exc.failure, exc.code
    return ()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        ("200 OK", PAGE, {"Content_Type": "text/html"}),
        ("200 OK", b"", {}),
        ("200 OK", b"", {"ETag": ""}),
        ("200 OK", b"", {"ETag": '"x"'}),
        ("200 OK", b"", {"ETag": 'W/"' + 32 * "a" + '"'}),
        ("200 OK", b"", {"ETag": 32 * "a"}),
        ("200 OK", b"", {"ETag": '"' + 31 * "a" + '"'}),
        ("200 OK", b"", {"ETag": '"' + 32 * "g" + '"'}),
        ("200 OK", b"", {"x_amz_checksum_sha256": CHECKSUM}),
        (
            "200 OK",
            b"",
            {"ETag": ETAG, "x_amz_checksum_sha256": stored_headers(32 * b"0")["x_amz_checksum_sha256"]},
        ),
        ("200 OK", b"", {"ETag": ETAG, "x_amz_checksum_sha256": CHECKSUM + "-2"}),
        ("200 OK", b"", {"ETag": ETAG, "x_amz_checksum_sha256": DIGEST.hex()}),
        ("204 No Content", b"", {}),
        ("206 Partial Content", PAGE, {}),
    ],
)
@in_one_loop
async def test_an_upload_without_proof_is_not_stored(liar, status, body, headers):
    """A page of a filter, no ETag, one of another form, another checksum: the mail waits."""
    liar.tell(status, body, headers)
    ended = await outcome(liar.store.put_all([planned(DATA)]))
    assert ended == UNPROVEN or (body == PAGE and ended[0] is FailureClass.TEMPORARY)
    assert set(liar.asked) == {"PUT"}


@in_one_loop
async def test_an_error_in_a_200_is_an_error(liar):
    """S3 may begin to answer 200 and find its error later: the body is what counts."""
    liar.tell("200 OK", ERROR, GOOD)
    ended = await outcome(liar.store.put_all([planned(DATA)]))
    assert (ended, set(liar.asked)) == ((FailureClass.TEMPORARY, "InternalError"), {"PUT"})


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (("200 OK", {"Content_Length": len(DATA), "ETag": ETAG}), ()),
        (("200 OK", {"Content_Length": len(DATA), **GOOD}), ()),
        (("200 OK", {"Content_Length": len(DATA) - 1, "ETag": ETAG}), UNPROVEN),
        (("200 OK", {"Content_Length": 0, "ETag": ETAG}), UNPROVEN),
        (("200 OK", {"Content_Length": len(DATA)}), UNPROVEN),
        (("200 OK", {"Content_Length": len(DATA), "ETag": '"' + 32 * "0" + '"'}), UNPROVEN),
        (("200 OK", {"Content_Length": len(DATA), **stored_headers(32 * b"0"), "ETag": ETAG}), UNPROVEN),
        (("200 OK", {"ETag": ETAG}), UNPROVEN),
        (("404 Not Found", {"Content_Length": 0}), UNPROVEN),
        (("403 Forbidden", {"Content_Length": 0}), (FailureClass.CONFIGURATION, "403")),
    ],
)
@in_one_loop
async def test_a_head_gives_the_proof_that_a_foreign_s3_leaves_out(liar, head, expected):
    """A server that knows no checksums must show the file's length under the same ETag."""
    liar.tell(headers={"ETag": ETAG}, head=head)
    ended = await outcome(liar.store.put_all([planned(DATA)]))
    assert (ended, liar.asked) == (expected, ["PUT", "HEAD"])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [(GOOD, ()), ({"ETag": ETAG}, UNPROVEN), ({}, UNPROVEN)],
    ids=["proved", "no checksum", "no etag"],
)
@in_one_loop
async def test_amazon_itself_must_answer_the_checksum(monkeypatch, box, headers, expected):
    """A proxy on the way to amazonaws.com that answers in S3's place has no checksum, and gets no
    mail lost.
    """
    liar = Liar()
    liar.tell(headers=headers, head=("200 OK", {"Content_Length": len(DATA), "ETag": ETAG}))
    async with Peer(liar.serve) as peer:
        monkeypatch.setenv("HTTP_PROXY", peer.url)
        monkeypatch.setenv("http_proxy", peer.url)
        environ = box.environ() | {"AWS_ENDPOINT_URL_S3": "http://s3.eu-central-1.amazonaws.com"}
        async with clients_of(environ, monkeypatch) as clients:
            assert is_amazons(clients.s3)
            store = AttachmentStore(clients.s3, config=builtin_config().s3)
            assert (await outcome(store.put_all([planned(DATA)])), liar.asked) == (expected, ["PUT"])


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://s3.us-gov-west-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://minio.example", False),
        ("https://notamazonaws.com", False),
        ("https://amazonaws.com.example", False),
    ],
)
@in_one_loop
async def test_amazons_endpoints_are_known_by_their_domain(monkeypatch, box, endpoint, expected):
    """Every partition and a VPC's own endpoint are Amazon's; a name that looks like it is not."""
    async with clients_of(box.environ() | {"AWS_ENDPOINT_URL_S3": endpoint}, monkeypatch) as clients:
        assert is_amazons(clients.s3) is expected


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nETag: " + ETAG.encode() + b"\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nETag: " + ETAG.encode()[:9],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amz-object-size: many\r\nETag: "
        + ETAG.encode()
        + b"\r\n\r\n",
        b"\xff\xfe\x00 nothing of HTTP\r\n\r\n",
    ],
    ids=["cut body", "cut head", "continue", "no length", "no number", "no http"],
)
@in_one_loop
async def test_broken_answers_are_temporary(liar, wire):
    """An answer that is cut, spoiled or premature proves nothing, and is no fault of ours either."""
    liar.tell(wire=wire)
    ended = await outcome(liar.store.put_all([planned(DATA)]))
    assert ended[0] is FailureClass.TEMPORARY


@in_one_loop
async def test_a_file_that_cannot_be_read_is_our_own_fault(clients):
    """What raises while a body is made is not taken for an answer that cannot be read."""

    def chunks():
        yield bytes(MEBIBYTE)
        raise ValueError("no base64")

    store = AttachmentStore(clients.s3, config=builtin_config().s3)
    with pytest.raises(ValueError, match="no base64"):
        await store.put_all([planned(b"", size=2 * MEBIBYTE, sha256=64 * "0", chunks=chunks)])


@in_one_loop
async def test_what_is_stored_opens_as_a_file(clients):
    """HTML that a stranger sent is downloaded by whoever opens the URL, and never shown as a page."""
    store = AttachmentStore(clients.s3, config=builtin_config().s3)
    await store.put_all(
        [planned(PAGE, "mail/01PROOF/0", content_type="text/html")],
        original=("mail/01PROOF/eml", memoryview(b"From: a\r\n\r\n")),
    )
    for key in ("mail/01PROOF/0", "mail/01PROOF/eml"):
        assert (await clients.s3.head_object(Bucket=BUCKET, Key=key))["ContentDisposition"] == "attachment"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", b""),
        ("200 OK", PAGE),
        ("200 OK", b"[]"),
        ("200 OK", b"null"),
        ("200 OK", b'"ContactId"'),
        ("200 OK", b"\xff\xfe{}"),
        ("200 OK", b'{"ContactId": null}'),
        ("200 OK", b'{"ContactId": ""}'),
        ("200 OK", b'{"ContactId": " "}'),
        ("200 OK", b'{"ContactId": true}'),
        ("200 OK", b'{"ContactId": 7}'),
        ("200 OK", b'{"ContactId": {"a": 1}}'),
        ("200 OK", b'{"ContactId": ["a"]}'),
        ("200 OK", b'{"ContactId": "<html>"}'),
        ("200 OK", b'{"ContactId": "sign in first"}'),
        ("200 OK", b'{"ContactId": "' + 257 * b"a" + b'"}'),
        ("200 OK", b'{"contactId": "12345678-90ab-cdef-1234-567890abcdef"}'),
        ("200 OK", 50_000 * b"["),
        ("200 OK", 50_000 * b'{"ContactId":'),
        ("500 Internal Server Error", 50_000 * b"["),
        ("202 Accepted", b"{}"),
        ("204 No Content", b""),
    ],
)
@in_one_loop
async def test_an_answer_without_a_contact_id_is_no_contact(liar, status, body):
    """Connect's 200 counts when it names the contact, by something that can be the name of one."""
    liar.tell(status, body)
    ended = await outcome(ConnectClient(liar.connect).start_email_contact(request_for()))
    assert ended in (UNPROVEN, (FailureClass.TEMPORARY, "unknown"))


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
@in_one_loop
async def test_no_mail_goes_where_a_redirect_leads(liar, status):
    """A portal that names another place is sent nothing there: no file, no contact, no alarm."""
    elsewhere = Liar()
    elsewhere.tell(body=b'{"ContactId": "12345678-90ab-cdef-1234-567890abcdef"}', headers=GOOD)
    async with Peer(elsewhere.serve) as peer:
        liar.tell(status, PAGE, {"Location": f"{peer.url}/elsewhere"})
        with pytest.raises(RemoteError) as caught:
            await ConnectClient(liar.connect).start_email_contact(request_for())
        # Such a portal is before all mail: claims stop, as after a 503.
        assert (caught.value.failure, caught.value.blame) == (FailureClass.TEMPORARY, Blame.SERVICE)
        assert liar.asked == ["PUT"]
        assert (await outcome(liar.store.put_all([planned(DATA)])))[0] in (
            FailureClass.TEMPORARY,
            FailureClass.CONFIGURATION,
        )
        topic = Alarms(sns_topic_arn="arn:aws:sns:eu-central-1:123456789012:relay")
        sender = AlarmSender(topic, hostname="mx1.example.com", now=lambda: NOW, sns=liar.sns)
        assert (await sender._publish({"alarm": "held", "raised": True})).why != ""
    assert elsewhere.asked == []


@pytest.mark.parametrize("service", ["connect", "s3", "sns"])
@in_one_loop
async def test_an_answer_without_end_is_left(liar, service):
    """No answer fills the memory of all deliveries: past a megabyte it is no answer, whatever it
    began with.
    """
    sent = 0

    async def pour(reader, writer, _number):
        nonlocal sent
        await reader.readexactly(int((await read_head(reader)).get("content-length", 0)))
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"ContactId": "12345678-90ab-cdef-1234-567890abcdef"}')
        while sent < 64 * MEBIBYTE:
            writer.write(65_536 * b" ")
            await writer.drain()
            sent += 65_536

    async with Peer(pour) as peer:
        with pytest.MonkeyPatch.context() as patch:
            environ = {f"AWS_ENDPOINT_URL_{service.upper()}": peer.url}
            async with clients_of(environ, patch) as clients:
                if service == "connect":
                    ended = await outcome(ConnectClient(clients.connect).start_email_contact(request_for()))
                elif service == "s3":
                    store = AttachmentStore(clients.s3, config=builtin_config().s3)
                    ended = await outcome(store.put_all([planned(DATA)]))
                else:
                    topic = Alarms(sns_topic_arn="arn:aws:sns:eu-central-1:123456789012:relay")
                    sender = AlarmSender(topic, hostname="mx1.example.com", now=lambda: NOW, sns=clients.sns)
                    ended = (None, (await sender._publish({"alarm": "held", "raised": True})).why)
    assert ended[1] == "unreachable"
    assert sent < 32 * MEBIBYTE


@pytest.mark.parametrize("body", [b"", PAGE, b"<PublishResponse/>", b"\xff\xfe", b"{}"])
@in_one_loop
async def test_a_topic_without_a_message_id_has_taken_nothing(liar, body):
    """An alarm counts as published when the topic says under which id."""
    liar.tell(body=body)
    alarms = Alarms(sns_topic_arn="arn:aws:sns:eu-central-1:123456789012:relay")
    sender = AlarmSender(alarms, hostname="mx1.example.com", now=lambda: NOW, sns=liar.sns)
    assert (await sender._publish({"alarm": "held", "raised": True})).why in ("unproven", "unknown")


def test_only_a_2xx_is_taken():
    """Statuses under 200 and from 300 on are no yes of a webhook."""
    assert [status for status in range(100, 600) if is_taken(status)] == list(range(200, 300))


@in_one_loop
async def test_urls_that_were_signed_are_looked_at(clients):
    """What we sign passes; the same URL for another object, place or life, or with a field gone, does not."""
    url = await clients.s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "mail/ü b/1"}, ExpiresIn=900
    )
    facts = {
        "endpoint": clients.s3.meta.endpoint_url,
        "bucket": BUCKET,
        "key": "mail/ü b/1",
        "life_seconds": 900,
    }
    check_url(url, **facts)
    others = [
        (url, facts | {"key": "mail/2"}),
        (url, facts | {"bucket": "other"}),
        (url, facts | {"endpoint": "https://s3.eu-central-1.amazonaws.com"}),
        (url, facts | {"life_seconds": 901}),
        (url.replace("http:", "ftp:"), facts),
        (url.partition("?")[0], facts),
        ("http://[", facts),
        ("", facts),
        *((re.sub(rf"{name}=[^&]*&?", "", url), facts) for name in set(re.findall(r"X-Amz-\w+", url))),
        *((re.sub(rf"({name})=[^&]*", r"\1=%20", url), facts) for name in set(re.findall(r"X-Amz-\w+", url))),
    ]
    assert len(others) > 18
    for wrong, told in others:
        with pytest.raises(RemoteError) as caught:
            check_url(wrong, **told)
        assert (caught.value.failure, caught.value.code) == UNPROVEN


def failure_of(check):
    """The RemoteError that a check raises, None when it raises nothing."""
    try:
        check()
    except RemoteError as exc:
        return exc
    return None


ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.lists(st.text())


@given(
    answered=st.dictionaries(
        st.sampled_from(["ETag", "ChecksumSHA256", "ContentLength", "ContactId", "MessageId"]), ANYTHING
    )
)
def test_whatever_is_answered_is_proof_or_a_temporary_failure(answered):
    """No value of an answer raises anything but the documented error, which blames the service."""
    for check in (
        lambda: check_put(answered, checksum=CHECKSUM, required=True),
        lambda: check_head(answered, etag=ETAG, checksum=CHECKSUM, size=20),
        lambda: check_contact_id(answered),
        lambda: check_message_id(answered),
    ):
        error = failure_of(check)
        assert error is None or (error.failure, error.code, error.blame) == (*UNPROVEN, Blame.SERVICE)


def test_proof_is_taken_as_it_comes():
    """An ETag of an upload in parts, and ids as AWS's documents show them, are proof."""
    assert check_put(
        {"ETag": '"' + 32 * "a" + '-12"', "ChecksumSHA256": CHECKSUM}, checksum=CHECKSUM, required=True
    )
    assert not check_put({"ETag": ETAG}, checksum=CHECKSUM, required=False)
    assert check_contact_id({"ContactId": INSTANCE_ID}) == INSTANCE_ID
    assert check_message_id({"MessageId": INSTANCE_ID}) == INSTANCE_ID
