"""The fleet's spool as `relay check` and `relay fleet check` meet it.

Owns what is said of its clock; `relay.spool` knows the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.check.clock import judge
from relay.check.finding import Finding, fail
from relay.config import Config
from relay.errors import ConfigError
from relay.spool.administration import examine_fleet


def examine_shared(config: Config) -> Iterator[Finding]:
    """Examine the spool that the nodes of a fleet share, where there is one."""
    if not config.fleet.table:
        return
    try:
        examined = examine_fleet(config)
    except ConfigError as exc:
        yield from (fail("fleet", sentence) for sentence in exc.sentences)
        return
    yield from examined.findings
    if examined.ahead is not None:
        yield judge(examined.ahead, whose="DynamoDB")
