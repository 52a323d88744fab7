"""An instance's own settings, read through the real client: from the simulator, and from who answers in its
place.
"""

from __future__ import annotations

import json

import pytest
from aws_parts import Peer, answer, clients_of, read_head

from relay.aws.instance import describe_files, list_addresses
from relay.config.builtin import INSTANCE_ID
from relay.contact.limits import ATTACHMENT_BYTES, DEFAULT_EXTENSIONS
from relay.errors import FailureClass, RemoteError

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ARN = f"arn:aws:connect:eu-central-1:111111111111:instance/{INSTANCE_ID}"


async def test_the_settings_of_the_simulated_instance_are_read(clients):
    """The signature holds, by id and by ARN; types, size and addresses are those of the simulator."""
    for instance_id in (INSTANCE_ID, ARN):
        found = await describe_files(clients.connect, instance_id)
        assert found.extensions == tuple(sorted(DEFAULT_EXTENSIONS))
        assert found.max_attachment_bytes == ATTACHMENT_BYTES
        addresses = await list_addresses(clients.connect, instance_id)
        assert addresses == {"support@example.com", "sales@example.com"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "InvalidSignatureException"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOTHER"}, "UnrecognizedClientException"),
        ({"AWS_SESSION_TOKEN": "stray"}, "UnrecognizedClientException"),
    ],
)
async def test_a_signature_that_does_not_hold_is_refused(box, monkeypatch, change, code):
    """The simulator checks the signature of the request that we sign ourselves."""
    async with clients_of(box.environ() | change, monkeypatch) as opened:
        with pytest.raises(RemoteError) as caught:
            await describe_files(opened.connect, INSTANCE_ID)
    assert (caught.value.failure, caught.value.code) == (FailureClass.CONFIGURATION, code)


@pytest.mark.parametrize(
    ("chaos", "code"),
    [
        ({"throttle": 1}, "ThrottlingException"),
        ({"error": 1}, "InternalServiceException"),
        ({"deny": 1}, "AccessDeniedException"),
        ({"lose_reply": 1}, "unreachable"),
    ],
)
async def test_each_fault_of_the_service_is_one_of_ours(clients, box, chaos, code):
    """A refusal, a throttled call, a fault and a lost reply are each told by the code that all calls have."""
    box.chaos(connect=chaos)
    for ask in (describe_files, list_addresses):
        with pytest.raises(RemoteError) as caught:
            await ask(clients.connect, INSTANCE_ID)
        assert caught.value.code == code


def told(**changes):
    """An answer about the files of the instance."""
    right = {
        "InstanceId": INSTANCE_ID,
        "AttachmentScope": "EMAIL",
        "ExtensionConfiguration": {"AllowedExtensions": [{"Extension": "zip"}]},
        "MaximumSizeLimitInBytes": 104_857_600,
    }
    return json.dumps({"AttachedFilesConfiguration": right | changes}).encode()


LIES = [
    b"",
    b"<html>Sign in</html>",
    b"[]",
    b"{}",
    b"[" * 100_000,
    b"\xff\xfe{}",
    b'{"AttachedFilesConfiguration": []}',
    told(InstanceId="11111111-2222-3333-4444-555555555555"),
    told(InstanceId=None),
    told(AttachmentScope="CHAT"),
    told(ExtensionConfiguration={"AllowedExtensions": []}),
    told(ExtensionConfiguration={"AllowedExtensions": "pdf"}),
    told(ExtensionConfiguration={"AllowedExtensions": ["pdf"]}),
    told(ExtensionConfiguration=[]),
    told(ExtensionConfiguration={"AllowedExtensions": [{"Extension": f"x{n}"} for n in range(10_000)]}),
    told(ExtensionConfiguration={"AllowedExtensions": []}).replace(
        b"[]", b"[" + b'{"Extension": "x"},' * 10**6
    ),
    told(MaximumSizeLimitInBytes=0),
    told(MaximumSizeLimitInBytes=10**30),
    told(MaximumSizeLimitInBytes="20"),
    told(MaximumSizeLimitInBytes=True),
]


async def test_no_lie_is_believed(box, monkeypatch):
    """Pages of portals, other instances, lists without end, absurd sizes and wrong types are temporary
    failures each, and the next right answer counts.
    """
    bodies = iter([*LIES, told()])

    async def serve(reader, writer, _number):
        await read_head(reader)
        answer(writer, body=next(bodies), Connection="close")

    async with Peer(serve) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_CONNECT": peer.url}
        async with clients_of(environ, monkeypatch) as opened:
            for lie in LIES:
                with pytest.raises(RemoteError) as caught:
                    await describe_files(opened.connect, INSTANCE_ID)
                assert caught.value.failure is FailureClass.TEMPORARY, lie[:80]
            found = await describe_files(opened.connect, INSTANCE_ID)
    assert (found.extensions, found.max_attachment_bytes) == (("zip",), ATTACHMENT_BYTES)


async def test_no_redirect_is_followed(box, monkeypatch):
    """A portal that leads elsewhere is not asked there, with our signature in hand."""
    asked = []

    async def serve(reader, writer, _number):
        asked.append((await read_head(reader))[""])
        answer(writer, "302 Found", Location=f"{peer.url}/elsewhere", Connection="close")

    async with Peer(serve) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_CONNECT": peer.url}
        async with clients_of(environ, monkeypatch) as opened:
            with pytest.raises(RemoteError) as caught:
                await describe_files(opened.connect, INSTANCE_ID)
    assert (caught.value.failure, caught.value.code) == (FailureClass.TEMPORARY, "302")
    assert asked == [f"GET /attached-files-configurations/{INSTANCE_ID}/EMAIL HTTP/1.1"]


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"EmailAddresses": {"a": 1}},
        {"EmailAddresses": [1]},
        {"EmailAddresses": [{"EmailAddress": 1}]},
        {"EmailAddresses": [{"EmailAddress": "nobody"}]},
        {"EmailAddresses": [{"EmailAddress": "a@b.example"}], "NextToken": "again"},
        {"EmailAddresses": [{"EmailAddress": "a@b.example"}] * 9_000, "NextToken": "again"},
    ],
    ids=str,
)
async def test_a_list_of_addresses_that_is_none_is_not_believed(box, monkeypatch, page):
    """Wrong types, and pages without end: the list is given up, and nothing is taken of it."""

    async def serve(reader, writer, _number):
        head = await read_head(reader)
        await reader.readexactly(int(head["content-length"]))
        answer(writer, body=json.dumps(page).encode(), Connection="close")

    async with Peer(serve) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_CONNECT": peer.url}
        async with clients_of(environ, monkeypatch) as opened:
            with pytest.raises(RemoteError) as caught:
                await list_addresses(opened.connect, INSTANCE_ID)
    assert caught.value.failure is FailureClass.TEMPORARY
    assert peer.connections <= 100
