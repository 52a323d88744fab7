"""The states of the spool against a model of them: whatever is done in whatever order, the two agree."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from spool_helpers import NOW, build_config, build_destination, build_submission, raw_files

from relay.errors import LeaseLostError
from relay.spool.model import Entry, Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.vocabulary import Rung

pytestmark = pytest.mark.slow

ADDRESSES = ("a@example.com", "b@example.com", "c@example.com")
LARGE_BYTES = 1_024
LEASE_SECONDS = 60.0


@dataclass
class Known:
    """What the model knows of one entry."""

    spool_id: str
    body: int
    address: str
    state: State
    due_at: object
    attempts: int = 0
    lease_until: object = None
    contact_id: str | None = None


def body_of(number: int) -> bytes:
    return b"Subject: %d\r\n\r\n" % number + b"x" * (2_000 if number % 2 else 10)


class SpoolMachine(RuleBasedStateMachine):
    """Receivers put, a runner claims and ends attempts, an operator interferes, processes are
    started again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.home = Path(tempfile.mkdtemp())
        self.config = build_config(self.home / "data", large_message_bytes=LARGE_BYTES, retain_days=1.0)
        self.now = NOW
        self.model: dict[tuple[int, str], Known] = {}
        self.leases: list[Entry] = []
        self.contacts = 0
        self.open()

    def open(self) -> None:
        async def opening() -> None:
            self.intake = open_intake(self.config)
            self.outbox = open_outbox(self.config)

        self.run(opening())
        self.desk = open_desk(self.config)

    async def read(self, entry) -> bytes:
        async with self.outbox.open_raw(entry) as view:
            return bytes(view)

    def run(self, work):
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.desk.close()
        self.run(self.intake.close())
        self.run(self.outbox.close())

    def teardown(self) -> None:
        self.close()
        self.loop.close()
        shutil.rmtree(self.home)

    def known(self, entry: Entry) -> Known:
        return next(
            k
            for k in self.model.values()
            if (k.spool_id, k.address) == (entry.spool_id, entry.destination.address)
        )

    @rule(number=st.integers(0, 7), addresses=st.sets(st.sampled_from(ADDRESSES), min_size=1))
    def put(self, number, addresses) -> None:
        """The same few mails come again and again: each destination has each of them at most once."""
        spool_id = self.intake.new_id()
        destinations = tuple(build_destination(one, route=one[0]) for one in sorted(addresses))
        submission = build_submission(
            spool_id, body=body_of(number), message_id=f"<{number}@x>", destinations=destinations, at=self.now
        )
        receipt = self.run(self.intake.put(submission))
        fresh = [one for one in sorted(addresses) if (number, one) not in self.model]
        assert receipt.duplicate == (not fresh)
        for address in fresh:
            assert receipt.spool_id == spool_id
            self.model[number, address] = Known(spool_id, number, address, State.QUEUED, self.now)
        if not fresh:
            assert receipt.spool_id in {self.model[number, one].spool_id for one in addresses}

    @rule(seconds=st.sampled_from([1.0, 30.0, 90.0]))
    def wait(self, seconds) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit) -> None:
        """Exactly what is due is claimed, and never what somebody else has."""
        for known in self.model.values():
            if known.state is State.LEASED and known.lease_until <= self.now:
                known.state, known.due_at = State.QUEUED, self.now
        due = [k for k in self.model.values() if k.state is State.QUEUED and k.due_at <= self.now]
        entries = self.run(self.outbox.claim(now=self.now, limit=limit, lease_seconds=LEASE_SECONDS))
        assert len(entries) == min(limit, len(due))
        for entry in entries:
            known = self.known(entry)
            assert known in due
            due.remove(known)
            known.attempts += 1
            assert entry.attempts == known.attempts
            known.state, known.lease_until = State.LEASED, self.now + timedelta(seconds=LEASE_SECONDS)
            assert self.run(self.read(entry)).endswith(body_of(known.body))
            self.leases.append(entry)

    @precondition(lambda self: self.leases)
    @rule(act=st.sampled_from(["finish", "defer", "hold", "bury", "save"]), which=st.integers(0, 20))
    def end(self, act, which) -> None:
        """An outcome counts if its lease is the entry's last one, and only then."""
        entry = self.leases[which % len(self.leases)]
        known = self.model.get((self._number(entry), entry.destination.address))
        valid = (
            known is not None
            and known.spool_id == entry.spool_id
            and known.state is State.LEASED
            and known.attempts == entry.attempts
        )
        try:
            self.run(self._act(entry, act))
        except LeaseLostError:
            assert not valid
            return
        assert valid
        match act:
            case "finish":
                known.state, known.contact_id = State.DONE, f"contact-{self.contacts}"
            case "defer":
                known.state, known.due_at = State.QUEUED, self.now + timedelta(seconds=20)
            case "hold":
                known.state = State.HELD
            case "bury":
                known.state = State.DEAD

    async def _act(self, entry, act) -> None:
        now = self.now
        if act == "finish":
            self.contacts += 1
            await self.outbox.finish(entry, contact_id=f"contact-{self.contacts}", now=now)
        elif act == "defer":
            until = now + timedelta(seconds=20)
            await self.outbox.defer(entry, until=until, reason="r", detail="", rung=Rung.TEXT, now=now)
        elif act == "save":
            await self.outbox.save_request(
                entry, request=b"{}", rung=Rung.FULL, token="t", expires_at=now, now=now
            )
        else:
            await getattr(self.outbox, act)(entry, reason="r", detail="", now=now)

    @staticmethod
    def _number(entry) -> int:
        return int(entry.message_id.strip("<").partition("@")[0])

    @rule(act=st.sampled_from(["retry", "hold", "release", "drop"]), number=st.integers(0, 7))
    def operate(self, act, number) -> None:
        """An operator changes what is in a fitting state, and nothing that is under way."""
        takes = {
            "retry": {State.QUEUED, State.HELD, State.DEAD},
            "hold": {State.QUEUED},
            "release": {State.HELD},
            "drop": {State.QUEUED, State.HELD, State.DEAD},
        }[act]
        chosen = [k for (body, _), k in self.model.items() if body == number and k.state in takes]
        listed = {
            (e.spool_id, e.destination.address): f"{e.spool_id}.{e.entry_id}"
            for e in self.desk.select(Filter())
        }
        ids = [listed[k.spool_id, k.address] for k in chosen]
        assert getattr(self.desk, act)(ids, now=self.now).count == len(ids)
        for known in chosen:
            if act == "drop":
                del self.model[known.body, known.address]
            elif act == "hold":
                known.state = State.HELD
            else:
                known.state, known.due_at = State.QUEUED, self.now

    @rule()
    def restart(self) -> None:
        """After a restart every lease is back in the queue, due now."""
        self.close()
        self.open()
        leased = [k for k in self.model.values() if k.state is State.LEASED]
        assert self.run(self.outbox.recover(now=self.now)) == len(leased)
        for known in leased:
            known.state, known.due_at = State.QUEUED, self.now

    @invariant()
    def states_agree(self) -> None:
        """Every entry is in the state that the model says, and the counts agree with the rows."""
        found = {(e.spool_id, e.destination.address): e for e in self.desk.select(Filter())}
        assert {key: e.state for key, e in found.items()} == {
            (k.spool_id, k.address): k.state for k in self.model.values()
        }
        counts = self.desk.counts()
        for state in State:
            assert counts[state] == sum(k.state is state for k in self.model.values())
        named = {e.spool_id for e in found.values() if e.size > LARGE_BYTES}
        assert {path.name for path in raw_files(self.config.data_dir)} == named


SpoolMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSpoolMachine = SpoolMachine.TestCase
