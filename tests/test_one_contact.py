"""An answer that was lost, and whatever happens next: the mail is one contact, never two.

The real spool, runner, clients and services; Connect keeps the tokens that it has seen, and counts its
contacts.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from aws_parts import OneWay, clients_of
from harness import build_mail
from readings import reading_here
from sandboxes import fast_settings
from spool_helpers import build_destination, build_submission, make_version_2, tables_of

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.delivery.attempt import Delivery
from relay.delivery.pace import Pace
from relay.delivery.runner import Runner
from relay.faults import arm_fault
from relay.sandbox.connect import Refusal
from relay.sandbox.service import Sandbox
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.vocabulary import Rung

pytestmark = pytest.mark.slow

PDF = b"%PDF-1.7\n" + bytes(range(256))
SUPPORT = {"match": ["support@example.com"], "name": "support"}


class ListenerSettings:
    """A relay that is stopped and started over one data_dir, and whose clock a test moves."""

    def __init__(self, box, clients, tmp_path):
        self.box, self.clients, self.data_dir = box, clients, tmp_path / "data"
        self.now = datetime.now(UTC)
        self.mails = {}
        self.configure()

    def configure(self, *routes, **tables):
        """What the next start reads."""
        self.config = builtin_config(
            data_dir=self.data_dir,
            spool={"min_free_bytes": 0, "min_free_inodes": 0},
            routes=list(routes or (SUPPORT,)),
            **tables,
        )

    async def put(self, number, *, message_id=True):
        """A mail with a file, accepted."""
        mail = self.mails.setdefault(number, build_mail(number, attachment=PDF))
        if not message_id:
            del mail["Message-ID"]
        intake = open_intake(self.config)
        submission = build_submission(
            intake.new_id(),
            body=mail.as_bytes().replace(b"\n", b"\r\n"),
            message_id=mail["Message-ID"],
            destinations=(build_destination(instance_id=INSTANCE_ID),),
            at=self.now,
        )
        receipt = await intake.put(submission)
        await intake.close()
        return receipt.spool_id

    async def run(self, condition, *, lose=False):
        """Started, until the condition holds; `lose`: Connect does the work, and no answer arrives."""
        await self.box.set_chaos({"connect": {"lose_reply": 1}} if lose else {})
        async with contextlib.AsyncExitStack() as stack:
            outbox = open_outbox(self.config)
            stack.push_async_callback(outbox.close)
            await outbox.recover(now=self.now)
            runner = Runner(
                outbox=outbox,
                delivery=Delivery(
                    config=self.config,
                    outbox=outbox,
                    ways=OneWay(
                        ConnectClient(self.clients.connect),
                        Pace(rate=1_000, burst=100, clock=asyncio.get_running_loop().time),
                        AttachmentStore(self.clients.s3, config=self.config.s3, now=lambda: self.now),
                    ),
                    understanding=reading_here(),
                    now=lambda: self.now,
                ),
                wake=Polls(self),
                limits=self.config.deliver,
                now=lambda: self.now,
                steady=lambda: self.now.timestamp(),  # noqa: PLW0108 - the instant is replaced, not moved
                rng=Random(1),
            )
            task = asyncio.create_task(runner.run())
            async with asyncio.timeout(50):  # of a busy machine
                while not condition():
                    await asyncio.sleep(0.02)
            await runner.stop(5)
            await task

    def entries(self):
        with contextlib.closing(open_desk(self.config)) as desk:
            return desk.select(Filter(states=tuple(State), ids=()))

    def entry(self):
        (entry,) = self.entries()
        return entry

    def is_in(self, *states):
        return lambda: {entry.state for entry in self.entries()} <= {*states}

    def tokens(self):
        return [contact["request"]["ClientToken"] for contact in self.box.contacts()]

    async def lose_an_answer(self):
        """Connect has the contact, and the entry does not know."""
        await self.run(lambda: self.entry().reason == "connect.unreachable", lose=True)
        assert len(self.tokens()) == 1
        assert self.entry().in_doubt_since is not None


class Polls:
    """A bell that nobody rings; time goes on meanwhile."""

    def __init__(self, site):
        self.site = site

    async def wait(self, timeout_seconds):
        await asyncio.sleep(0.005)
        self.site.now += timedelta(milliseconds=50)


@pytest.fixture
async def site(tmp_path, monkeypatch):
    # The clients know nothing of mails, and cost more than all the rest: they stay through each start.
    async with Sandbox(settings=fast_settings()) as box, clients_of(box.env, monkeypatch) as clients:
        yield ListenerSettings(box, clients, tmp_path)


@contextlib.contextmanager
def armed(fault):
    """A fault point that strikes meanwhile."""
    arm_fault(fault)
    try:
        yield
    finally:
        arm_fault("")


def urls_die(site):
    site.now += timedelta(seconds=site.config.s3.url_ttl_seconds)


def limits_change(site):
    urls_die(site)
    site.configure(
        SUPPORT | {"attributes": {"desk": "new"}}, connect={"max_attachments": 1}, s3={"prefix": "x/"}
    )


def route_is_renamed(site):
    urls_die(site)
    site.configure(SUPPORT | {"name": "desk"})


def destination_changes(site):
    urls_die(site)
    site.configure(SUPPORT | {"destination": "desk@example.com"})


def version_is_older(site):
    make_version_2(site.config)


def version_is_older_and_urls_die(site):
    make_version_2(site.config)
    urls_die(site)


def spool_is_restored(site):
    copy = site.data_dir.with_name("copy")
    shutil.copytree(site.data_dir, copy)
    shutil.rmtree(site.data_dir)
    copy.rename(site.data_dir)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param(lambda site: None, "", marks=pytest.mark.long),
        (urls_die, ""),
        (limits_change, ""),
        pytest.param(route_is_renamed, "", marks=pytest.mark.long),
        (destination_changes, ""),
        pytest.param(version_is_older, "", marks=pytest.mark.long),
        (version_is_older_and_urls_die, ""),
        (spool_is_restored, ""),
        (urls_die, "delivery.understand:raise"),  # the rung `original`
        (urls_die, "delivery.after_s3:raise"),  # a fault of ours, once
    ],
    ids=[
        "again",
        "urls",
        "limits",
        "renamed",
        "destination",
        "older",
        "older-urls",
        "restored",
        "original",
        "fault",
    ],
)
async def test_lost_answer_is_one_contact_whatever_comes_next(site, change, fault):
    """URLs dead, limits changed, a renamed route, an upgrade, a restored spool, the last rung: Connect counts
    one contact.
    """
    await site.put(1)
    await site.lose_an_answer()
    change(site)
    if fault:
        with armed(fault):
            attempts = site.entry().attempts
            await site.run(
                lambda: site.entry().attempts > attempts and site.entry().state is not State.LEASED
            )
    await site.run(site.is_in(State.DONE))
    (contact,) = site.box.contacts()
    assert site.entry().contact_id in {contact["contact_id"], None}
    assert site.entry().in_doubt_since is None


@pytest.mark.parametrize("change", [urls_die, version_is_older_and_urls_die])
async def test_lost_answer_for_mail_without_message_id_is_one_contact(site, change):
    """The salt of its token is the spool id, which no rebuild and no upgrade changes."""
    await site.put(1, message_id=False)
    await site.lose_an_answer()
    change(site)
    await site.run(site.is_in(State.DONE))
    assert len(site.box.contacts()) == 1


async def test_mail_in_every_state_comes_through_an_upgrade_as_one_contact_each(site):
    """Queued, sent with the answer lost, held, dead and done mail of the version before: each is one contact
    in the end.
    """
    for number in range(5):
        await site.put(number)
    ids = [entry.spool_id for entry in site.entries()]

    def lost():
        return sum(entry.reason == "connect.unreachable" for entry in site.entries()) == 5

    await site.run(lost, lose=True)
    await site.put(5)
    with contextlib.closing(open_desk(site.config)) as desk:
        desk.hold(ids[:1], now=site.now)
    with tables_of(site.data_dir) as connection:
        connection.execute("UPDATE entries SET state = 'dead' WHERE entry_id = 2")
        connection.execute("UPDATE entries SET state = 'leased', lease_until = 1 << 60 WHERE entry_id = 3")
    make_version_2(site.config)
    await site.run(site.is_in(State.DONE, State.HELD, State.DEAD))
    urls_die(site)
    with contextlib.closing(open_desk(site.config)) as desk:
        assert desk.retry(ids[:2], now=site.now).count == 2
    await site.run(site.is_in(State.DONE))
    assert len(site.tokens()) == len(set(site.tokens())) == 6
    assert [entry.state for entry in site.entries()] == [State.DONE] * 6


async def test_refusal_by_connect_alone_replaces_the_token(site):
    """Each refusal in Connect's own words makes another token; the answer that is lost below it is one
    contact.
    """
    await site.put(1)
    first = site.entry().token
    site.box.connect.planned.append(Refusal(code="InvalidRequestException", message="no"))
    await site.run(lambda: site.entry().reason == "connect.unreachable", lose=True)
    second = site.entry()
    assert second.token != first
    assert second.rung is Rung.TRIMMED
    urls_die(site)
    await site.run(site.is_in(State.DONE))
    assert site.tokens() == [second.token]
    with contextlib.closing(open_desk(site.config)) as desk:
        assert "refused" in [event.event for event in desk.history(site.entry())]


async def test_definite_answers_leave_no_doubt_and_keep_the_token(site):
    """A 429 says that this request made nothing, but nothing of one before it whose answer was lost."""
    await site.put(1)
    token = site.entry().token
    site.box.connect.planned.append(Refusal(code="ThrottlingException", message="Rate exceeded"))
    await site.run(
        lambda: site.entry().reason == "connect.ThrottlingException" and site.entry().state is State.QUEUED
    )
    assert (site.entry().in_doubt_since, site.entry().token) == (None, token)
    site.box.connect.planned.append(
        Refusal(code="InternalServiceException", message="An internal error occurred")
    )
    await site.run(lambda: site.entry().reason == "connect.InternalServiceException")
    since = site.entry().in_doubt_since
    assert since is not None
    site.box.connect.planned.append(Refusal(code="ThrottlingException", message="Rate exceeded"))
    await site.run(
        lambda: site.entry().reason == "connect.ThrottlingException" and site.entry().state is State.QUEUED
    )
    assert (site.entry().in_doubt_since, site.entry().token) == (since, token)


async def test_doubt_of_over_six_days_waits_for_a_person(site):
    """Nothing sends it by itself, and no command without a person's word; with it, the same token
    goes out.
    """
    await site.put(1)
    await site.lose_an_answer()
    since = site.entry().in_doubt_since
    site.now += timedelta(days=6, minutes=1)
    await site.run(site.is_in(State.HELD))
    held = site.entry()
    assert (held.reason, held.in_doubt_since) == ("fate_unknown", since)
    assert "a second contact may come" in held.detail
    with contextlib.closing(open_desk(site.config)) as desk:
        for act in (desk.retry, desk.release):
            changed = act([held.spool_id], now=site.now)
            assert (changed.count, [left.in_doubt_since for left in changed.left]) == (0, [since])
        assert desk.release([held.spool_id], now=site.now, agreed=True).count == 1
    await site.run(site.is_in(State.DONE))
    assert site.tokens() == [held.token]


async def test_old_doubt_waits_while_the_clock_is_doubted(site):
    """A clock that may be wrong makes no doubt old, and sends nothing that may be a second contact: the mail
    waits until the clock is trusted, and is no attempt meanwhile.
    """
    await site.put(1)
    await site.lose_an_answer()
    before, site.now = site.entry(), site.now + timedelta(days=6, minutes=1)
    with tables_of(site.config.data_dir) as tables:
        tables.execute("UPDATE clock SET trusted_offset = 864000000000, doubted = 1")
    await site.run(lambda: site.entry().reason == "relay.clock")
    waiting = site.entry()
    assert (waiting.state, waiting.attempts) == (State.QUEUED, before.attempts)
    assert (waiting.in_doubt_since, len(site.tokens())) == (before.in_doubt_since, 1)
    with contextlib.closing(open_desk(site.config)) as desk:
        assert desk.resume("clock")
    await site.run(site.is_in(State.HELD))
    assert site.entry().reason == "fate_unknown"


async def test_conflict_that_nobody_explains_waits_for_a_person(site):
    """A spool restored from before the first attempt: Connect knows the token, we do not, and there is one
    contact.
    """
    await site.put(1)
    copy = site.data_dir.with_name("copy")
    shutil.copytree(site.data_dir, copy)
    await site.run(site.is_in(State.DONE))
    shutil.rmtree(site.data_dir)
    copy.rename(site.data_dir)
    site.configure(SUPPORT | {"attributes": {"desk": "new"}})
    await site.run(site.is_in(State.HELD))
    assert site.entry().reason == "connect.conflict_unexplained"
    assert len(site.tokens()) == 1
    with contextlib.closing(open_desk(site.config)) as desk:
        assert desk.retry([site.entry().spool_id], now=site.now).count == 1
    await site.run(site.is_in(State.DONE))
    assert (site.entry().reason, len(site.tokens())) == ("already_there", 1)


async def test_conflict_that_the_ledger_explains_is_that_contact(site):
    """The same mail again, after its window: the token is the ledger's, and so is the contact id."""
    await site.put(1)
    await site.run(site.is_in(State.DONE))
    (contact,) = site.box.contacts()
    site.configure(SUPPORT | {"attributes": {"desk": "new"}})
    with tables_of(site.data_dir) as connection:
        connection.execute("UPDATE mails SET accepted_at = 0; UPDATE ledger SET accepted_at = 0")
    await site.put(1)
    await site.run(site.is_in(State.DONE))
    assert [(entry.contact_id, entry.reason) for entry in site.entries()] == [
        (contact["contact_id"], ""),
        (contact["contact_id"], "already_there"),
    ]
    assert len(site.box.contacts()) == 1
