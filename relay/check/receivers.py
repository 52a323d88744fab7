"""The receivers of alarms, tried: one alarm of the kind `test`, and its end.

Owns that examination. It calls a person, so it is made only when it is asked for (`relay check --alarm`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

from relay.alarms.model import Alarm
from relay.alarms.sender import AlarmSender
from relay.aws.clients import open_clients
from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.errors import ConfigError
from relay.timing import utc_now
from relay.vocabulary import AlarmKind

_RAISE = Alarm(
    kind=AlarmKind.TEST, raised=True, detail="relay check --alarm tries this way; nothing is wrong"
)
_END = Alarm(kind=AlarmKind.TEST, raised=False, detail="the test is over")


def examine_receivers(config: Config) -> Iterator[Finding]:
    """Send a test alarm, and its end, to each receiver of the configuration."""
    if not config.alarms.webhook and not config.alarms.sns_topic_arn:
        yield warn(
            "alarms", "no receiver is named: they are in the log and the metrics alone; set alarms.webhook"
        )
        return
    try:
        whys = asyncio.run(_try(config))
    except ConfigError as exc:
        yield from (fail("alarms", sentence) for sentence in exc.sentences)
        return
    for name, why in whys.items():
        key = {"webhook": "alarms.webhook", "sns": "alarms.sns_topic_arn"}[name]
        if why:
            yield fail(
                f"alarms {name}", f"did not take a test alarm ({why}); look at the receiver, or mend {key}"
            )
        else:
            yield ok(f"alarms {name}", "took a test alarm, and its end")


async def _try(config: Config) -> dict[str, str]:
    async with AsyncExitStack() as stack:
        sns = None
        if config.alarms.sns_topic_arn:
            sns = (await stack.enter_async_context(open_clients(config))).sns
        sender = AlarmSender(config.alarms, hostname=config.hostname, now=utc_now, sns=sns)
        raised = await sender.try_once(_RAISE)
        ended = await sender.try_once(_END)
    return {name: why or ended[name] for name, why in raised.items()}
