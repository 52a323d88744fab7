"""One attempt to deliver: from a real spool, through real clients, to the simulated services."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import pytest_asyncio
from aws_parts import OneWay, clients_of
from harness import build_mail
from readings import reading_here
from sandboxes import fast_settings
from spool_helpers import build_destination, build_submission

from relay import telemetry
from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.delivery.attempt import Delivery
from relay.delivery.outcome import Delivered, Dropped, Failed, Held
from relay.delivery.pace import Pace
from relay.delivery.refused_templates import RefusedTemplates
from relay.errors import FailureClass
from relay.faults import arm_fault
from relay.sandbox.connect import Refusal
from relay.sandbox.service import Sandbox
from relay.spool.model import Filter
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.vocabulary import Rung

TRACE = b"Received: by relay.example.com\r\n"
PDF = b"%PDF-1.7\n" + bytes(range(256))
SUPPORT = {"match": ["support@example.com"]}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_box():
    """One sandbox in the loop of these tests: two of its services take longer to start than most tests."""
    async with Sandbox(settings=fast_settings()) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(loop_scope="module")
async def box(own_box):
    yield own_box
    await own_box.settle(30.0)
    await own_box.set_chaos({})
    own_box.connect.planned.clear()
    own_box.book.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(own_box):
    """The relay's own clients, led to that sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        async with clients_of(own_box.env, patch) as opened:
            yield opened


@pytest.fixture
def world(box, clients, tmp_path, monkeypatch):
    """A way to open everything that a delivery needs, with a configuration of one's own."""
    return SimpleNamespace(box=box, clients=clients, tmp_path=tmp_path, monkeypatch=monkeypatch)


@contextlib.contextmanager
def armed(fault):
    """A fault point that strikes meanwhile."""
    arm_fault(fault)
    try:
        yield
    finally:
        arm_fault("")


class Desk:
    """A spool with one delivery before it; an async context manager."""

    def __init__(self, world, **tables):
        self._world = world
        self.box = world.box
        self.config = builtin_config(
            data_dir=world.tmp_path / "data", spool={"min_free_bytes": 0, "min_free_inodes": 0}, **tables
        )
        self.now = datetime.now(UTC)

    async def __aenter__(self):
        self.intake, self.outbox = open_intake(self.config), open_outbox(self.config)
        clients = self._world.clients
        self._s3 = clients.s3
        self.templates = RefusedTemplates()
        self.ways = OneWay(
            ConnectClient(clients.connect),
            Pace(rate=1_000, burst=100, clock=asyncio.get_running_loop().time),
            AttachmentStore(clients.s3, config=self.config.s3, now=lambda: self.now),
        )
        self.delivery = Delivery(
            config=self.config,
            outbox=self.outbox,
            ways=self.ways,
            understanding=reading_here(),
            now=lambda: self.now,
            templates=self.templates,
        )
        return self

    async def __aexit__(self, *error):
        await self.outbox.close()
        await self.intake.close()

    async def entry(self, mail, *, reverse_path="ada@customer.example", route="support@example.com"):
        """The mail, accepted and claimed."""
        content = mail if isinstance(mail, bytes) else mail.as_bytes().replace(b"\n", b"\r\n")
        message_id = None if isinstance(mail, bytes) else mail["Message-ID"]
        destination = build_destination(instance_id=self.config.connect.instance_id, route=route)
        await self.intake.put(
            build_submission(
                self.intake.new_id(),
                trace=TRACE,
                body=content,
                message_id=message_id,
                reverse_path=reverse_path,
                destinations=(destination,),
                at=self.now,
            )
        )
        return await self.claim()

    async def claim(self):
        (entry,) = await self.outbox.claim(now=self.now, limit=1, lease_seconds=60)
        return entry

    async def stored(self, entry):
        """The same entry as the spool has it now."""
        with contextlib.closing(open_desk(self.config)) as desk:
            (found,) = await asyncio.to_thread(desk.select, Filter(ids=(entry.spool_id,)))
        return found

    async def again(self, entry):
        """The same entry, deferred and claimed anew."""
        await self.outbox.defer(entry, until=self.now, reason="test", detail="", now=self.now)
        return await self.claim()

    async def keys(self):
        """The keys of all objects in the bucket."""
        answer = await self._s3.list_objects_v2(Bucket=self.config.s3.bucket)
        return [one["Key"] for one in answer.get("Contents", ())]

    def requests(self):
        return [contact["request"] for contact in self.box.contacts()]


async def test_contact_is_started(world):
    """A mail with a file becomes a contact, and the file is in S3 under the spool id."""
    async with Desk(world) as desk:
        entry = await desk.entry(build_mail(1, attachment=PDF))
        outcome = await desk.delivery.deliver(entry)
        assert isinstance(outcome, Delivered)
        await desk.box.settle(30.0)
        (contact,) = desk.box.contacts()
    assert contact["contact_id"] == outcome.contact_id
    shown = json.loads(outcome.shown.document)
    assert [(file["size"], file["sent"]) for file in shown["files"]] == [(len(PDF), True)]
    assert b"X-Amz" not in outcome.shown.document
    assert f"/mail/{entry.spool_id}/" in contact["request"]["Attachments"][0]["S3Url"]
    assert contact["attachments"][0]["sha256"] == hashlib.sha256(PDF).hexdigest()


async def test_lost_reply_is_answered_by_the_same_octets(world):
    """After a reply that never came, the stored request goes out again, and Connect knows it."""
    async with Desk(world) as desk:
        await desk.box.set_chaos({"connect": {"lose_reply": 1}})
        entry = await desk.entry(build_mail(2, attachment=PDF))
        lost = await desk.delivery.deliver(entry)
        assert isinstance(lost, Failed)
        assert lost.error.failure is FailureClass.TEMPORARY
        assert lost.shown.whole
        await desk.box.set_chaos({})
        again = await desk.again(entry)
        assert again.request is not None
        outcome = await desk.delivery.deliver(again)
        assert isinstance(outcome, Delivered)
        assert (outcome.shown.whole, outcome.shown.words) == (False, lost.shown.words)
        (request,) = desk.requests()
        assert request == json.loads(again.request)


async def test_urls_that_die_are_signed_anew(world):
    """A stored request whose URLs are about to die is built again, with the same token."""
    async with Desk(world) as desk:
        await desk.box.set_chaos({"connect": {"throttle": 1}})
        entry = await desk.entry(build_mail(3, attachment=PDF))
        assert isinstance(await desk.delivery.deliver(entry), Failed)
        first = await desk.again(entry)
        desk.now += timedelta(seconds=desk.config.s3.url_ttl_seconds)
        await desk.outbox.defer(first, until=desk.now, reason="test", detail="", now=desk.now)
        late = await desk.claim()
        signed_at = int(time.time())
        while int(time.time()) == signed_at:  # a signature has the second in it
            await asyncio.sleep(0.01)
        await desk.box.set_chaos({})
        assert isinstance(await desk.delivery.deliver(late), Delivered)
        (request,) = desk.requests()
    old = json.loads(first.request)
    assert request["ClientToken"] == old["ClientToken"]
    assert request["Attachments"][0]["S3Url"] != old["Attachments"][0]["S3Url"]


async def test_urls_of_a_clock_that_was_ahead_are_signed_anew(world):
    """S3 takes no URL from the future: what a wrong clock signed is built again once the clock is right."""
    async with Desk(world) as desk:
        right = desk.now
        desk.now += timedelta(minutes=20)
        await desk.box.set_chaos({"connect": {"throttle": 1}})
        entry = await desk.entry(build_mail(3, attachment=PDF))
        assert isinstance(await desk.delivery.deliver(entry), Failed)
        await desk.box.set_chaos({})
        desk.now = right
        early = replace(
            entry,
            request=(await desk.stored(entry)).request,
            request_expires_at=right + timedelta(days=1, minutes=20),
        )
        assert isinstance(await desk.delivery.deliver(early), Delivered)
        assert (await desk.stored(entry)).request_expires_at == right + timedelta(days=1)


async def test_a_clock_set_right_before_the_call_costs_no_file(world):
    """The URLs are looked at again when the call's turn has come, which may be long after they were
    signed.
    """
    async with Desk(world) as desk:
        pace = (await desk.ways.find(INSTANCE_ID)).pace
        right, turn = desk.now, pace.turn
        desk.now += timedelta(minutes=20)

        async def set_the_clock_then_turn():
            desk.now = right
            await turn()

        world.monkeypatch.setattr(pace, "turn", set_the_clock_then_turn)
        entry = await desk.entry(build_mail(3, attachment=PDF))
        assert isinstance(await desk.delivery.deliver(entry), Delivered)
        assert (await desk.stored(entry)).request_expires_at == right + timedelta(days=1)


async def test_urls_that_are_dead_when_signed_are_a_matter_for_later(world):
    """What cannot be signed to live is tried twice and deferred, not signed without end; Connect is not
    asked.
    """
    async with Desk(world) as desk:
        world.monkeypatch.setattr(
            (await desk.ways.find("")).store, "_now", lambda: desk.now - timedelta(days=2)
        )
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(3, attachment=PDF)))
        assert isinstance(outcome, Failed)
        assert (outcome.error.failure, outcome.error.code) == (FailureClass.TEMPORARY, "dead_urls")
        assert desk.requests() == []


async def test_refused_payload_goes_down_the_ladder(world):
    """A 400 that names a file costs that file alone; the contact has the rest, under a token of its own."""
    async with Desk(world) as desk:
        mail = build_mail(4, attachment=PDF)
        mail.add_attachment(b"a,b\n", maintype="text", subtype="csv", filename="table.csv")
        desk.box.connect.planned.append(
            Refusal(code="InvalidRequestException", message="file 4.pdf: INVALID_FILE_NAME")
        )
        outcome = await desk.delivery.deliver(await desk.entry(mail))
        assert isinstance(outcome, Delivered)
        assert outcome.entry.rung is Rung.TRIMMED
        (request,) = desk.requests()
    assert [file["FileName"] for file in request["Attachments"]] == ["table.csv"]
    assert "file 4.pdf" in request["EmailMessage"]["RawMessage"]["Body"]


async def test_refused_on_every_rung_is_the_end(world):
    """Four payloads under four tokens are refused: the failure says so, and a person is told."""
    async with Desk(world) as desk:
        refusal = Refusal(code="InvalidRequestException", message="no")
        desk.box.connect.planned.extend([refusal] * 4)
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(5, attachment=PDF)))
        assert isinstance(outcome, Failed)
        assert (outcome.error.failure, outcome.entry.rung) == (FailureClass.PAYLOAD, Rung.ORIGINAL)
        assert desk.box.connect.planned == []


async def test_mail_refused_as_text_goes_as_its_original(world):
    """Where Connect takes no other form, the contact has the mail's words, and all of it as original.txt."""
    async with Desk(world) as desk:
        mail = build_mail(5, attachment=PDF)
        desk.box.connect.planned.extend([Refusal(code="InvalidRequestException", message="no")] * 3)
        entry = await desk.entry(mail)
        outcome = await desk.delivery.deliver(entry)
        await desk.box.settle(30.0)
        (contact,) = desk.box.contacts()
        stored = await desk.stored(entry)
    assert isinstance(outcome, Delivered)
    assert stored.rung is outcome.entry.rung is Rung.ORIGINAL
    assert "message.not_understood" in outcome.adaptations
    raw = contact["request"]["EmailMessage"]["RawMessage"]
    assert raw["Subject"] == mail["Subject"]
    assert "Amazon Connect did not take it in any other form" in raw["Body"]
    (file,) = contact["attachments"]
    octets = mail.as_bytes().replace(b"\n", b"\r\n")
    assert (file["name"], file["sha256"]) == ("original.txt", hashlib.sha256(octets).hexdigest())


async def test_fault_of_ours_becomes_a_contact_in_the_first_attempt(world):
    """A mail that the relay cannot understand is a contact at once, and its original is in S3 though none is
    to be kept.
    """
    async with Desk(world, s3={"keep_original": "never"}) as desk:
        entry = await desk.entry(build_mail(5, attachment=PDF))
        with armed("delivery.understand:raise"):
            outcome = await desk.delivery.deliver(entry)
        assert isinstance(outcome, Delivered)
        assert (outcome.entry.rung, outcome.entry.attempts) == (Rung.ORIGINAL, 1)
        (request,) = desk.requests()
        assert request["Attributes"]["relay_original"] in await desk.keys()
        with contextlib.closing(open_desk(desk.config)) as looking:
            events = await asyncio.to_thread(looking.history, entry)
        assert [(event.event, event.reason) for event in events] == [("original", "exception")]
        assert "UnexpectedError" in events[0].detail


async def test_large_mail_goes_as_its_original_too(world):
    """A mail that lies in a file of its own is read in place, and arrives to the octet, without our trace
    header.
    """
    async with Desk(world) as desk:
        mail = build_mail(5, attachment=PDF * 4_000)
        entry = await desk.entry(mail)
        assert entry.size > desk.config.spool.large_message_bytes
        with armed("delivery.understand:raise"):
            assert isinstance(await desk.delivery.deliver(entry), Delivered)
        await desk.box.settle(30.0)
        ((file,),) = [contact["attachments"] for contact in desk.box.contacts()]
    octets = mail.as_bytes().replace(b"\n", b"\r\n")
    assert (file["size"], file["sha256"]) == (len(octets), hashlib.sha256(octets).hexdigest())


async def test_what_defeated_us_is_not_tried_again(world):
    """When S3 fails after a fault of ours, the next attempt goes on at the last rung, and knows why."""
    async with Desk(world) as desk:
        entry = await desk.entry(build_mail(5))
        await desk.box.set_chaos({"s3": {"error": 1}})
        with armed("delivery.understand:raise"):
            assert isinstance(await desk.delivery.deliver(entry), Failed)
        await desk.box.set_chaos({})
        outcome = await desk.delivery.deliver(await desk.again(entry))
        assert isinstance(outcome, Delivered)
        assert outcome.entry.rung is Rung.ORIGINAL
        (request,) = desk.requests()
    assert "the relay failed to understand it" in request["EmailMessage"]["RawMessage"]["Body"]


@pytest.mark.parametrize("trouble", ["eio", "enospc", "emfile", "enomem"])
async def test_trouble_of_the_machine_is_no_fault_of_the_mail(world, trouble):
    """A full disk or a full table of files defers the mail; once it is over, the contact is whole."""
    async with Desk(world) as desk:
        entry = await desk.entry(build_mail(5, attachment=PDF))
        with armed(f"delivery.understand:{trouble}"):
            failed = await desk.delivery.deliver(entry)
        assert isinstance(failed, Failed)
        assert failed.error.failure is FailureClass.TEMPORARY
        outcome = await desk.delivery.deliver(await desk.again(entry))
        assert isinstance(outcome, Delivered)
        assert outcome.entry.rung is Rung.FULL


@pytest.mark.parametrize("keyed", [True, False])
async def test_original_goes_without_its_file_when_that_is_refused(world, keyed):
    """A refusal that names original.txt, or gives a reason of attachments, costs the file and no more."""
    async with Desk(world) as desk:
        refusal = Refusal(code="InvalidRequestException", message="original.txt: INVALID_FILE_TYPE")
        if not keyed:
            refusal = Refusal(code="InvalidRequestException", message="bad attachments[0]")
        desk.box.connect.planned.append(refusal)
        entry = replace(await desk.entry(build_mail(5)), rung=Rung.ORIGINAL)
        outcome = await desk.delivery.deliver(entry)
        assert isinstance(outcome, Delivered)
        assert outcome.entry.rung is Rung.ORIGINAL
        (request,) = desk.requests()
        assert "Attachments" not in request
        body = request["EmailMessage"]["RawMessage"]["Body"]
        assert request["Attributes"]["relay_original"] in body


async def test_policy_is_not_asked_of_what_nobody_understands(world):
    """A route that drops a class of mail drops none whose class is a guess."""
    async with Desk(world, routes=[{**SUPPORT, "on": {"auto-reply": "drop"}}]) as desk:
        mail = build_mail(6)
        mail["Auto-Submitted"] = "auto-replied"
        entry = await desk.entry(mail)
        with armed("delivery.understand:raise"):
            assert isinstance(await desk.delivery.deliver(entry), Delivered)


async def test_our_own_look_goes_down_the_ladder_and_never_buries(world, monkeypatch):
    """A request that our look does not like is tried lower; at the last rung Connect is asked all
    the same.
    """
    async with Desk(world) as desk:
        monkeypatch.setattr("relay.delivery.inspection.check_request", lambda request, **limits: ("no",))
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(5, attachment=PDF)))
        assert isinstance(outcome, Delivered)
        assert outcome.entry.rung is Rung.ORIGINAL
        (request,) = desk.requests()
    assert "could not bring it into a form" in request["EmailMessage"]["RawMessage"]["Body"]


@pytest.mark.parametrize(("action", "kind"), [("hold", Held), ("drop", Dropped)])
async def test_policy_of_the_route_comes_before_connect(world, action, kind):
    """A class of mail that the route holds or drops makes no contact."""
    async with Desk(world, routes=[{**SUPPORT, "on": {"auto-reply": action}}]) as desk:
        mail = build_mail(6)
        mail["Auto-Submitted"] = "auto-replied"
        outcome = await desk.delivery.deliver(await desk.entry(mail))
        assert isinstance(outcome, kind)
        assert outcome.reason == "class.auto-reply"
        assert desk.requests() == []


@pytest.mark.parametrize("action", ["hold", "drop"])
async def test_policy_is_not_asked_of_what_a_person_released(world, action):
    """Mail that a person let go becomes a contact, whatever its class."""
    async with Desk(world, routes=[{**SUPPORT, "on": {"auto-reply": action}}]) as desk:
        mail = build_mail(6)
        mail["Auto-Submitted"] = "auto-replied"
        entry = replace(await desk.entry(mail), released=True)
        assert isinstance(await desk.delivery.deliver(entry), Delivered)
        assert len(desk.requests()) == 1


RULES = {"class.auto-reply": "flow:f-1", "risk.name.other_address": "tag", "class.human": "hold"}


@pytest.mark.parametrize("released", [False, True])
async def test_flow_and_tag_by_class_and_risk(world, released):
    """A mail goes to the flow of its class, tagged by its risk, which is counted; a released one is judged by
    none.
    """
    telemetry.take_counts()
    async with Desk(world, routes=[{**SUPPORT, "policy": RULES, "contact_flow_id": "f-0"}]) as desk:
        mail = build_mail(6)
        mail["Auto-Submitted"] = "auto-replied"
        mail.replace_header("From", '"ceo@bank.example" <ada@customer.example>')
        entry = replace(await desk.entry(mail), released=released)
        assert isinstance(await desk.delivery.deliver(entry), Delivered)
        (request,) = desk.requests()
    told = (request["ContactFlowId"], request["Attributes"].get("relay_policy"))
    assert told == (("f-0", None) if released else ("f-1", "risk.name.other_address"))
    assert {key[1] for key, _ in telemetry.take_counts()} == (
        set() if released else {"class.auto-reply", "risk.name.other_address"}
    )


STORED = {
    "relay_dmarc": "fail", "relay_dmarc_policy": "reject", "relay_lists_found": "vip", "relay_lists_proved": "vip"
}  # fmt: skip


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("action", ["hold", "drop", "tag", "flow:f-1"])
async def test_stored_results_are_judged_at_delivery(world, action, released):
    """Hold, drop, tag and flow act on what was stored at the 250; a released entry is judged no more, and no
    list favours it.
    """
    route = {**SUPPORT, "policy": {"dmarc.reject": action}, "contact_flow_id": "f-0"}
    route["lists"] = {"vip": {"attribute": True, "priority": 2}}
    async with Desk(world, routes=[route], lists={"vip": {"file": "/lists/vip"}}) as desk:
        entry = replace(await desk.entry(build_mail(6)), released=released, results=STORED)
        outcome = await desk.delivery.deliver(entry)
        requests = desk.requests()
    if action in {"hold", "drop"} and not released:
        assert isinstance(outcome, Held if action == "hold" else Dropped)
        assert (outcome.reason, requests) == ("policy.dmarc.reject", [])
        return
    (request,) = requests
    told = {name: request["Attributes"].get(f"relay_{name}") for name in ("policy", "lists", "priority")}
    flow = "f-1" if action == "flow:f-1" and not released else "f-0"
    tagged = "dmarc.reject" if action == "tag" and not released else None
    listed = {"lists": None, "priority": None} if released else {"lists": "vip", "priority": "2"}
    assert (request["ContactFlowId"], told) == (flow, {"policy": tagged, **listed})


async def test_route_that_is_gone_is_an_error_of_configuration(world):
    """When no route matches any more, the mail waits for the configuration, it is not given up."""
    async with Desk(world, routes=[{"match": ["other@example.org"]}]) as desk:
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(7)))
    assert isinstance(outcome, Failed)
    assert (outcome.error.failure, outcome.error.code) == (FailureClass.CONFIGURATION, "no_route")


async def test_renamed_route_is_found_by_its_recipient(world):
    """A route whose name changed between reception and delivery still gets its mail."""
    async with Desk(world, routes=[{**SUPPORT, "name": "desk"}]) as desk:
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(8), route="old name"))
        assert isinstance(outcome, Delivered)


async def test_reply_is_related_to_the_contact_it_answers(world):
    """With thread = "references", a reply names the contact of the mail before it."""
    async with Desk(world, routes=[{**SUPPORT, "thread": "references"}]) as desk:
        first = build_mail(9)
        entry = await desk.entry(first)
        outcome = await desk.delivery.deliver(entry)
        await desk.outbox.finish(entry, contact_id=outcome.contact_id, now=desk.now)
        reply = build_mail(10)
        reply["In-Reply-To"] = first["Message-ID"]
        assert isinstance(await desk.delivery.deliver(await desk.entry(reply)), Delivered)
        _, request = desk.requests()
    assert request["RelatedContactId"] == outcome.contact_id


async def test_stranger_gets_no_part_in_a_customers_thread(world):
    """A stranger's In-Reply-To relates nothing, and a Message-ID that he used again captures no reply of the
    customer.
    """
    async with Desk(world, routes=[{**SUPPORT, "thread": "references"}]) as desk:

        async def deliver(mail, reverse_path):
            entry = await desk.entry(mail, reverse_path=reverse_path)
            outcome = await desk.delivery.deliver(entry)
            await desk.outbox.finish(entry, contact_id=outcome.contact_id, now=desk.now)
            return outcome.contact_id

        first = build_mail(9)
        contact_id = await deliver(first, "ada@customer.example")
        again = build_mail(10)
        del again["Message-ID"]
        again["Message-ID"] = first["Message-ID"]
        answer, reply = build_mail(11), build_mail(12)
        answer["In-Reply-To"] = reply["In-Reply-To"] = first["Message-ID"]
        await deliver(again, "eve@stranger.example")
        desk.now += timedelta(seconds=1)
        await deliver(answer, "mallory@stranger.example")
        await deliver(reply, "ada@CUSTOMER.example")
        requests = desk.requests()
    assert [request.get("RelatedContactId") for request in requests] == [None, None, None, contact_id]


async def test_equal_mails_without_message_id_have_tokens_of_their_own(world):
    """Two alarms of a copier that are equal to the octet, and have no Message-ID, are two contacts."""
    alarm = b"From: copier@office.example\r\nSubject: Paper jam\r\n\r\nTray 2\r\n"
    async with Desk(world) as desk:
        for _ in range(2):
            entry = await desk.entry(alarm)
            outcome = await desk.delivery.deliver(entry)
            await desk.outbox.finish(entry, contact_id=outcome.contact_id, now=desk.now)
            desk.intake.confirm(entry.spool_id)
        assert len({request["ClientToken"] for request in desk.requests()}) == 2


async def test_lower_rung_is_where_a_retry_begins(world):
    """An entry that is known to need the text rung is not tried with its files again."""
    async with Desk(world) as desk:
        entry = replace(await desk.entry(build_mail(11, attachment=PDF)), rung=Rung.TEXT)
        assert isinstance(await desk.delivery.deliver(entry), Delivered)
        (request,) = desk.requests()
    assert "Attachments" not in request


async def test_contact_tells_how_long_its_mail_waited(world):
    """After an outage Connect counts from the contact; the attributes tell the instant and the hours lost."""
    async with Desk(world) as desk:
        entry = await desk.entry(build_mail(4))
        accepted_at = desk.now
        desk.now += timedelta(hours=3)
        assert isinstance(await desk.delivery.deliver(entry), Delivered)
        (request,) = desk.requests()
    assert request["Attributes"]["relay_waited_seconds"] == "10800"
    assert request["Attributes"]["relay_accepted_at"] == accepted_at.isoformat(timespec="seconds")


async def test_request_made_anew_tells_the_same_wait(world):
    """A request whose reply was lost and whose time is over is made anew to the octet: Connect knows it."""
    async with Desk(world) as desk:
        await desk.box.set_chaos({"connect": {"lose_reply": 1}})
        entry = await desk.entry(build_mail(5))
        desk.now += timedelta(seconds=7)
        assert isinstance(await desk.delivery.deliver(entry), Failed)
        await desk.box.set_chaos({})
        first = await desk.again(entry)
        desk.now += timedelta(seconds=desk.config.s3.url_ttl_seconds)
        await desk.outbox.defer(first, until=desk.now, reason="test", detail="", now=desk.now)
        assert isinstance(await desk.delivery.deliver(await desk.claim()), Delivered)
        (request,) = desk.requests()
    assert request == json.loads(first.request)


async def test_what_the_first_attempt_captured_holds(world):
    """A changed pattern does not change a mail that was tried before: one number leads it to one queue."""
    route = {"match": ["support@example.com"], "captures": [{"from": "body", "pattern": "(?P<word>[a-z]+)"}]}
    async with Desk(world, routes=[route]) as desk:
        await desk.box.set_chaos({"connect": {"throttle": 1}})
        entry = await desk.entry(build_mail(6))
        assert isinstance(await desk.delivery.deliver(entry), Failed)
        await desk.box.set_chaos({})
        again = await desk.again(entry)
        assert again.captured is not None
        other = dict(again.captured) | {"word": "from-the-first-attempt"}
        late = replace(again, captured=other, request=None, request_expires_at=None)
        assert isinstance(await desk.delivery.deliver(late), Delivered)
        (request,) = desk.requests()
        assert (await desk.stored(entry)).captured == again.captured
    assert request["Attributes"]["word"] == "from-the-first-attempt"


async def test_template_that_connect_refuses_buries_no_mail_and_is_told(world):
    """The contact goes without the template's field, a person is told of the route, and of the end of it."""
    route = {"match": ["support@example.com"], "segment_attributes": {"tier": "gold"}}
    no = Refusal(code="InvalidRequestException", message="SegmentAttributes: tier is not predefined")
    async with Desk(world, routes=[route]) as desk:
        desk.box.connect.planned.append(no)
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(7)))
        assert isinstance(outcome, Delivered)
        assert outcome.entry.rung is Rung.TRIMMED
        assert "template.left_out" in outcome.adaptations
        assert list(desk.templates.known) == ["support@example.com"]
        assert "tier is not predefined" in desk.templates.known["support@example.com"]
        await desk.delivery.deliver(await desk.entry(build_mail(8)))
        assert not desk.templates.known
        first, second = desk.requests()
    assert "SegmentAttributes" not in first
    assert second["SegmentAttributes"] == {"tier": {"ValueString": "gold"}}


async def test_refused_file_is_no_fault_of_a_template(world):
    """A refusal that may be a file's raises no alarm about templates."""
    route = {"match": ["support@example.com"], "description": "for {author}"}
    no = Refusal(code="InvalidRequestException", message="file 9.pdf: INVALID_FILE_NAME")
    async with Desk(world, routes=[route]) as desk:
        desk.box.connect.planned.append(no)
        outcome = await desk.delivery.deliver(await desk.entry(build_mail(9, attachment=PDF)))
        assert isinstance(outcome, Delivered)
        assert not desk.templates.known
