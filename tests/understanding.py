"""A pool of real workers for tests: opened, given mails, and looked at through /proc."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness import build_mail

from relay.config.builtin import builtin_config
from relay.contact.plan import Context
from relay.envelope import Destination, Envelope, ForwardPath, Peer, SpoolId
from relay.understand.folder import prepare_folder
from relay.understand.pool import Pool
from relay.understand.reading import Task, WorkerReading
from relay.understand.supply import Supply
from relay.vocabulary import Rung

ADDRESS = "support@example.com"


def octets(subject, **more):
    """An ordinary mail with this subject."""
    mail = build_mail("x", **more)
    mail.replace_header("Subject", subject)
    return mail.as_bytes().replace(b"\n", b"\r\n")


def task_of(raw, config=None, *, spool_id="0TEST00000000000", **more):
    """The mail as a delivery has it read."""
    config = config or builtin_config()
    route = config.routes[0]
    context = Context(
        spool_id=SpoolId(spool_id),
        envelope=Envelope(
            reverse_path="ada@customer.example",
            forward_paths=(ForwardPath(address=ADDRESS),),
            peer=Peer(address="192.0.2.1", port=25),
            received_at=datetime(2026, 1, 2, tzinfo=UTC),
        ),
        destination=Destination(
            instance_id=config.connect.instance_id,
            address=ADDRESS,
            forward_paths=(ADDRESS,),
            route=route.name,
        ),
        results={},
        raw_size=len(raw),
        is_ours=lambda _: False,
    )
    values = {"handle": None, "rung": Rung.FULL} | more
    return Task(raw=memoryview(raw), context=context, route=route, config=config, **values)


def state_of(pid):
    """The letter that proc(5) has for the state of a process; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_stopped(pid):
    """Whether a SIGSTOP holds the process."""
    return state_of(pid) == "T"


def children_of(pid):
    """The processes that this one has started and that are not gone."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in words if state_of(word) not in ("", "Z")]


@dataclass
class Workshop:
    """A pool and what is about it."""

    pool: Pool
    reading: WorkerReading
    folder: Path
    config: object

    @property
    def template(self):
        """The process that forks the workers."""
        return self.pool._supply._template.pid

    def workers(self):
        """The workers that are alive."""
        return children_of(self.template)

    async def subject(self, raw, **more):
        """The subject of the contact that this mail becomes."""
        async with self.reading.plan(task_of(raw, self.config, **more)) as plan:
            return plan.subject


@asynccontextmanager
async def workshop(folder, monkeypatch, fault="", *, silent_seconds=10.0, **tables):
    """A pool whose workers meet a fault in mails that have the word Hostile."""
    monkeypatch.setenv("RELAY_FAULT_POINT", f"delivery.understand:{fault}:0:@Hostile" if fault else "")
    config = builtin_config(**tables)
    pool = Pool(Supply(config), silent_seconds=silent_seconds)
    prepare_folder(folder / "work")
    await pool.start()
    try:
        yield Workshop(pool, WorkerReading(pool, folder / "work"), folder / "work", config)
    finally:
        await pool.close()
