"""The receivers of alarms, tried: one alarm of the kind `test`, and its end.

Owns that examination. It calls a person, so it is made only when it is asked for (`relay check --alarm`,
`relay alarms test`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from relay.alarms.model import Alarm, Answer
from relay.alarms.sender import AlarmSender
from relay.aws.clients import open_clients
from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.errors import ConfigError
from relay.timing import utc_now
from relay.vocabulary import AlarmKind

_RAISE = Alarm(
    kind=AlarmKind.TEST, raised=True, detail="somebody tries the receivers of alarms; nothing is wrong"
)
_END = Alarm(kind=AlarmKind.TEST, raised=False, detail="the test is over")
_KEYS = {"webhook": "alarms.webhook", "sns": "alarms.sns_topic_arn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The answers of one receiver to a test alarm and to its end."""

    #: "webhook" or "sns".
    receiver: str
    raised: Answer
    ended: Answer

    @property
    def why(self) -> str:
        """The reason why one of the two was not taken; "" if both were."""
        return self.raised.why or self.ended.why

    @property
    def key(self) -> str:
        """The key of the configuration that names the receiver."""
        return _KEYS[self.receiver]


def examine_receivers(config: Config) -> Iterator[Finding]:
    """Send a test alarm, and its end, to each receiver of the configuration."""
    if not config.alarms.webhook and not config.alarms.sns_topic_arn:
        yield warn(
            "alarms", "no receiver is named: they are in the log and the metrics alone; set alarms.webhook"
        )
        return
    try:
        tried = try_receivers(config)
    except ConfigError as exc:
        yield from (fail("alarms", sentence) for sentence in exc.sentences)
        return
    for each in tried:
        subject = f"alarms {each.receiver}"
        if each.why:
            yield fail(
                subject, f"did not take a test alarm ({each.why}); look at the receiver, or mend {each.key}"
            )
        else:
            yield ok(subject, "took a test alarm, and its end")


def try_receivers(config: Config) -> tuple[Tried, ...]:
    """Send a test alarm, and its end, to each receiver of the configuration. Returns the answers; none if no
    receiver is named.

    Raises:
        ConfigError: a topic is named, and no Region or no usable endpoint.
    """
    return asyncio.run(_try(config))


async def _try(config: Config) -> tuple[Tried, ...]:
    async with AsyncExitStack() as stack:
        sns = None
        if config.alarms.sns_topic_arn:
            sns = (await stack.enter_async_context(open_clients(config))).sns
        sender = AlarmSender(config.alarms, hostname=config.hostname, now=utc_now, sns=sns)
        raised = await sender.try_once(_RAISE)
        ended = await sender.try_once(_END)
    return tuple(Tried(receiver=name, raised=answer, ended=ended[name]) for name, answer in raised.items())
