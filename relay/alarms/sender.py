"""The sending of alarms: to a webhook, and to an SNS topic if one is configured.

Owns how an alarm leaves the machine, how often that is tried, and the memory of the alarms that were sent. An
alarm never says which mail it is about: it has numbers and route names only, and a
digest the ids of ten. An alarm that nobody takes for
`_PATIENCE_SECONDS` is given up; its log line and its metric are there all the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic as _steady
from typing import Any

from relay import telemetry
from relay.alarms.model import Alarm, Answer, Severity, build_state_json, parse_state_json
from relay.alarms.presets import build_post
from relay.alarms.webhook import send_post
from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import check_message_id
from relay.config.alarms import Alarms
from relay.errors import RemoteError
from relay.spool.interface import Outbox
from relay.spool.model import QueueState
from relay.timing import is_set_within

#: Time-out of one try, and the time that a stop of the relay waits for alarms.
_SECONDS = 10.0
#: Pauses between two tries, doubling from the least to the longest: a receiver that restarts is back within
#: the first, one that is repaired within the last.
_LEAST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
#: Age at which an alarm that nobody took is given up. Its cause is in the log and the metrics, and whoever
#: watches over the receiver has noticed by now.
_PATIENCE_SECONDS = 600.0
#: The answer where a reload left no receiver: nothing is owed any more.
_NOBODY = Answer(says="no receiver")


class AlarmMemory:
    """The state of the queue that alarms were last sent for, kept by the spool.

    So a restart neither repeats an alarm nor loses one.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._last = ""

    async def load(self) -> QueueState:
        """The state that an earlier process saved; one in which all is well when there is none."""
        try:
            return parse_state_json(await self._outbox.load_alarms())
        except ValueError:
            return QueueState()

    async def save(self, state: QueueState) -> None:
        """Save the state. If it cannot be written, its alarms are sent again after a restart."""
        text = build_state_json(state)
        if text != self._last and await self._outbox.save_alarms(text):
            self._last = text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """An alarm that waits to be sent."""

    alarm: Alarm
    document: dict[str, Any]
    #: Seconds of a clock that nobody can set.
    since: float


class _Way:
    """One receiver of alarms: each alarm is sent before its end, and tried again until it is taken.

    Of what is not taken yet, the newest raise and the newest end of each alarm are kept, so the queue is
    bounded.
    """

    def __init__(self, name: str, send: Callable[[dict[str, Any]], Awaitable[Answer]]) -> None:
        """`send` sends a document once, and returns the receiver's answer."""
        self._name = name
        self._send = send
        self._waiting: list[_Message] = []
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_telling(self) -> bool:
        """Returns whether an alarm waits to be taken."""
        return bool(self._waiting)

    def tell(self, message: _Message) -> None:
        """Queue an alarm behind those that wait, in place of an older one with the same subject."""
        same = _pair(message), message.alarm.raised
        self._waiting = [each for each in self._waiting if (_pair(each), each.alarm.raised) != same]
        self._waiting.append(message)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Try once more to send what waits, in ten seconds at most."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _LEAST_PAUSE_SECONDS
        while self._waiting:
            message = self._waiting[0]
            if why := await self._try(message):
                self._put_off(message, why)
                if self._closing.is_set():
                    return
                await is_set_within(self._closing, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                self._waiting = [each for each in self._waiting if each is not message]
                pause = _LEAST_PAUSE_SECONDS

    async def _try(self, message: _Message) -> str:
        try:
            return (await self._send(message.document)).why
        except Exception as exc:  # noqa: BLE001 - an unknown fault must not keep back all further alarms
            telemetry.fault_caught(where=f"alarms.{self._name}")
            return type(exc).__name__

    def _put_off(self, message: _Message, why: str) -> None:
        """Move the alarm that failed to the end of the queue, in case the receiver rejects only it.

        Give up alarms that are too old.
        """
        too_old = _steady() - _PATIENCE_SECONDS
        given_up = [each for each in self._waiting if each.since <= too_old]
        left = [each for each in self._waiting if each.since > too_old]
        self._waiting = sorted(left, key=lambda each: _pair(each) == _pair(message))
        if message not in given_up:
            telemetry.alarm_untold(to=self._name, why=why, kind=message.alarm.kind, given_up=False)
        for each in given_up:
            telemetry.alarm_untold(to=self._name, why=why, kind=each.alarm.kind, given_up=True)


def _pair(message: _Message) -> tuple[str, str]:
    """The key that an alarm and its end share."""
    return message.alarm.kind, message.alarm.subject


class AlarmSender:
    """The sender of alarms to the webhook and the topic of the configuration; the client `sns` publishes to
    the topic.
    """

    def __init__(
        self, config: Alarms, *, hostname: str, now: Callable[[], datetime], sns: Any = None
    ) -> None:
        self._config = config
        self._hostname = hostname
        self._now = now
        self._sns = sns
        self._webhook = _Way("webhook", self._post)
        self._topic = _Way("sns", self._publish)

    @property
    def is_telling(self) -> bool:
        """Returns whether an alarm waits to be taken by any receiver."""
        return self._webhook.is_telling or self._topic.is_telling

    def reload(self, config: Alarms, *, hostname: str) -> None:
        """Adopt other receivers from the next try on. One that is no longer named gets nothing more."""
        self._config = config
        self._hostname = hostname

    def tell(self, alarm: Alarm) -> None:
        """Send an alarm to all receivers without waiting for them.

        What is not taken is tried again for ten minutes.
        """
        telemetry.alarm_told(
            kind=alarm.kind,
            raised=alarm.raised,
            detail=alarm.detail,
            route=alarm.subject,
            count=alarm.count,
            mild=alarm.severity is Severity.WARNING,
        )
        message = _Message(alarm=alarm, document=self._document(alarm), since=_steady())
        if self._config.webhook:
            self._webhook.tell(message)
        if self._config.sns_topic_arn and self._sns is not None:
            self._topic.tell(message)

    async def try_once(self, alarm: Alarm) -> dict[str, Answer]:
        """Send an alarm to each receiver, once and now. Returns the answers by receiver."""
        document = self._document(alarm)
        answers = {}
        if self._config.webhook:
            answers["webhook"] = await self._post(document)
        if self._config.sns_topic_arn:
            answers["sns"] = await self._publish(document)
        return answers

    async def close(self) -> None:
        """Try once more to send what waits, in ten seconds at most."""
        await asyncio.gather(self._webhook.close(), self._topic.close())

    def _document(self, alarm: Alarm) -> dict[str, Any]:
        return {
            "host": self._hostname,
            "alarm": str(alarm.kind),
            "subject": alarm.subject,
            "raised": alarm.raised,
            "severity": str(alarm.severity),
            "detail": alarm.detail,
            **({"count": alarm.count} if alarm.count is not None else {}),
            "at": self._now().isoformat(),
        }

    async def _post(self, document: dict[str, Any]) -> Answer:
        if not self._config.webhook:
            return _NOBODY
        post = build_post(
            document, preset=self._config.webhook_preset, key=self._config.webhook_key, sent_at=self._now()
        )
        return await send_post(self._config.webhook, post, timeout_seconds=_SECONDS)

    async def _publish(self, document: dict[str, Any]) -> Answer:
        if not self._config.sns_topic_arn or self._sns is None:
            return _NOBODY
        kind, raised = document["alarm"], document["raised"]
        host = self._hostname.encode("ascii", "replace").decode()[
            :60
        ]  # SNS: ASCII, under 100 characters in all
        subject = f"relay on {host}: {kind}{'' if raised else ' ended'}"
        words = {"alarm": kind, "raised": json.dumps(raised)}
        try:
            async with remote_call("sns", timeout_seconds=_SECONDS):
                with readable_answer("sns"):
                    answer = await self._sns.publish(
                        TopicArn=self._config.sns_topic_arn,
                        Subject=subject,
                        Message=json.dumps(document),
                        MessageAttributes={
                            name: {"DataType": "String", "StringValue": word} for name, word in words.items()
                        },
                    )
            check_message_id(answer)
        except RemoteError as exc:
            return Answer(why=exc.code, says=f"{exc.code}: {exc.detail}" if exc.detail else exc.code)
        return Answer(says=f"MessageId {answer['MessageId']}")
