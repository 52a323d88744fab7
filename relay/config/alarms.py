"""The keys of alarms: who is told, in which shape, and when.

Owns `[alarms]`. Never shows a key that is a secret, wrong ones included.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.config.section import Section
from relay.config.words import check_topic, check_url

#: An integration key of PagerDuty's Events API v2.
_ROUTING_KEY = re.compile("[0-9A-Za-z]{32}")
#: The prefix of a secret, and the octets that it has (Standard Webhooks, "Signature scheme").
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, and none
_SECRET_BYTES = range(24, 65)

Preset = Literal["generic", "slack", "pagerduty", "teams"]


class Alarms(Section):
    """The receivers of alarms besides the log and the metrics, and their thresholds."""

    webhook: Annotated[str, AfterValidator(check_url)] | Literal[""] = ""
    webhook_preset: Preset = "generic"
    webhook_key: str = Field(default="", repr=False)
    sns_topic_arn: Annotated[str, AfterValidator(check_topic)] | Literal[""] = ""
    oldest_minutes: float = Field(default=60.0, gt=0)
    every_seconds: float = Field(default=15.0, gt=0, le=3_600)


def decode_secret(key: str) -> bytes | None:
    """The octets of the secret that signs posts (Standard Webhooks). Returns None for a text that is none."""
    try:
        secret = b64decode(key.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return secret if key.startswith(_SECRET_PREFIX) and len(secret) in _SECRET_BYTES else None


def torn_webhook(alarms: Alarms) -> Iterator[str]:
    """The sentences for a key of the webhook that its preset does not take; none of them shows the key."""
    preset, key = alarms.webhook_preset, alarms.webhook_key
    if not alarms.webhook and (preset != "generic" or key):
        yield "alarms.webhook_preset and alarms.webhook_key: need alarms.webhook; name the address that takes the alarms"
    if preset == "generic" and key and decode_secret(key) is None:
        yield (
            'alarms.webhook_key: is no secret of Standard Webhooks; write "whsec_" and 24 to 64 octets in base64, '
            "as `openssl rand -base64 32` makes them"
        )
    elif preset == "pagerduty" and not _ROUTING_KEY.fullmatch(key):
        yield (
            "alarms.webhook_key: is no integration key of PagerDuty's Events API v2; "
            "write the 32 letters and digits that the integration shows"
        )
    elif preset in ("slack", "teams") and key:
        yield f'alarms.webhook_key: is not used by alarms.webhook_preset = "{preset}", whose address is the secret; remove it'
