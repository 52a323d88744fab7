"""The keys of events: to whom the relay tells what becomes of each mail.

Owns `[events]` (docs/events.md). Never shows the secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from relay.config.alarms import decode_secret
from relay.config.section import Section
from relay.config.words import check_url, fits
from relay.networks import is_loopback

#: A bus by its name or its ARN (EventBridge API, PutEventsRequestEntry: EventBusName).
_check_bus = fits(
    r"(arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/)?[A-Za-z0-9/._-]{1,256}",
    'is no bus of EventBridge; write its name or its ARN, as in "default"',
)


def _check_safe_url(value: str) -> str:
    """The URL of a webhook: https, or http on this machine."""
    parts = urlsplit(check_url(value))
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError('is not encrypted; write it like "https://events.example.com/relay"')
    return value


class Events(Section):
    """The receiver of events."""

    eventbridge: Annotated[str, AfterValidator(_check_bus)] | Literal[""] = ""
    webhook: Annotated[str, AfterValidator(_check_safe_url)] | Literal[""] = ""
    webhook_key: str = Field(default="", repr=False)
    max_tries: int = Field(default=40, ge=1, le=1_000)

    @property
    def is_on(self) -> bool:
        """Returns whether there is a receiver."""
        return bool(self.eventbridge or self.webhook)


def torn_events(events: Events, *, is_fleet: bool) -> Iterator[str]:
    """The sentences for keys of events that do not go together; none of them shows the secret."""
    if events.eventbridge and events.webhook:
        yield "events.eventbridge and events.webhook: there is one receiver; leave one of them out"
    if events.webhook and decode_secret(events.webhook_key) is None:
        yield (
            'events.webhook_key: is no secret of Standard Webhooks; write "whsec_" and 24 to 64 octets in base64, '
            "as `openssl rand -base64 32` makes them"
        )
    if events.webhook_key and not events.webhook:
        yield "events.webhook_key: needs events.webhook; name the address that takes the events"
    if events.is_on and is_fleet:
        yield "events: a fleet keeps no events yet; leave out [events], or [fleet]"
