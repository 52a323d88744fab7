"""The way out for alarms: a webhook, and an SNS topic where one is configured.

Owns how an alarm leaves the machine. Never says which mail it is about: only numbers and route names go out.
A telling that fails is logged and not tried again; the log line and the metric of the alarm are there all the same.
"""

from __future__ import annotations

from typing import Any

import aiohttp

from relay import telemetry
from relay.aws import remote_call
from relay.config.model import Alarms
from relay.errors import RemoteError
from relay.standing import Alarm

_SECONDS = 10.0


class AlarmSender:
    """Tells alarms to whoever the configuration names; `sns` is a client when a topic is named."""

    def __init__(self, config: Alarms, *, hostname: str, sns: Any = None) -> None:
        self._config = config
        self._hostname = hostname
        self._sns = sns

    async def tell(self, alarm: Alarm) -> None:
        """Send the alarm to all; never raises what a network can do."""
        telemetry.alarm_told(kind=alarm.kind, raised=alarm.raised, detail=alarm.detail)
        if self._config.webhook:
            await self._post(alarm)
        if self._config.sns_topic_arn and self._sns is not None:
            await self._publish(alarm)

    def _document(self, alarm: Alarm) -> dict[str, Any]:
        return {
            "host": self._hostname,
            "alarm": str(alarm.kind),
            "raised": alarm.raised,
            "detail": alarm.detail,
        }

    async def _post(self, alarm: Alarm) -> None:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.post(self._config.webhook, json=self._document(alarm)) as answer,
            ):
                if answer.status >= 300:
                    telemetry.alarm_untold(to="webhook", why=f"status {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            telemetry.alarm_untold(to="webhook", why=type(exc).__name__)

    async def _publish(self, alarm: Alarm) -> None:
        subject = f"relay on {self._hostname}: {alarm.kind}"[
            :100
        ]  # SNS API: Subject has at most 100 characters
        try:
            async with remote_call("sns", timeout_seconds=_SECONDS):
                await self._sns.publish(
                    TopicArn=self._config.sns_topic_arn, Subject=subject, Message=alarm.detail
                )
        except RemoteError as exc:
            telemetry.alarm_untold(to="sns", why=exc.code)
