"""The examination of `relay check`: everything that can be wrong, in the order in which a mail would meet it.

Owns which examinations there are. Changes nothing but one small object in the bucket, and calls nobody unless
it is told to. The certificate, the listeners and the bucket are looked at from outside, as a peer or Connect
meets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relay.check.certificate import examine_certificate
from relay.check.collector import examine_collector
from relay.check.dns import examine_dns, examine_lists
from relay.check.domains import examine_domains
from relay.check.events import examine_events
from relay.check.finding import Finding, fail, ok
from relay.check.machine import examine_data_dir, examine_files, examine_library, examine_spool
from relay.check.page import examine_page
from relay.check.ports import examine_ports
from relay.check.rules import (
    examine_destinations,
    examine_hostname,
    examine_rates,
    examine_routes,
    examine_standby,
    examine_trust,
)
from relay.check.sandboxing import examine_places, is_made
from relay.check.scanners import examine_scanners
from relay.check.secrets import examine_secrets
from relay.check.senders import examine_list_files, examine_list_tables
from relay.check.socket_unit import find_socket_unit
from relay.check.unit import Unit
from relay.config import Config
from relay.config.load import check_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service in whose place the examination is made: its unit, and its configuration's file."""

    unit: Unit
    file: Path


def examine(
    config: Config,
    *,
    now: datetime,
    remote: bool = True,
    alarm: bool = False,
    service: Service | None = None,
) -> Iterator[Finding]:
    """Run every examination, and give each finding as soon as it is known. With `remote`, DNS and AWS are
    asked, too; with `alarm`, the receivers of alarms get a test; with `service`, its unit counts.
    """
    if service is not None:
        yield from examine_places(config, service.unit, service.file)
    yield from examine_routes(config)
    yield from examine_destinations(config)
    yield from examine_standby(config)
    yield from examine_trust(config)
    yield from examine_rates(config)
    yield examine_hostname(config.hostname)
    wrong = check_files(config)
    made = service is not None and is_made(config.data_dir, service.unit)
    if made:
        wrong = tuple(each for each in wrong if not each.startswith("data_dir "))
        yield ok(
            "data_dir",
            f"{config.data_dir} is not there yet; systemd makes it at the start (StateDirectory=)",
        )
    yield from (fail("files", sentence) for sentence in wrong)
    yield from examine_secrets(config)
    yield from examine_page(config)
    if not any(sentence.startswith("tls.") for sentence in wrong):
        yield from examine_certificate(config, now=now)
    if not made and not any(sentence.startswith("data_dir ") for sentence in wrong):
        yield from examine_data_dir(config)
        yield from examine_spool(config)
    yield from examine_events(config)
    yield from examine_list_files(config)
    yield examine_library()
    yield examine_files(config.limits.connections)
    sockets = find_socket_unit(service.unit.name) if service is not None else None
    yield from examine_ports(config, sockets)
    if remote:
        yield from examine_dns(config)
        yield from examine_lists(config)
        yield from examine_domains(config)
        yield from examine_scanners(config)
        yield from examine_collector(config)
        yield from examine_list_tables(config)
        # The AWS libraries take most of a second to load; --offline does without.
        from relay.check.aws import examine_aws  # noqa: PLC0415 - see above
        from relay.check.fleet import examine_shared  # noqa: PLC0415 - see above

        yield from examine_aws(config, now=now)
        yield from examine_shared(config)
    if alarm:
        from relay.check.receivers import examine_receivers  # noqa: PLC0415 - see above

        yield from examine_receivers(config)
