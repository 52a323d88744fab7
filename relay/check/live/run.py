"""A run of `relay check --live`: what may be asked, each question in turn, and the end of what was left over.

Owns the order, and the rule that nothing is asked that could not be ended: without StopContact no contact is
started.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from relay.aws.clients import open_clients
from relay.aws.connect import ConnectClient
from relay.aws.contacts import Contacts
from relay.check.live.bench import Bench, again
from relay.check.live.file_questions import FILE_QUESTIONS
from relay.check.live.model import NAME, Answer
from relay.check.live.question import Question
from relay.check.live.questions import REQUEST_QUESTIONS
from relay.config import Config
from relay.config.discovered import find_destinations
from relay.delivery.pace import Pace
from relay.errors import ConfigError, RelayError, RemoteError

QUESTIONS = {question.name: question for question in (*REQUEST_QUESTIONS, *FILE_QUESTIONS)}
#: Codes of a principal that may not do something.
_FORBIDDEN = frozenset({"AccessDeniedException", "AccessDenied", "NotAuthorized"})
#: Codes of a contact, or of an id, that is none: whoever gets them may ask.
_NOT_THERE = frozenset(
    {
        "ContactNotFoundException",
        "InvalidParameterException",
        "InvalidRequestException",
        "ResourceNotFoundException",
    }
)
#: The time in which contacts that an earlier run has left are looked for.
_LEFT = timedelta(days=1)


class LiveError(RelayError):
    """The instance cannot be asked anything."""


@asynccontextmanager
async def open_bench(
    config: Config, instance_id: str, *, say: Callable[[str], None], patience_seconds: float
) -> AsyncIterator[Bench]:
    """The bench for an instance.

    Raises:
        ConfigError: no client can be made, or no route names an address of the instance.
    """
    addresses = tuple(sorted(find_destinations(config, instance_id)))
    if not addresses:
        raise ConfigError(
            f"no route names an address of the instance {instance_id} to send to; give one a destination"
        )
    instance = config.connect.find(instance_id)
    async with open_clients(config) as clients:
        client = await clients.abroad.find(instance)
        rate = config.connect.adopt(instance_id).requests_per_second / 2  # the other half is for mail
        yield Bench(
            config=config,
            instance_id=instance_id,
            addresses=addresses,
            connect=ConnectClient(client, timeout_seconds=config.connect.timeout_seconds),
            contacts=Contacts(client, instance_id),
            s3=await clients.abroad.find_s3(instance.bucket_region),
            pace=Pace(rate=rate, burst=1, clock=asyncio.get_running_loop().time),
            say=say,
            patience_seconds=patience_seconds,
        )


async def find_forbidden(bench: Bench, questions: Sequence[Question]) -> frozenset[str]:
    """The actions among those that are needed which are not allowed: each is tried on a contact that is not
    there.

    Raises:
        LiveError: contacts could not be ended, or that cannot be found out.
    """
    nobody, now = str(uuid.uuid4()), datetime.now(UTC)
    tries = {
        "connect:StopContact": lambda: bench.contacts.stop(nobody),
        "connect:DescribeContact": lambda: bench.contacts.describe(nobody),
        "connect:ListContactReferences": lambda: bench.contacts.list_references(nobody, "ATTACHMENT"),
        "connect:SearchContacts": lambda: bench.contacts.search(since=now - timedelta(minutes=1), until=now),
    }
    wanted = {"connect:StopContact", *(need for question in questions for need in question.needs)}
    forbidden = set()
    for action in sorted(wanted):
        try:
            await again(tries[action])
        except RemoteError as exc:
            if exc.code in _FORBIDDEN:
                forbidden.add(action)
            elif exc.code not in _NOT_THERE:
                raise LiveError(
                    f"{action} cannot be tried ({exc.code}: {exc.detail}); nothing was started"
                ) from exc
    if "connect:StopContact" in forbidden:
        raise LiveError("connect:StopContact is not allowed: no contact is started that could not be ended")
    return frozenset(forbidden)


async def ask_all(
    bench: Bench,
    questions: Sequence[Question],
    forbidden: frozenset[str],
    *,
    tell: Callable[[Question, Answer], None],
) -> None:
    """Ask each question in turn, and tell each answer as soon as it is there.

    Nothing more is asked once a contact could not be ended.
    """
    for question in questions:
        if bench.open:
            answer = Answer(sentence="not asked: a contact could not be ended", is_known=False)
        elif lacking := sorted(forbidden.intersection(question.needs)):
            answer = Answer(sentence=f"not asked: allow {', '.join(lacking)}", is_known=False)
        else:
            answer = await _ask(bench, question)
        tell(question, answer)


async def _ask(bench: Bench, question: Question) -> Answer:
    try:
        async with bench.question(question.name):
            return await question.ask(bench)
    except RemoteError as exc:
        facts = {"service": exc.service, "code": exc.code, "detail": exc.detail}
        return Answer(sentence=f"no answer: {exc.service} says {exc.code}", facts=facts, is_known=False)


async def end_left(bench: Bench) -> None:
    """End the contacts that an earlier run has left, found by their names.

    Raises:
        RemoteError: they cannot be looked for.
    """
    now = datetime.now(UTC)
    found = await again(lambda: bench.contacts.search(since=now - _LEFT, until=now + timedelta(minutes=5)))
    for contact in found:
        if contact.name.startswith(NAME) and not contact.has_ended:
            bench.note(contact.contact_id)
    await bench.end_all()
