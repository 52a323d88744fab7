"""The way out for alarms: a webhook, and an SNS topic where one is configured.

Owns how an alarm leaves the machine, and what was told last. Never says which mail it is about: only numbers and route names go out.
A telling that fails is logged and not tried again; the log line and the metric of the alarm are there all the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from relay import telemetry
from relay.aws import remote_call
from relay.config.model import Alarms
from relay.errors import RemoteError
from relay.standing import Alarm, Standing, build_standing_json, parse_standing_json

_SECONDS = 10.0


class AlarmMemory:
    """What was told of last, kept in a file: a restart neither repeats an alarm nor swallows one."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "standing.json"
        self._last = ""

    def load(self) -> Standing:
        """The standing at the last look of whoever ran before; one in which all is well when nobody did."""
        try:
            return parse_standing_json(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Standing()

    def save(self, standing: Standing) -> None:
        """Keep it; what cannot be kept is told again after a restart."""
        text = build_standing_json(standing)
        if text == self._last:
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.touch(mode=0o600)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._path)
        except OSError:
            return
        self._last = text


class AlarmSender:
    """Tells alarms to whoever the configuration names, to a topic by way of the client `sns`."""

    def __init__(
        self, config: Alarms, *, hostname: str, now: Callable[[], datetime], sns: Any = None
    ) -> None:
        self._config = config
        self._hostname = hostname
        self._now = now
        self._sns = sns

    def reload(self, config: Alarms, *, hostname: str) -> None:
        """From the next alarm on, tell others."""
        self._config = config
        self._hostname = hostname

    async def tell(self, alarm: Alarm) -> None:
        """Send the alarm to all, in ten seconds at most; never raises what a network can do."""
        telemetry.alarm_told(
            kind=alarm.kind, raised=alarm.raised, detail=alarm.detail, route=alarm.subject, count=alarm.count
        )
        document = self._document(alarm)
        ways = []
        if self._config.webhook:
            ways.append(self._post(document))
        if self._config.sns_topic_arn:
            ways.append(self._publish(document))
        await asyncio.gather(*ways)

    def _document(self, alarm: Alarm) -> dict[str, Any]:
        return {
            "host": self._hostname,
            "alarm": str(alarm.kind),
            "subject": alarm.subject,
            "raised": alarm.raised,
            "detail": alarm.detail,
            **({"count": alarm.count} if alarm.count is not None else {}),
            "at": self._now().isoformat(),
        }

    async def _post(self, document: dict[str, Any]) -> None:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.post(self._config.webhook, json=document) as answer,
            ):
                if answer.status >= 300:
                    telemetry.alarm_untold(to="webhook", why=f"status {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            telemetry.alarm_untold(to="webhook", why=type(exc).__name__)

    async def _publish(self, document: dict[str, Any]) -> None:
        kind, raised = document["alarm"], document["raised"]
        host = self._hostname.encode("ascii", "replace").decode()[
            :60
        ]  # SNS: ASCII, under 100 characters in all
        subject = f"relay on {host}: {kind}{'' if raised else ' ended'}"
        words = {"alarm": kind, "raised": json.dumps(raised)}
        try:
            async with remote_call("sns", timeout_seconds=_SECONDS):
                await self._sns.publish(
                    TopicArn=self._config.sns_topic_arn,
                    Subject=subject,
                    Message=json.dumps(document),
                    MessageAttributes={
                        name: {"DataType": "String", "StringValue": word} for name, word in words.items()
                    },
                )
        except RemoteError as exc:
            telemetry.alarm_untold(to="sns", why=exc.code)
