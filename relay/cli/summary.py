"""The command `relay queue summary`: the number of entries by route and age.

Owns the histogram's columns. Never changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import click

from relay.cli import config_option
from relay.cli.entries import echo, echo_json, json_option, open_view, printable
from relay.cli.filters import find_tenant
from relay.cli.records import build_paused
from relay.cli.waiting import limit_paused, pause_sentences
from relay.spool.model import Backlog, Filter, Paused, State
from relay.timing import utc_now

#: The columns, doubling as in qshape(1): 5 minutes to 42 hours, then the rest.
_AGES = tuple(timedelta(minutes=5 * 2**step) for step in range(10))


@click.command("summary", short_help="Count what waits by route and age.")
@config_option
@click.option("--tenant", metavar="NAME", help="Only routes of this tenant.")
@json_option
def summary_command(config_path: str | None, tenant: str | None, *, as_json: bool) -> None:
    """Count what waits by route and age, in minutes (as qshape does), and say what stands still."""
    now = utc_now()
    with open_view(config_path) as view:
        routes = None if tenant is None else find_tenant(view.tenants, tenant)
        backlogs = view.desk.backlog(limits=_AGES, now=view.desk.now())
        backlogs = [each for each in backlogs if routes is None or each.route in routes]
        counts = view.desk.tally(Filter(routes=routes))
        paused = limit_paused(view.desk.paused(), routes)
        attended = view.desk.attended()
    if as_json:
        echo_json(_summary_record(backlogs, counts, paused))
        return
    heads = [str(int(limit.total_seconds() // 60)) for limit in _AGES]
    lines = [
        f"{'route':<30}{'total':>7}" + "".join(f"{head:>6}" for head in [*heads, f"{heads[-1]}+"]) + "  dead"
    ]
    for backlog in backlogs:
        row = f"{printable(backlog.route)[:29]:<30}{sum(backlog.ages):>7}"
        lines.append(row + "".join(f"{age:>6}" for age in backlog.ages) + f"{backlog.dead:>6}")
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items()))
    lines += pause_sentences(paused, now, attended=attended)
    echo(*lines)


def _summary_record(
    backlogs: Sequence[Backlog], counts: Mapping[State, int], paused: Paused
) -> dict[str, Any]:
    return {
        "counts": {str(state): count for state, count in counts.items()},
        "age_limits_seconds": [int(limit.total_seconds()) for limit in _AGES],
        "routes": [
            {
                "route": backlog.route,
                "queued": backlog.queued,
                "leased": backlog.leased,
                "held": backlog.held,
                "dead": backlog.dead,
                "ages": list(backlog.ages),
                "oldest_accepted_at": backlog.oldest_at.isoformat() if backlog.oldest_at else None,
            }
            for backlog in backlogs
        ],
        "paused": build_paused(paused),
    }
