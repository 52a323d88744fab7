"""The collector of spans as `relay check` meets it: it is sent an export without any.

Owns that examination. No mail depends on a collector, so that nothing here fails.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from relay.check.finding import Finding, ok, warn
from relay.config import Config

#: Seconds for its answer, tries included.
_SECONDS = 5.0


def examine_collector(config: Config) -> Iterator[Finding]:
    """Examine whether the collector takes spans, where they are exported. A missing extra is told with the
    files.
    """
    if not config.otel.spans:
        return
    try:
        # The SDK takes a third of a second to load, and may not be there.
        otel = importlib.import_module("relay.telemetry.otel")
    except ImportError:
        return
    subject = f"spans {config.otel.endpoint}".rstrip()
    if otel.is_turned_off():
        yield warn(
            subject,
            "OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER turns them off; remove it, or set otel.spans = false",
        )
        return
    if otel.ask_collector(config.otel, seconds=_SECONDS):
        yield ok(subject, "the collector takes them")
    else:
        yield warn(
            subject,
            "the collector does not take them, and they are dropped; start it, or mend otel.endpoint or the "
            "OTEL_EXPORTER_OTLP_ variables",
        )
