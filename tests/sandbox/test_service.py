"""The sandbox as one thing: its environment, its threads, its beginning and end."""

from __future__ import annotations

import asyncio
import socket
import urllib.request

import pytest
from aws_parts import clients_of, request_for

from relay.aws.connect import ConnectClient
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.sandbox.service import Sandbox, running_sandbox, settings_of

in_one_loop = pytest.mark.asyncio(loop_scope="module")


async def test_its_environment_has_no_other_account(box):
    """Whatever account the caller has, a daemon in the sandbox cannot reach it."""
    mine = {
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL": "https://real",
        "HOME": "/home/me",
    }
    environ = box.environ(mine)
    assert environ == {"HOME": "/home/me"} | box.env
    assert box.env["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")
    assert "AWS_SESSION_TOKEN" not in box.env


@in_one_loop
async def test_a_daemon_finds_everything_by_the_environment(clients, box):
    """The standard variables are all it takes."""
    await ConnectClient(clients.connect).start_email_contact(request_for())
    assert [contact["request"]["InstanceId"] for contact in box.contacts()] == [INSTANCE_ID]


async def test_it_can_live_in_the_callers_loop(monkeypatch):
    """`async with`, for programs that have a loop already."""
    async with Sandbox() as box, clients_of(box.environ(), monkeypatch) as clients:
        assert not await box.until(1, 0.01)
        started = asyncio.create_task(ConnectClient(clients.connect).start_email_contact(request_for()))
        assert await box.until(1, 10)
        assert box.contacts()[0]["contact_id"] == await started


@in_one_loop
async def test_a_caller_in_another_thread_can_wait_for_contacts(clients, box):
    """`wait` gives what there is once there is enough, or when time is up."""
    waiting = asyncio.create_task(asyncio.to_thread(box.wait, 1, 10))
    await ConnectClient(clients.connect).start_email_contact(request_for())
    assert len(await waiting) == 1
    assert len(await asyncio.to_thread(box.wait, 2, 0.05)) == 1


def test_it_stops_when_its_block_ends():
    """Nobody listens afterwards, and it can be started again."""
    for _ in range(2):
        with running_sandbox() as box, urllib.request.urlopen(f"{box.http_url}/api/contacts") as answer:
            assert answer.read() == b"[]"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", box.s3.port))


def test_what_stands_in_the_way_is_raised_where_it_was_started():
    """A port that is taken is the caller's to hear, not a thread's to die of."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        running_sandbox(http=taken.getsockname()),
    ):
        pass


def test_an_instance_is_what_its_configuration_supposes():
    """Addresses, types and limits of the simulated instance come from the configuration of the daemon."""
    config = builtin_config(
        connect={"max_attachments": 3, "allowed_extensions": ["zip"], "requests_per_second": 9}
    )
    settings = settings_of(config, burst=50)
    assert (settings.max_attachments, settings.extensions, settings.requests_per_second) == (3, ("zip",), 9)
    assert settings.burst == 50
    assert settings.instance_ids == {INSTANCE_ID}
    assert settings.has_address(INSTANCE_ID, "sales@example.com")
    assert settings.has_address(INSTANCE_ID, "anyone@example.com")
    assert not settings.has_address(INSTANCE_ID, "anyone@elsewhere.example")
