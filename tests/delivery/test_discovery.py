"""Discovery against the simulator: what is adopted, what is told once, what is remembered."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace

import pytest
from aws_parts import Peer, clients_of, read_head
from structlog.testing import capture_logs

from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.config.discovered import Snapshots
from relay.config.remembered import DiscoveredFile
from relay.contact.limits import DEFAULT_EXTENSIONS
from relay.delivery import discovery as discovery_module
from relay.delivery.discovery import Discovery
from relay.sandbox.service import Sandbox, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

CONFIG = builtin_config(connect={"discover": True})
FAR, ROLE = "11111111-2222-3333-4444-555555555555", "arn:aws:iam::111111111111:role/far"
READ, SEARCH = "DescribeAttachedFilesConfiguration", "SearchEmailAddresses"


@pytest.fixture
def instance(box):
    """The simulated instance, which the test sets as its administrator would."""

    class Administrator:
        def set(self, **changes):
            box.connect.settings = replace(box.connect.settings, **changes)

        def has(self, *addresses):
            self.set(addresses=lambda _instance_id: addresses)

        def deny(self, *actions):
            box.connect.denied = set(actions)

    before = box.connect.settings
    yield Administrator()
    box.connect.settings = before
    box.connect.denied = set()


@pytest.fixture
def begin(clients, tmp_path):
    """A maker of discoveries on one file, as one start after another."""
    return lambda config=CONFIG: Discovery(
        config, find_client=clients.abroad.find, file=DiscoveredFile(tmp_path)
    )


def limits(discovery, config=CONFIG):
    """The limits of the instance as a request is made by them."""
    return Snapshots(config, discovery.found).take().of_instance(INSTANCE_ID).connect


def events(logs):
    """The events of a log, each with its action or its differences."""
    return [(each["event"], each.get("action") or each.get("differences")) for each in logs]


async def test_the_instances_own_limits_are_used_and_told_once(begin, instance):
    """Its types and size replace the defaults; the difference is one line, however often it is read."""
    instance.set(extensions=("pdf", "zip"), max_file_bytes=5 << 20)
    discovery = begin()
    with capture_logs() as logs:
        assert await discovery.look()
        assert await discovery.look()
    assert (limits(discovery).allowed_extensions, limits(discovery).max_attachment_bytes) == (
        ("pdf", "zip"),
        5 << 20,
    )
    assert [event for event, _ in events(logs)] == ["instance.differs"]
    assert "it takes zip" in logs[0]["differences"][0]


async def test_a_look_that_brings_nothing_new_is_the_same_snapshot(begin, instance):
    """Workers learn a configuration anew only when it is another."""
    instance.set(extensions=("zip",))
    discovery = begin()
    snapshots = Snapshots(CONFIG, discovery.found)
    await discovery.look()
    first = snapshots.take()
    await discovery.look()
    assert snapshots.take() is first
    instance.set(extensions=("zip", "pdf"))
    await discovery.look()
    assert snapshots.take().of_instance(INSTANCE_ID).connect.allowed_extensions == ("pdf", "zip")


@pytest.mark.parametrize("chaos", [{"deny": 1}, {"throttle": 1}, {"error": 1}, {"lose_reply": 1}])
async def test_what_was_known_stays_while_it_is_not_told(begin, instance, box, chaos):
    """Refused, throttled, at fault and lost: each question is told as unread once and as read again once,
    and neither limits nor alarms change.
    """
    instance.set(extensions=("zip",))
    instance.has("support@example.com")
    discovery = begin()
    assert await discovery.look()
    missing = dict(discovery.missing())
    box.chaos(connect=chaos)
    with capture_logs() as logs:
        assert not await discovery.look()
        assert not await discovery.look()
    assert sorted(events(logs)) == [("instance.unread", READ), ("instance.unread", SEARCH)]
    assert limits(discovery).allowed_extensions == ("zip",)
    assert discovery.missing() == missing != {}
    box.chaos({})
    with capture_logs() as logs:
        assert await discovery.look()
    assert sorted(events(logs)) == [("instance.read", READ), ("instance.read", SEARCH)]


async def test_an_instance_that_was_never_read_changes_nothing(begin, instance):
    """Without the permissions the file's limits are used, and no address is missed."""
    instance.deny(READ, SEARCH)
    discovery = begin()
    assert not await discovery.look()
    assert limits(discovery).allowed_extensions == DEFAULT_EXTENSIONS
    assert discovery.missing() == {}


async def test_an_address_that_vanishes_is_missed_until_it_is_back(begin, instance):
    """The address of a route, and one that a catch-all delivered to, are missed as soon as the instance has
    them no more; one that no route leads to never is.
    """
    everyone = ("support@example.com", "sales@example.com", "desk@example.com", "x@elsewhere.example")
    instance.has(*everyone)
    discovery = begin()
    await discovery.look()
    assert discovery.missing() == {}
    instance.has("support@example.com")
    await discovery.look()
    assert discovery.missing() == {"sales@example.com": INSTANCE_ID, "desk@example.com": INSTANCE_ID}
    instance.has("support@example.com", "desk@example.com")
    await discovery.look()
    assert discovery.missing() == {"sales@example.com": INSTANCE_ID}
    instance.has(*everyone)
    await discovery.look()
    assert discovery.missing() == {}


async def test_no_address_at_all_is_not_believed(begin, instance):
    """An empty list would be an alarm for every route; it is told as unread, and the addresses stay known."""
    discovery = begin()
    await discovery.look()
    instance.has()
    with capture_logs() as logs:
        assert not await discovery.look()
    assert events(logs) == [("instance.unread", SEARCH)]
    assert discovery.missing() == {}


async def test_a_thousand_missing_addresses_are_fifty_alarms(begin, instance):
    """A person is not told a thousand times of one mistake."""
    routes = [{"match": [f"a{number}@example.com" for number in range(1_000)]}]
    instance.has("other@example.com")
    discovery = begin(builtin_config(connect={"discover": True}, routes=routes))
    await discovery.look()
    assert len(discovery.missing()) == 50


async def test_what_was_read_outlives_a_restart(begin, instance, tmp_path):
    """The next start goes by it before it has asked, also for what is missed, and while it may not ask;
    others cannot read the file.
    """
    instance.set(extensions=("zip",))
    instance.has("support@example.com")
    first = begin()
    await first.look()
    instance.deny(READ, SEARCH)
    second = begin()
    assert limits(second).allowed_extensions == ("zip",)
    assert second.missing() == first.missing() == {"sales@example.com": INSTANCE_ID}
    await second.wait_first()  # it returns at once: something is known
    assert not await second.look()
    assert limits(second).allowed_extensions == ("zip",)
    assert stat.S_IMODE((tmp_path / "instances.json").stat().st_mode) == 0o600


async def test_turned_off_nothing_is_used(begin, instance):
    """Without `connect.discover` the file counts, whatever is remembered; a reload that wants it asks."""
    instance.set(extensions=("zip",))
    discovery = begin()
    await discovery.look()
    off = builtin_config()
    discovery.reload(off)
    assert limits(discovery, off).allowed_extensions == DEFAULT_EXTENSIONS
    assert limits(begin(off), off).allowed_extensions == DEFAULT_EXTENSIONS
    running = asyncio.create_task(discovery.run())
    try:
        discovery.reload(CONFIG)
        async with asyncio.timeout(20):
            while not discovery.found():
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert limits(discovery).allowed_extensions == ("zip",)


async def test_each_instance_is_asked_in_its_region_as_its_role(monkeypatch, tmp_path):
    """An instance of another Region and account tells its own settings, by a signature of its role; the other
    keeps its own.
    """
    tables = {"discover": True, "instances": {FAR: {"region": "us-west-2", "role_arn": ROLE}}}
    routes = [{"match": ["far@example.net"], "instance_id": FAR}, {"match": ["support@example.com"]}]
    config = builtin_config(connect=tables, routes=routes)
    settings = settings_of(config)
    others = {FAR: replace(settings.others[FAR], extensions=("zip",))}
    async with (
        Sandbox(settings=replace(settings, others=others)) as other,
        clients_of(other.environ(), monkeypatch, connect=tables, routes=routes) as clients,
    ):
        discovery = Discovery(config, find_client=clients.abroad.find, file=DiscoveredFile(tmp_path))
        assert await discovery.look()
    snapshot = Snapshots(config, discovery.found).take()
    assert snapshot.of_instance(FAR).connect.allowed_extensions == ("zip",)
    assert snapshot.of_instance(INSTANCE_ID).connect.allowed_extensions == DEFAULT_EXTENSIONS
    assert discovery.found()[FAR].addresses == {"far@example.net"}
    assert discovery.missing() == {}


async def test_instances_are_asked_again_by_themselves(begin, instance, monkeypatch):
    """A change in the instance is used after the next look, without a reload."""
    monkeypatch.setattr(discovery_module, "_LOOK_SECONDS", 0.02)
    discovery = begin()
    running = asyncio.create_task(discovery.run())
    try:
        await discovery.wait_first()
        assert limits(discovery).allowed_extensions == DEFAULT_EXTENSIONS
        instance.set(extensions=("zip",))
        async with asyncio.timeout(20):
            while limits(discovery).allowed_extensions != ("zip",):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_first_start_waits_for_no_silent_service(box, monkeypatch, tmp_path):
    """A Connect that takes the question and never answers holds a start back for a bounded time alone."""
    monkeypatch.setattr(discovery_module, "_FIRST_SECONDS", 0.05)
    asked = asyncio.Event()

    async def serve(reader, _writer, _number):
        await read_head(reader)
        asked.set()
        await asyncio.Event().wait()

    async with Peer(serve) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_CONNECT": peer.url}
        async with clients_of(environ, monkeypatch) as clients:
            discovery = Discovery(CONFIG, find_client=clients.abroad.find, file=DiscoveredFile(tmp_path))
            running = asyncio.create_task(discovery.run())
            await asked.wait()
            await discovery.wait_first()
            assert not running.done()
            running.cancel()
            await asyncio.wait({running})
    assert limits(discovery).allowed_extensions == DEFAULT_EXTENSIONS


async def test_a_file_that_cannot_be_written_costs_nothing(clients, instance, tmp_path):
    """On a full disk, say, the settings are used all the same."""
    instance.set(extensions=("zip",))
    discovery = Discovery(
        CONFIG, find_client=clients.abroad.find, file=DiscoveredFile(tmp_path / "not" / "there")
    )
    await discovery.look()
    assert limits(discovery).allowed_extensions == ("zip",)
