"""The scanners as `relay check` meets them: each is asked whether it is there.

Owns those examinations. No mail is scanned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config

#: Seconds for the answer of a scanner that has nothing else to do.
_SECONDS = 5.0


def examine_scanners(config: Config) -> Iterator[Finding]:
    """Examine whether each scanner of the configuration answers. Without one, mail is not scanned, or not
    taken.
    """
    clamd, rspamd = config.scan.clamd, config.scan.rspamd
    if clamd.address:
        from relay.scan.clamd import ping_clamd  # noqa: PLC0415 - only who has a scanner needs its client

        there = asyncio.run(ping_clamd(clamd.address, seconds=min(clamd.seconds, _SECONDS)))
        yield _tell(config, "clamd", clamd.address, there)
    if rspamd.url:
        from relay.scan.rspamd import ping_rspamd  # noqa: PLC0415 - see above

        there = asyncio.run(ping_rspamd(rspamd.url, seconds=min(rspamd.seconds, _SECONDS)))
        yield _tell(config, "rspamd", rspamd.url, there)


def _tell(config: Config, name: str, place: str, there: bool) -> Finding:
    subject = f"{name} {place}"
    if there:
        return ok(subject, "answers")
    key = "scan.clamd.address" if name == "clamd" else "scan.rspamd.url"
    if config.scan.on_unavailable == "defer":
        return fail(
            subject,
            f'does not answer, and scan.on_unavailable = "defer" keeps all mail out; start it, or mend {key}',
        )
    return warn(subject, f"does not answer, and mail is taken unscanned; start it, or mend {key}")
