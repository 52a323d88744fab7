"""What processes hold, before and after: for tests that look for leaks."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a process holds: open files, and octets of resident memory."""

    handles: int
    resident: int


def footprint_of(pid: int | str) -> Footprint:
    """Of a living process of this machine; "self" is ours."""
    process = Path("/proc") / str(pid)
    pages = int((process / "statm").read_text().split()[1])
    return Footprint(handles=len(list((process / "fd").iterdir())), resident=pages * resource.getpagesize())


def check_growth(
    before: Mapping[str, Footprint],
    after: Mapping[str, Footprint],
    *,
    handles: int = 36,  # 8 deliveries with 4 uploads each keep that many connections, and a few readers of the spool
    octets: int = 48 << 20,
) -> None:
    """Fail where a process holds more than it did, by more than kept connections and warm caches are."""
    assert before.keys() == after.keys()
    grown = {
        name: (after[name].handles - then.handles, after[name].resident - then.resident)
        for name, then in before.items()
    }
    print(
        ", ".join(
            f"{name} {more} handles and {octets >> 20} MiB more" for name, (more, octets) in grown.items()
        )
    )
    assert [name for name, (more, _) in grown.items() if more > handles] == [], grown
    assert [name for name, (_, more) in grown.items() if more > octets] == [], grown
