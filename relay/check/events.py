"""The receiver of events, as `relay check` sees it: where events go, and what of them lies about.

Owns that examination. Tells no event, and calls nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from relay.check.finding import Finding, ok, warn
from relay.config import Config
from relay.errors import RelayError
from relay.spool.opening import open_desk


def examine_events(config: Config) -> Iterator[Finding]:
    """Examine the events, if they are told to anybody."""
    events = config.events
    if not events.is_on:
        return
    if events.eventbridge:
        yield ok("events", f"go to the bus {events.eventbridge} (allow events:PutEvents on it)")
    else:
        yield ok("events", f"go to {urlsplit(events.webhook).hostname}, signed")
    try:
        with closing(open_desk(config)) as desk:
            _, given_up = desk.feed()
    except RelayError:
        return  # the examination of the spool says why
    if given_up:
        yield warn("events", f"{given_up} were given up; look at the receiver, then run relay events retry")
