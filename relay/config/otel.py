"""The keys of OpenTelemetry: whether the way of each mail is exported as spans, and to where.

Owns `[otel]`. The exporter's own settings (headers, certificates, time-outs, sampling) are the standard
environment variables of OpenTelemetry, which `relay.telemetry.otel` heeds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from relay.config.section import Section
from relay.config.words import check_url


def _check_collector(url: str) -> str:
    try:
        return check_url(url)
    except ValueError:
        raise ValueError('is no web address; write it like "http://127.0.0.1:4318/v1/traces"') from None


class Otel(Section):
    """The export of spans by OTLP over HTTP; needs the extra [otel]."""

    spans: bool = False
    #: The collector's whole URL for traces; "" leaves it to OTEL_EXPORTER_OTLP_ENDPOINT and its kin.
    endpoint: Annotated[str, AfterValidator(_check_collector)] | Literal[""] = ""
