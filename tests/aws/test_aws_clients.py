"""Clients as they must be, and what AWS's errors mean."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aws_parts import Peer, answer, clients_of, planned, read_head, request_for
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from relay.aws.connect import ConnectClient
from relay.aws.credentials import SigningCredentials
from relay.aws.errors import map_error, remote_call
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import builtin_config
from relay.errors import ConfigError, FailureClass, RemoteError

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
HERE = ACCOUNT | {"AWS_DEFAULT_REGION": "eu-central-1"}
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_account(monkeypatch):
    for name in tuple(os.environ):
        if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)


async def sign(clients, **extra):
    store = AttachmentStore(clients.s3, config=builtin_config(**extra).s3)
    return urlsplit((await store._sign(["mail/01TEST/0"])).urls[0])


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", "ap-southeast-2"])
async def test_urls_name_the_bucket_in_its_region_and_are_signed_by_version_4(monkeypatch, region):
    """The defaults of botocore sign by version 2 in old Regions, and name the global host in every one."""
    async with clients_of(ACCOUNT | {"AWS_DEFAULT_REGION": region}, monkeypatch) as clients:
        url = await sign(clients)
    assert url.netloc == f"relay-sandbox.s3.{region}.amazonaws.com"
    assert url.path == "/mail/01TEST/0"
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url.query
    assert "X-Amz-Expires=86400" in url.query


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
async def test_an_endpoint_of_ones_own_gets_the_bucket_in_the_path(monkeypatch, name):
    """No server but Amazon's has a name for each bucket."""
    async with clients_of(HERE | {name: "https://s3.storage.example:9000"}, monkeypatch) as clients:
        url = await sign(clients)
    assert (url.netloc, url.path) == ("s3.storage.example:9000", "/relay-sandbox/mail/01TEST/0")


async def test_an_endpoint_in_the_shared_file_counts_too(monkeypatch, tmp_path):
    """Whoever keeps endpoints in ~/.aws/config gets path style as well."""
    file = tmp_path / "config"
    file.write_text(
        "[default]\nregion = eu-central-1\nservices = own\n[services own]\ns3 =\n  endpoint_url = http://store.example\n"
    )
    async with clients_of(ACCOUNT | {"AWS_CONFIG_FILE": str(file)}, monkeypatch) as clients:
        url = await sign(clients)
    assert (url.netloc, url.path) == ("store.example", "/relay-sandbox/mail/01TEST/0")


async def test_aws_region_is_read_where_botocore_has_none(monkeypatch):
    """Containers set AWS_REGION, which botocore does not read; AWS_DEFAULT_REGION still wins."""
    async with clients_of(ACCOUNT | {"AWS_REGION": "eu-west-2"}, monkeypatch) as clients:
        assert clients.connect.meta.region_name == "eu-west-2"
    async with clients_of(HERE, monkeypatch) as clients:
        assert clients.connect.meta.region_name == "eu-central-1"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (ACCOUNT, "no AWS Region is set: set AWS_DEFAULT_REGION"),
        (HERE | {"AWS_PROFILE": "nobody"}, "the AWS set-up cannot be used: The config profile (nobody)"),
        (HERE | {"AWS_ENDPOINT_URL_S3": "no url"}, "the AWS set-up cannot be used: Invalid endpoint: no url"),
        (HERE | {"AWS_DEFAULT_REGION": "not a region"}, "the AWS set-up cannot be used:"),
    ],
)
async def test_an_operators_mistake_is_a_sentence(monkeypatch, environ, sentence):
    """What is missing of the account is said before the first mail, not at it."""
    with pytest.raises(ConfigError) as caught:
        async with clients_of(environ, monkeypatch):
            pass
    assert caught.value.sentences[0].startswith(sentence)


async def test_pools_hold_every_call_that_can_be_under_way(monkeypatch):
    """A wait for a place in the pool has no time-out, so nobody must wait there."""
    tables = {"deliver": {"concurrency": 20}, "s3": {"uploads": 3}}
    async with clients_of(HERE, monkeypatch, **tables) as clients:
        assert clients.s3.meta.config.max_pool_connections >= 60
        assert clients.connect.meta.config.max_pool_connections >= 20


async def count_tries(monkeypatch, status, call):
    """How often a client asks when it always gets this status."""

    async def refuse(reader, writer, _number):
        while True:
            head = await read_head(reader)
            await reader.readexactly(int(head.get("content-length", 0)))
            tries.append(head[""])
            answer(writer, status)

    tries = []
    async with Peer(refuse) as peer:
        environ = HERE | {"AWS_ENDPOINT_URL": peer.url}
        async with clients_of(environ, monkeypatch) as clients:
            with pytest.raises(RemoteError):
                await call(clients)
    return len(tries)


async def test_s3_is_asked_three_times(monkeypatch):
    """A short trouble of S3 is over before the entry must wait."""

    async def put(clients):
        await AttachmentStore(clients.s3, config=builtin_config().s3).put_all([planned(b"x")])

    assert await count_tries(monkeypatch, "503 Slow Down", put) == 3


@pytest.mark.parametrize("status", ["500 Oops", "429 Too Many"])
async def test_connect_is_asked_once(monkeypatch, status):
    """The spool retries, within the pace: a client that retried by itself would spend the quota twice."""

    async def start(clients):
        await ConnectClient(clients.connect).start_email_contact(request_for())

    assert await count_tries(monkeypatch, status, start) == 1


async def test_connect_is_asked_once_where_the_connection_breaks(monkeypatch):
    """The HTTP library repeats a PUT by itself when no answer comes: a contact may be there, and only the
    spool knows.
    """

    async def hang_up(reader, writer, _number):
        head = await read_head(reader)
        await reader.readexactly(int(head["content-length"]))
        tries.append(head[""])

    tries = []
    async with (
        Peer(hang_up) as peer,
        clients_of(HERE | {"AWS_ENDPOINT_URL": peer.url}, monkeypatch) as clients,
    ):
        with pytest.raises(RemoteError):
            await ConnectClient(clients.connect).start_email_contact(request_for())
    assert len(tries) == 1


def answered(code="", status=400, **extra):
    response = {
        "Error": {"Code": code, "Message": "m"},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"},
    }
    return ClientError(response | extra, "Op")


TOO_MANY = {"Reason": {"AttachedFileServiceQuotaExceededExceptionReason": "TOTAL_FILE_COUNT_EXCEEDED"}}
T, Q, C, P, F, X = (
    FailureClass.TEMPORARY,
    FailureClass.THROTTLED,
    FailureClass.CAPACITY,
    FailureClass.PAYLOAD,
    FailureClass.CONFIGURATION,
    FailureClass.CONFLICT,
)


@pytest.mark.parametrize(
    ("service", "exc", "failure", "code"),
    [
        ("connect", answered("ThrottlingException", 429), Q, "ThrottlingException"),
        ("connect", answered("TooManyRequestsException", 429), Q, "TooManyRequestsException"),
        ("connect", answered("InternalServiceException", 500), T, "InternalServiceException"),
        ("connect", answered("", 503), T, "503"),
        ("connect", answered("ServiceQuotaExceededException", 402), C, "ServiceQuotaExceededException"),
        (
            "connect",
            answered("ServiceQuotaExceededException", 402, **TOO_MANY),
            P,
            "ServiceQuotaExceededException",
        ),
        ("connect", answered("InvalidRequestException", 400), P, "InvalidRequestException"),
        ("connect", answered("SerializationException", 400), P, "SerializationException"),
        ("connect", answered("AccessDeniedException", 403), F, "AccessDeniedException"),
        ("connect", answered("InvalidSignatureException", 403), F, "InvalidSignatureException"),
        ("connect", answered("ExpiredTokenException", 400), F, "ExpiredTokenException"),
        ("connect", answered("ResourceNotFoundException", 404), F, "ResourceNotFoundException"),
        ("connect", answered("IdempotencyException", 409), X, "IdempotencyException"),
        ("connect", answered("404", 404), F, "404"),
        ("connect", answered("SomethingNotFoundException", 404), F, "SomethingNotFoundException"),
        ("connect", answered("SomethingNotAllowedException", 403), F, "SomethingNotAllowedException"),
        ("connect", answered("SomethingOverException", 402), C, "SomethingOverException"),
        ("connect", answered("RequestEntityTooLargeException", 413), P, "RequestEntityTooLargeException"),
        ("connect", answered("413", 413), P, "413"),
        ("connect", answered("409", 409), T, "409"),
        ("connect", answered("ResourceNotReadyException", 409), T, "ResourceNotReadyException"),
        ("connect", answered("FancyNewException", 400), T, "FancyNewException"),
        ("connect", answered("400", 400), T, "400"),
        ("connect", answered("SomethingNew", 418), T, "SomethingNew"),
        ("connect", answered("InvalidSignatureException", 400), F, "InvalidSignatureException"),
        ("connect", answered("<html>\r\nproxy", 502), T, "502"),
        ("s3", answered("SlowDown", 503), T, "SlowDown"),
        ("s3", answered("InternalError", 500), T, "InternalError"),
        ("s3", answered("RequestTimeout", 400), T, "RequestTimeout"),
        ("s3", answered("BadDigest", 400), T, "BadDigest"),
        ("s3", answered("OperationAborted", 409), T, "OperationAborted"),
        ("s3", answered("409", 409), T, "409"),
        ("s3", answered("TokenRefreshRequired", 400), F, "TokenRefreshRequired"),
        ("s3", answered("NoSuchBucket", 404), F, "NoSuchBucket"),
        ("s3", answered("404", 404), F, "404"),
        ("s3", answered("AccessDenied", 403), F, "AccessDenied"),
        ("s3", answered("ExpiredToken", 400), F, "ExpiredToken"),
        ("s3", answered("PermanentRedirect", 301), F, "PermanentRedirect"),
        ("s3", answered("EntityTooLarge", 400), P, "EntityTooLarge"),
        ("s3", TimeoutError(), T, "timeout"),
        ("s3", ConnectTimeoutError(endpoint_url="u"), T, "timeout"),
        ("s3", ReadTimeoutError(endpoint_url="u"), T, "timeout"),
        ("s3", EndpointConnectionError(endpoint_url="u"), T, "unreachable"),
        ("s3", HTTPClientError(error="e"), T, "unreachable"),
        ("s3", ProxyConnectionError(proxy_url="p"), T, "unreachable"),
        ("s3", aiohttp.ClientPayloadError(), T, "unreachable"),
        ("s3", ConnectionResetError(), T, "unreachable"),
        ("s3", SSLError(endpoint_url="u", error="e"), T, "tls"),
        ("s3", NoCredentialsError(), F, "credentials"),
        ("s3", PartialCredentialsError(provider="env", cred_var="v"), F, "credentials"),
        ("s3", ResponseParserError("not xml"), T, "unknown"),
        ("s3", ParamValidationError(report="bad bucket"), F, "ParamValidationError"),
        ("connect", ParamValidationError(report="empty"), P, "ParamValidationError"),
        ("connect", ZeroDivisionError(), T, "unknown"),
    ],
)
def test_every_foreign_error_has_one_meaning(service, exc, failure, code):
    """The table of docs/flow.md, "Delivery"; an error in no row is temporary."""
    error = map_error(service, exc)
    assert (error.service, error.failure, error.code) == (service, failure, code)


def test_an_answer_keeps_what_a_person_needs():
    """Reason and request id go into our error, on one line and of bounded length."""
    exc = answered("ServiceQuotaExceededException", 402, **TOO_MANY)
    exc.response["Error"]["Message"] = "too\r\nmany " + "x" * 1_000
    error = map_error("connect", exc)
    assert error.reason == "TOTAL_FILE_COUNT_EXCEEDED"
    assert error.detail.startswith("too many x")
    exc.response["Error"]["Message"] = "half a pair: \ud83d"
    assert map_error("connect", exc).detail.encode()
    assert error.detail.endswith("(request r-1)")
    assert len(error.detail) < 600


async def test_a_call_ends_in_time_even_where_nothing_else_ends_it():
    """The wait for a place in the pool has no time-out of its own."""
    with pytest.raises(RemoteError) as caught:
        async with remote_call("connect", timeout_seconds=0.01):
            await asyncio.Event().wait()
    assert (caught.value.failure, caught.value.code) == (T, "timeout")


async def test_a_stop_is_not_taken_for_a_time_out():
    """Who cancels a call gets CancelledError, not an error of the service."""

    async def call():
        async with remote_call("connect", timeout_seconds=60):
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Role:
    """A role whose sessions last a while: what instance metadata or STS would answer."""

    def __init__(self, *, first, later, fail=False):
        self.later = later
        self.fail = fail
        self.refreshes = 0
        self.credentials = AioRefreshableCredentials(
            "AK", "SK", "T0", first, refresh_using=self.refresh, method="test", time_fetcher=lambda: NOW
        )
        self.client = type(
            "Client", (), {"_request_signer": type("S", (), {"_credentials": self.credentials})}
        )

    async def refresh(self):
        self.refreshes += 1
        if self.fail:
            raise ConnectionError("no metadata today")
        return {
            "access_key": "AK",
            "secret_key": "SK",
            "token": f"T{self.refreshes}",
            "expiry_time": self.later.isoformat(),
        }


async def test_credentials_near_their_end_are_renewed_before_signing():
    """Botocore would sign with a token that has 16 minutes left; the URL would die with it."""
    role = Role(first=NOW + timedelta(minutes=30), later=NOW + timedelta(hours=6))
    assert await SigningCredentials(role.client).renew(now=NOW) == NOW + timedelta(hours=6)
    assert role.refreshes == 1
    assert role.credentials._advisory_refresh_timeout == 900  # ordinary calls go on as before


async def test_credentials_with_enough_life_are_left_alone():
    """A token with hours left is good enough to sign with."""
    role = Role(first=NOW + timedelta(hours=2), later=NOW + timedelta(hours=6))
    assert await SigningCredentials(role.client).renew(now=NOW) == NOW + timedelta(hours=2)
    assert role.refreshes == 0


async def test_a_role_with_short_sessions_is_not_asked_at_every_url():
    """Sessions of an hour always have less than an hour left: once in a while is enough."""
    role = Role(first=NOW + timedelta(minutes=50), later=NOW + timedelta(minutes=59))
    signing = SigningCredentials(role.client)
    for seconds in (0, 1, 200, 299):
        await signing.renew(now=NOW + timedelta(seconds=seconds))
    assert role.refreshes == 1
    await signing.renew(now=NOW + timedelta(seconds=301))
    assert role.refreshes == 2


async def test_a_renewal_that_fails_leaves_the_credentials_we_have():
    """Metadata that is away for a moment does not stop mail while the token lives."""
    role = Role(first=NOW + timedelta(minutes=30), later=NOW, fail=True)
    assert await SigningCredentials(role.client).renew(now=NOW) == NOW + timedelta(minutes=30)


async def test_a_users_key_has_no_end():
    """URLs signed with long-lived keys live as long as they are told to."""
    signer = type("S", (), {"_credentials": AioCredentials("AK", "SK")})
    assert await SigningCredentials(type("Client", (), {"_request_signer": signer})).renew(now=NOW) is None


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n",
            "the answer was 407 Proxy Authentication Required",
        ),
        (b"HTTP/1.1 403 Not on my list\r\n", "the answer was 403 Not on my list"),
    ],
)
async def test_answer_of_a_proxy_is_told(monkeypatch, head, reason):
    """A proxy in our way that refuses says why in our error, and its password stays out of it."""

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://relay:pa55word@127.0.0.1:{port}")
        for name in ("NO_PROXY", "no_proxy", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with clients_of(HERE, monkeypatch) as clients:
            with pytest.raises(RemoteError) as raised:
                async with remote_call("s3", timeout_seconds=20):
                    await clients.s3.head_object(Bucket="example-mail", Key="key")
    assert raised.value.code == "unreachable"
    assert raised.value.detail.endswith(reason)
    assert "pa55word" not in raised.value.detail


@pytest.mark.parametrize("reason", ["Name or service not known", "Connect call failed ('192.0.2.1', 443)"])
def test_reason_below_an_error_is_told(reason):
    """The words of botocore name the endpoint alone; what failed there stands in the error below."""
    exc = EndpointConnectionError(endpoint_url="https://connect.example", error=OSError(reason))
    assert map_error("connect", exc).detail == f"{exc}: {reason}"
    told = SSLError(endpoint_url="https://connect.example", error=OSError(reason))
    assert map_error("connect", told).detail.count(reason) == 1
