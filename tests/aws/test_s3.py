"""Files to S3: octet for octet, in bounded memory, again after a failure, and URLs that Connect can take."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aws_parts import (
    MEBIBYTE,
    Peer,
    answer,
    clients_of,
    octets,
    planned,
    read_head,
    read_put,
    stored_headers,
)
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from relay.aws.s3 import SMALL_FILE_BYTES, AttachmentStore, Body
from relay.config.builtin import BUCKET, builtin_config
from relay.errors import FailureClass, RemoteError
from relay.sandbox.service import Sandbox

pytestmark = pytest.mark.slow

S3 = builtin_config().s3


in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def store(clients):
    return AttachmentStore(clients.s3, config=S3)


async def fetch(url):
    """What Connect would get."""
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)) as response:
        assert response.status == 200
        return await response.read(), response.content_type


@in_one_loop
async def test_files_arrive_octet_for_octet(store):
    """Empty, small, at the seam between the two ways, and of several chunks: all the same."""
    sizes = (0, 1, SMALL_FILE_BYTES, SMALL_FILE_BYTES + 1, MEBIBYTE, 3 * MEBIBYTE + 17)
    data = [octets(size, seed=number) for number, size in enumerate(sizes)]
    stored = await store.put_all([planned(each, f"mail/01A/{n}") for n, each in enumerate(data)])
    assert [(await fetch(url))[0] for url in stored.urls] == data


@in_one_loop
async def test_urls_are_those_of_attached_files_in_their_order(store, box):
    """Files that are only stored get no URL, and are there all the same, under their types."""
    files = [
        planned(b"one", "mail/01B/1", content_type="image/png"),
        planned(b"two", "mail/01B/2", attached=False),
        planned(b"three", "mail/01B/3", content_type="text/csv"),
    ]
    stored = await store.put_all(files, original=("mail/01B/eml", memoryview(b"From: a\r\n\r\n")))
    assert [await fetch(url) for url in stored.urls] == [(b"one", "image/png"), (b"three", "text/csv")]
    assert box._run(box.s3.read(f"/{BUCKET}/mail/01B/2")) == (b"two", "application/pdf")
    assert box._run(box.s3.read(f"/{BUCKET}/mail/01B/eml")) == (b"From: a\r\n\r\n", "message/rfc822")


@in_one_loop
async def test_objects_have_the_tags_of_their_route(store, clients):
    """Files and the original are tagged as the route says; without tags none is."""
    tags = {"lob": "claims + more", "cost center": "a:b/c@d=e"}
    await store.put_all([planned(b"x", "mail/01T/1")], original=("mail/01T/o", memoryview(b"y")), tags=tags)
    await store.put_all([planned(b"x", "mail/01T/2")])
    for key, wanted in (("1", tags), ("o", tags), ("2", {})):
        found = await clients.s3.get_object_tagging(Bucket=BUCKET, Key=f"mail/01T/{key}")
        assert {each["Key"]: each["Value"] for each in found["TagSet"]} == wanted


@in_one_loop
async def test_25_megabytes_make_the_round_trip(store):
    """The largest mail's largest file, through the real protocol."""
    data = octets(25 * MEBIBYTE)
    stored = await store.put_all([planned(data)], original=("mail/01C/eml", memoryview(data)))
    assert hashlib.sha256((await fetch(stored.urls[0]))[0]).digest() == hashlib.sha256(data).digest()


@in_one_loop
async def test_large_files_are_never_whole_in_memory(monkeypatch, box):
    """Four files of 25 MB go up at once in a few megabytes: one chunk each, and what sockets hold."""

    async def sink(reader, writer, _number):
        while True:
            digests.append(await read_put(reader))
            answer(writer, **stored_headers(digests[-1]))

    def chunks():
        for number in range(25):
            yield octets(MEBIBYTE, seed=number)

    digest = hashlib.sha256(b"".join(chunks()))
    digests = []
    async with Peer(sink) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_S3": peer.url}
        async with clients_of(environ, monkeypatch) as clients:
            store = AttachmentStore(clients.s3, config=S3)
            files = [
                planned(b"", f"mail/01D/{n}", size=25 * MEBIBYTE, sha256=digest.hexdigest(), chunks=chunks)
                for n in range(4)
            ]
            await store.put_all([planned(b"warm")])
            tracemalloc.start()
            try:
                await store.put_all(files)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert digests[1:] == [digest.digest()] * 4
    assert peak < 16 * MEBIBYTE


@in_one_loop
async def test_several_files_go_up_at_once_and_no_more_than_configured(monkeypatch, box):
    """A mail with many small files takes the time of a few, and leaves room for other mails."""

    async def sink(reader, writer, _number):
        nonlocal under_way, most
        while True:
            digest = await read_put(reader)
            under_way += 1
            most = max(most, under_way)
            if most == 3:
                together.set()
            await asyncio.wait_for(together.wait(), timeout=10)
            under_way -= 1
            answer(writer, **stored_headers(digest))

    under_way = most = 0
    together = asyncio.Event()
    async with Peer(sink) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_S3": peer.url}
        async with clients_of(environ, monkeypatch, s3={"uploads": 3}) as clients:
            store = AttachmentStore(clients.s3, config=builtin_config(s3={"uploads": 3}).s3)
            await store.put_all([planned(b"x", f"mail/01E/{n}") for n in range(12)])
    assert most == 3


@pytest.mark.parametrize("size", [100, 3 * MEBIBYTE])
@in_one_loop
async def test_an_upload_that_breaks_off_begins_anew(monkeypatch, box, size):
    """The connection ends in the middle of the body: the second try sends all of it, from the start."""
    data = octets(size)

    async def flaky(reader, writer, number):
        if number == 1:
            await read_head(reader)
            await reader.read(50)
            return
        while True:
            digests.append(await read_put(reader))
            answer(writer, **stored_headers(digests[-1]))

    digests = []
    async with Peer(flaky) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_S3": peer.url}
        async with clients_of(environ, monkeypatch) as clients:
            await AttachmentStore(clients.s3, config=S3).put_all([planned(data)])
    assert digests == [hashlib.sha256(data).digest()]


@pytest.mark.parametrize("fault", ["error", "lose_reply"])
@in_one_loop
async def test_faults_of_s3_are_tried_again(store, box, fault):
    """Where half the calls fail, uploads end whole or as a temporary matter; again, the same keys hold the
    same.
    """
    data = octets(MEBIBYTE)
    temporary = FailureClass.TEMPORARY
    for number in range(4):
        box.chaos(s3={fault: 0.5})
        try:
            await store.put_all([planned(data, f"mail/01F/{number}")])
        except RemoteError as exc:
            temporary = exc.failure
        box.chaos({})
        stored = await store.put_all([planned(data, f"mail/01F/{number}")])
        assert (await fetch(stored.urls[0]))[0] == data
    assert temporary is FailureClass.TEMPORARY


async def refused(call):
    with pytest.raises(RemoteError) as caught:
        await call
    return caught.value.failure, caught.value.code


@in_one_loop
async def test_s3_that_is_away_is_a_temporary_matter(store, box):
    """Nobody listens at S3's address."""
    box.chaos(s3={"refuse": True})
    assert await refused(store.put_all([planned(b"x")])) == (FailureClass.TEMPORARY, "unreachable")
    assert await refused(store.probe()) == (FailureClass.TEMPORARY, "unreachable")
    box.chaos(s3={"refuse": False})
    await store.probe()


@in_one_loop
async def test_s3_that_hangs_is_given_up_in_time(monkeypatch, box):
    """Somebody listens at S3's address, and says nothing."""

    async def silent(reader, _writer, _number):
        await reader.read()

    async with Peer(silent) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_S3": peer.url}
        async with clients_of(environ, monkeypatch) as clients:
            store = AttachmentStore(clients.s3, config=S3, timeout_seconds=0.2)
            call = store.put_all([planned(octets(MEBIBYTE))])
            assert await refused(call) == (FailureClass.TEMPORARY, "timeout")


@in_one_loop
async def test_a_bucket_that_is_not_there_is_the_operators_matter(monkeypatch, box):
    """A misspelt bucket holds the route; no mail is spent on it."""
    async with clients_of(box.environ(), monkeypatch) as clients:
        store = AttachmentStore(clients.s3, config=builtin_config(s3={"bucket": "misspelt"}).s3)
        assert await refused(store.put_all([planned(b"x")])) == (FailureClass.CONFIGURATION, "NoSuchBucket")
        assert await refused(store.probe()) == (FailureClass.CONFIGURATION, "404")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOTHER"}, "InvalidAccessKeyId"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, "AuthorizationHeaderMalformed"),
        ({"AWS_SESSION_TOKEN": "stray"}, "InvalidToken"),
    ],
)
@in_one_loop
async def test_credentials_that_do_not_hold_are_the_operators_matter(monkeypatch, box, change, code):
    """Wrong key, secret, Region or token: each is told by S3's own word."""
    async with clients_of(box.environ() | change, monkeypatch) as clients:
        store = AttachmentStore(clients.s3, config=S3)
        assert await refused(store.put_all([planned(b"x")])) == (FailureClass.CONFIGURATION, code)


@in_one_loop
async def test_octets_that_are_not_what_the_plan_says_are_not_stored(store, box):
    """The digest of the plan is signed with the request: S3 refuses a body that does not hash to it."""
    file = planned(b"what came", "mail/01G/0", sha256=hashlib.sha256(b"what was planned").hexdigest())
    assert await refused(store.put_all([file])) == (FailureClass.TEMPORARY, "BadDigest")
    assert box._run(box.s3.read(f"/{BUCKET}/mail/01G/0")) is None


@in_one_loop
async def test_urls_live_as_long_as_configured(store, monkeypatch, box):
    """Signed with a user's key, a URL lives for url_ttl_seconds."""
    before = datetime.now(UTC)
    stored = await store.put_all([planned(b"x")])
    assert (
        timedelta(0)
        <= stored.expires_at - before - timedelta(seconds=S3.url_ttl_seconds)
        < timedelta(seconds=30)
    )
    assert f"X-Amz-Expires={S3.url_ttl_seconds}&" in stored.urls[0]


@in_one_loop
async def test_urls_die_with_the_credentials_that_signed_them(store):
    """A token that ends first is what the request's life is counted by."""

    class Ending:
        async def renew(self, *, now):
            return now + timedelta(minutes=14)

    store._credentials = Ending()
    stored = await store.put_all([planned(b"x")])
    assert stored.expires_at - datetime.now(UTC) <= timedelta(minutes=14)


@in_one_loop
async def test_a_url_too_long_for_connect_is_the_operators_matter(monkeypatch, box):
    """A role whose token makes URLs of over 2,000 characters would lose every attachment: said by the probe
    too.
    """
    async with (
        Sandbox(session_token=1_900 * "T") as tokened,
        clients_of(tokened.environ(), monkeypatch) as clients,
    ):
        store = AttachmentStore(clients.s3, config=S3)
        expected = (FailureClass.CONFIGURATION, "url_too_long")
        assert await refused(store.put_all([planned(b"x")])) == expected
        assert await refused(store.probe()) == expected
        await store.put_all([planned(b"x", attached=False)])  # no URL, no trouble


@in_one_loop
async def test_a_token_of_usual_length_fits(monkeypatch):
    """A role's session token of a thousand characters leaves room for the rest of the URL."""
    async with (
        Sandbox(session_token=1_000 * "T") as tokened,
        clients_of(tokened.environ(), monkeypatch) as clients,
    ):
        stored = await AttachmentStore(clients.s3, config=S3).put_all([planned(b"x")])
        assert (await fetch(stored.urls[0]))[0] == b"x"


@in_one_loop
async def test_a_mail_is_read_off_the_event_loop(store):
    """Decoding attachments is work for a thread: sessions and timers go on meanwhile."""
    data = octets(2 * MEBIBYTE)
    threads = set()

    def chunks():
        for start in range(0, len(data), MEBIBYTE):
            threads.add(threading.get_ident())
            yield data[start : start + MEBIBYTE]

    await store.put_all([planned(data, chunks=chunks), planned(data[:100], "mail/01H/1")])
    assert threads
    assert threading.get_ident() not in threads


@in_one_loop
async def test_nothing_reads_the_mail_after_a_failure(monkeypatch, box):
    """The spool unmaps the mail when put_all has raised: no thread may still be at it."""

    async def broken(reader, writer, _number):
        await read_head(reader)
        await reader.readexactly(65_536)
        writer.transport.abort()

    class Mail:
        reads_after_the_end = 0
        ended = False

        def chunks(self):
            for _ in range(25):
                Mail.reads_after_the_end += self.ended
                yield bytes(MEBIBYTE)

    async with Peer(broken) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_S3": peer.url}
        async with clients_of(environ, monkeypatch) as clients:
            store = AttachmentStore(clients.s3, config=S3)
            mail = Mail()
            files = [
                planned(b"", f"mail/01I/{n}", size=25 * MEBIBYTE, sha256=64 * "0", chunks=mail.chunks)
                for n in range(4)
            ]
            octets_of_mail = bytearray(1_000)
            view = memoryview(octets_of_mail)
            with pytest.raises(RemoteError):
                await store.put_all(files, original=("mail/01I/eml", view))
            mail.ended = True
            await asyncio.to_thread(lambda: None)
    view.release()
    octets_of_mail.clear()  # would raise BufferError if somebody still held a view of it
    assert Mail.reads_after_the_end == 0


def chunked(data, sizes):
    def chunks():
        start = 0
        for size in sizes:
            yield data[start : start + size]
            start += size
        yield data[start:]

    return chunks


@given(
    data=st.binary(max_size=300),
    sizes=st.lists(st.integers(0, 90), max_size=8),
    reads=st.lists(st.integers(0, 120), max_size=12),
)
def test_a_body_reads_as_the_file_that_it_is(data, sizes, reads):
    """However a file is cut into chunks and however it is read, it is the same octets at the same places."""
    body, file = Body(chunked(data, sizes), len(data)), io.BytesIO(data)
    for size in reads:
        piece = body.read(size)
        assert piece == file.read(len(piece))
        assert (len(piece) > 0) == (size > 0 and file.tell() > body.tell() - len(piece))
        assert body.tell() == file.tell()
    assert body.read() == file.read()
    assert body.seek(0) == 0
    assert body.readall() == data


def test_a_body_goes_only_where_a_client_goes():
    """To the start, to the end (how a client measures), and where it stands; nowhere between."""
    body = Body(chunked(b"0123456789", [4]), 10)
    assert (len(body), body.readable(), body.seekable()) == (10, True, True)
    assert body.seek(0, os.SEEK_END) == 10
    assert body.read(1) == b""
    body.seek(0)
    assert body.read(3) == b"012"
    assert body.seek(0, os.SEEK_CUR) == 3
    with pytest.raises(io.UnsupportedOperation):
        body.seek(5)
    body.close()
    with pytest.raises(ValueError, match="closed"):
        body.read(1)
