"""The demo of a fleet: sixty mails to three nodes, two of which are killed meanwhile, the leader first.

`python -m relay.sandbox.demo_fleet` starts everything on free loopback ports. Senders do what a mail server
does: without a 250 they come again, to whichever node. It exits 0 only if every mail became one contact, by
the simulated Connect and by the rows of the table, and nothing is left to do.
"""

from __future__ import annotations

import asyncio
import random
import smtplib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from relay.config.model import Config
from relay.errors import RelayError
from relay.sandbox.fleet import build_configs, open_fleet
from relay.sandbox.nodes import Nodes
from relay.sandbox.service import Sandbox
from relay.spool.desk import Desk
from relay.spool.model import State
from relay.spool.opening import open_desk
from relay.spool.page import EntryQuery, Listed

MAILS = 60
_NODES = 3
#: Mails sent at the same time.
_SENDERS = 4
#: The leader dies once so many mails are accepted, and another node later; no more than the mails under way
#: are sent before.
_KILLS = (20, 40)
#: Contacts that the first leader makes before it dies.
_BEFORE = 5
#: A pace at which sixty contacts take some seconds.
_PACE = {"requests_per_second": 20.0, "burst": 20}
_TRIES = 200
_REST_SECONDS = 0.3
#: Seconds for all contacts after the last 250, on a slow machine.
_WAIT_SECONDS = 120.0


@dataclass(slots=True)
class Sending:
    """The course of the sending."""

    accepted: int = 0
    #: Sessions that a mail needed beyond its first.
    again: int = 0
    #: The mails that may be sent before the next kill.
    allowed: int = _KILLS[0] + _SENDERS
    #: Notified of each change of these numbers.
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait(self, until: Callable[[], bool]) -> None:
        """Wait until the numbers are so."""
        async with self.changed:
            await self.changed.wait_for(until)

    async def tell(self, *, accepted: int = 0, allowed: int | None = None) -> None:
        """Change the numbers."""
        async with self.changed:
            self.accepted += accepted
            self.allowed = self.allowed if allowed is None else allowed
            self.changed.notify_all()


def main() -> int:
    """Run the demo. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="relay-demo-fleet-") as place:
        try:
            return asyncio.run(run(Path(place)))
        except (RelayError, OSError) as exc:
            _say(f"demo: {exc}")
            for log in sorted(Path(place).glob("*.log")):
                _say(f"\n{log.name}:\n{log.read_text(encoding='utf-8', errors='replace')[-4_000:]}")
            return 1


async def run(place: Path, *, seed: int = 1, **tables: Any) -> int:
    """Start, send, kill, wait and judge; `tables` are of the nodes' configuration. Returns the exit code."""
    chance = random.Random(seed)  # noqa: S311 - which node a sender takes
    configs = build_configs(place, count=_NODES, smtp="127.0.0.1:0", connect=_PACE, **tables)
    async with (
        open_fleet(place, configs, http=("127.0.0.1", 0)) as (box, nodes),
        _open_desk(configs[0]) as desk,
    ):
        _say(f"{_NODES} nodes run: {', '.join(f'{node.name} at {node.smtp}' for node in nodes.all)}")
        sending = Sending()
        begun = time.monotonic()
        await asyncio.gather(_send_all(nodes, sending, chance), _kill_two(box, desk, nodes, sending))
        _say(
            f"{sending.accepted} mails accepted in {time.monotonic() - begun:.1f} s; {sending.again} sessions more "
            "were needed"
        )
        came = await box.until(MAILS, _WAIT_SECONDS)
        rows = await _settle(desk)
        seconds = time.monotonic() - begun
        await box.settle(10.0)
        contacts = await asyncio.to_thread(box.contacts)
    _tell(rows)
    wrong = [*([] if came else ["not every contact came in time"]), *find_wrong(contacts, rows)]
    if wrong:
        raise RelayError("; ".join(wrong))
    _say(
        f"{MAILS} mails, {len(contacts)} contacts, two nodes killed: every one arrived, none twice. ({seconds:.1f} s)"
    )
    return 0


@asynccontextmanager
async def _open_desk(config: Config) -> AsyncIterator[Desk]:
    """An operator's view, which has asked once: the first question takes a second."""
    desk = await asyncio.to_thread(open_desk, config)
    try:
        await asyncio.to_thread(desk.nodes)
        yield desk
    finally:
        await asyncio.to_thread(desk.close)


async def _send_all(nodes: Nodes, sending: Sending, chance: random.Random) -> None:
    places = asyncio.Semaphore(_SENDERS)

    async def send(number: int) -> None:
        async with places:
            await sending.wait(lambda: number < sending.allowed)
            for _ in range(_TRIES):
                node = chance.choice(nodes.all)
                if await asyncio.to_thread(_send, node.smtp, number):
                    break
                sending.again += 1
                await asyncio.sleep(_REST_SECONDS * chance.uniform(0.5, 1.5))
            else:
                raise RelayError(f"mail {number} was refused {_TRIES} times")
            await sending.tell(accepted=1)

    await asyncio.gather(*map(send, range(MAILS)))


def _send(smtp: str, number: int) -> bool:
    """Send a mail once. Returns whether its sender has a 250."""
    host, _, port = smtp.partition(":")
    mail = EmailMessage()
    mail["From"] = f"customer-{number}@example.org"
    mail["To"] = "support@example.com"
    mail["Subject"] = subject_of(number)
    mail["Message-ID"] = f"<{number}@demo.example.org>"
    mail.set_content(f"This is mail {number}.\n")
    try:
        with smtplib.SMTP(host, int(port), timeout=15) as session:
            session.send_message(mail)
    except (OSError, smtplib.SMTPException):  # cut off, refused for now, or nobody there
        return False
    return True


def subject_of(number: int) -> str:
    """The subject of a mail, unlike any other."""
    return f"Mail {number} of the demo"


async def _kill_two(box: Sandbox, desk: Desk, nodes: Nodes, sending: Sending) -> None:
    """Kill the leader, then another node, and start each again."""
    await sending.wait(lambda: sending.accepted >= _KILLS[0])
    await box.until(_BEFORE, _WAIT_SECONDS)
    leader = await asyncio.to_thread(_find_leader, desk, nodes)
    first = await _kill(nodes, leader, sending, "delivered")
    await sending.tell(allowed=_KILLS[1] + _SENDERS)
    await sending.wait(lambda: sending.accepted >= _KILLS[1])
    leader = await asyncio.to_thread(_find_leader, desk, nodes)
    other = next((node.name for node in nodes.running() if node.name != leader), leader)
    second = await _kill(nodes, other, sending, "stood by")
    await sending.tell(allowed=MAILS)
    await asyncio.gather(first, second)


async def _kill(nodes: Nodes, name: str, sending: Sending, what: str) -> asyncio.Task[None]:
    """Kill a node. Returns its next start, which has begun."""
    node = nodes.find(name)
    assert node is not None
    await node.kill()
    _say(f"  after {sending.accepted} mails: kill -9 of {name}, which {what}")
    return asyncio.create_task(node.start(nodes.environ))


def _find_leader(desk: Desk, nodes: Nodes) -> str:
    """The node that delivers, by what the nodes tell of themselves in the table."""
    running = {node.name for node in nodes.running()}
    beats = sorted((each for each in desk.nodes() if each.leads), key=lambda each: each.at)
    return next((each.node for each in reversed(beats) if each.node in running), nodes.running()[0].name)


async def _settle(desk: Desk) -> Sequence[Listed]:
    """The rows of the table, once none of them is owed any more, or when time is up."""
    ends = time.monotonic() + _WAIT_SECONDS
    while True:
        page = await asyncio.to_thread(desk.page, EntryQuery(limit=10 * MAILS, seconds=30.0))
        if all(row.entry.state is State.DONE for row in page.rows) or time.monotonic() > ends:
            return page.rows
        await asyncio.sleep(_REST_SECONDS)


def find_wrong(contacts: Sequence[Mapping[str, Any]], rows: Sequence[Listed]) -> Iterator[str]:
    """Give a sentence for everything that is not as it must be."""
    subjects = Counter(str(each["request"]["EmailMessage"]["RawMessage"]["Subject"]) for each in contacts)
    for number in range(MAILS):
        if (times := subjects.pop(subject_of(number), 0)) != 1:
            yield f"mail {number} became {times} contacts"
    if subjects:
        yield f"contacts of no mail: {', '.join(subjects)}"
    if len(rows) != MAILS:
        yield f"the table has {len(rows)} entries"
    ids = Counter(row.entry.contact_id for row in rows)
    known = {each["contact_id"] for each in contacts}
    for row in rows:
        entry = row.entry
        if entry.state is not State.DONE:
            yield f"{entry.reference} is {entry.state}"
        elif entry.contact_id not in known:
            yield f"{entry.reference} has a contact that Connect does not know"
        elif ids[entry.contact_id] > 1:
            yield f"{entry.reference} shares its contact with another entry"


def _tell(rows: Sequence[Listed]) -> None:
    """Print which node did what."""
    accepted, delivered = Counter(row.accepted_by for row in rows), Counter(row.delivered_by for row in rows)
    tries = sum(row.entry.attempts for row in rows) - len(rows)
    for name in sorted({*accepted, *delivered}):
        _say(f"  {name} accepted {accepted[name]:>2} and delivered {delivered[name]:>2}")
    _say(f"  {tries} attempts were cut short, and their requests sent again under the same token")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 # it speaks to a person


if __name__ == "__main__":
    sys.exit(main())
