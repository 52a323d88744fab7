"""Credentials that are looked for when something is signed: one condition while they cannot be had, whatever
the cause.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aws_parts import Peer, answer, clients_of, planned, read_head, request_for
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    PartialCredentialsError,
    ProfileNotFound,
    UnauthorizedSSOTokenError,
)

from relay.aws.connect import ConnectClient
from relay.aws.credentials import ChainCredentials, SigningCredentials
from relay.aws.errors import remote_call
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import builtin_config
from relay.errors import Blame, FailureClass, RemoteError

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
GOOD = AioCredentials("AK", "SK")
STS_SAYS = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}


def chain(*answers, patience_seconds=20.0):
    """Credentials of a chain that answers in turn, the last for ever; an exception is raised."""
    left = list(answers)

    async def find():
        find.asked += 1
        answer = left.pop(0) if len(left) > 1 else left[0]
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    find.asked = 0
    return ChainCredentials(find, patience_seconds=patience_seconds), find


async def failure(credentials):
    """What the caller of a service is told of credentials that cannot be had."""
    with pytest.raises(RemoteError) as caught:
        async with remote_call("s3", timeout_seconds=10):
            await credentials.get_frozen_credentials()
    return caught.value


@pytest.mark.parametrize(
    "cause",
    [
        None,
        ClientError(STS_SAYS, "AssumeRole"),
        ClientError(
            {"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 429}}, "AssumeRole"
        ),
        ConnectTimeoutError(endpoint_url="https://sts.example"),
        MetadataRetrievalError(error_msg="refused"),
        UnauthorizedSSOTokenError(),
        ProfileNotFound(profile="late"),
        PartialCredentialsError(provider="env", cred_var="v"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
        OSError("no such program"),
        KeyError("AccessKeyId"),
        AioCredentials("", ""),
        AioCredentials("AK", ""),
    ],
)
async def test_whatever_keeps_credentials_away_is_one_condition(cause):
    """Not found, STS, SSO, metadata, a program, half a key: no answer of S3's or Connect's, and over when
    they come.
    """
    credentials, _ = chain(cause, GOOD)
    error = await failure(credentials)
    assert (error.failure, error.code, error.blame) == (
        FailureClass.CONFIGURATION,
        "credentials",
        Blame.SERVICE,
    )
    if not isinstance(cause, AioCredentials):
        assert (await credentials.get_frozen_credentials()).access_key == "AK"


async def test_a_chain_that_hangs_is_given_up_in_time():
    """A metadata service that swallows packets must not be taken for a slow S3."""
    credentials = ChainCredentials(asyncio.Event().wait, patience_seconds=0.05)
    error = await failure(credentials)
    assert (error.code, "no answer within 0.05 seconds" in error.detail) == ("credentials", True)


async def test_all_who_ask_at_once_share_one_answer():
    """Thirty calls at a cold start ask the metadata service once, for good news and for bad."""
    credentials, find = chain(None, GOOD)
    asked = [credentials.get_frozen_credentials() for _ in range(30)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(each) for each in told} == {CredentialRetrievalError}
    assert find.asked == 1
    await asyncio.gather(*(credentials.get_frozen_credentials() for _ in range(30)))
    await credentials.get_frozen_credentials()
    assert find.asked == 2


async def test_a_caller_that_gives_up_leaves_the_others_their_answer():
    """A cancelled call does not end the look that others wait for."""
    credentials, _ = chain(GOOD)
    first = asyncio.create_task(credentials.get_frozen_credentials())
    second = asyncio.create_task(credentials.get_frozen_credentials())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).access_key == "AK"


async def test_a_role_is_renewed_through_the_chain():
    """The lives of URLs are known of roles that the chain found, and what has ended is not signed with."""

    async def refresh():
        return {"access_key": "AK", "secret_key": "SK", "token": "T1", "expiry_time": later.isoformat()}

    later = NOW + timedelta(hours=6)
    role = AioRefreshableCredentials(
        "AK",
        "SK",
        "T0",
        NOW + timedelta(minutes=30),
        refresh_using=refresh,
        method="test",
        time_fetcher=lambda: NOW,
    )
    credentials, _ = chain(role)
    client = type("Client", (), {"_request_signer": type("S", (), {"_credentials": credentials})})
    assert await SigningCredentials(client).renew(now=NOW) == later
    with pytest.raises(CredentialRetrievalError):
        await SigningCredentials(client).renew(now=later)


@pytest.mark.parametrize("profile", ["", "late"])
async def test_clients_find_credentials_that_came_after_them(module_box, monkeypatch, tmp_path, profile):
    """Clients made while there was no file sign with what it holds later, be it a profile that was named by
    then.
    """
    file = tmp_path / "credentials"
    env = {name: value for name, value in module_box.environ().items() if "KEY" not in name}
    env |= {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": os.devnull}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    env |= {"AWS_PROFILE": profile} if profile else {}
    async with clients_of(env | {"AWS_EC2_METADATA_DISABLED": "true"}, monkeypatch) as clients:
        store = AttachmentStore(clients.s3, config=builtin_config().s3)
        for call in (
            store.put_all([planned(b"x")]),
            ConnectClient(clients.connect).start_email_contact(request_for()),
        ):
            with pytest.raises(RemoteError) as caught:
                await call
            assert caught.value.code == "credentials"
        keys = module_box.keys
        file.write_text(
            f"[{profile or 'default'}]\naws_access_key_id = {keys.access_key}\naws_secret_access_key = {keys.secret_key}\n"
        )
        await store.put_all([planned(b"x")])


async def _endless_body(writer, _):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b"A" * 65_536)
        await writer.drain()


async def _endless_pieces(writer, _):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b"[" * 0x4000 + b"\r\n")
        await writer.drain()


async def _endless_header(writer, _):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: more\r\n" * 1_000)
        await writer.drain()


async def _drip(writer, _):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)  # the attack itself: never long enough for the time-out of a read


async def _deep(writer, _):
    answer(writer, body=b"[" * 60_000)


async def _redirect(writer, elsewhere):
    answer(writer, "307 Temporary Redirect", location=elsewhere)


@pytest.mark.parametrize("attack", [_endless_body, _endless_pieces, _endless_header, _drip, _deep, _redirect])
@pytest.mark.parametrize("kind", ["container", "instance"])
@pytest.mark.slow
async def test_a_hostile_metadata_service_is_given_up_soon(monkeypatch, kind, attack):
    """Endless, slow, nested or redirected answers end in one short sentence, in little time and memory;
    nobody else is asked.
    """
    monkeypatch.setattr("relay.aws.transport._METADATA_SECONDS", 0.3)
    monkeypatch.setattr("aiobotocore.utils.AioContainerMetadataFetcher.SLEEP_TIME", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    sent = 0

    async def hostile(reader, writer, _):
        nonlocal sent
        write = writer.write

        def counted(octets):
            nonlocal sent
            sent += len(octets)
            write(octets)

        writer.write = counted
        await read_head(reader)
        await attack(writer, other.url)

    async def never(reader, writer, _):
        await read_head(reader)
        answer(writer, body=b'{"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "", "Expiration": ""}')

    async with Peer(never) as other, Peer(hostile) as peer:
        env = {
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": peer.url,
        }
        if kind == "container":
            env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{peer.url}/role"
        async with clients_of(env, monkeypatch) as clients:
            async with asyncio.timeout(10):
                error = await failure(clients.credentials)
        assert peer.connections
        assert not other.connections
    assert error.code == "credentials"
    assert len(error.detail) < 500
    assert sent < peer.connections * (8 << 20)  # what the buffers of two sockets hold, and a little
