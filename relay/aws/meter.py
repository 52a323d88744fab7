"""The calls and the capacity that a process asks of AWS for the spool of a fleet.

Owns the counts, by which what a mail costs is held (docs/fleet.md, "Cost"). Never does I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

#: The operations whose capacity units are those of writes; the others read.
_WRITES = frozenset({"put_item", "update_item", "delete_item", "transact_write_items"})


class Meter:
    """The counts of a process since its start."""

    def __init__(self) -> None:
        #: Calls by the name of the operation.
        self.calls: Counter[str] = Counter()
        #: Capacity units of DynamoDB, as its answers tell them: "read" and "write".
        self.units: Counter[str] = Counter()

    def add(self, operation: str, answer: Mapping[str, Any]) -> None:
        """Count a call by its answer."""
        self.calls[operation] += 1
        told = answer.get("ConsumedCapacity") or ()
        kind = "write" if operation in _WRITES else "read"
        for each in [told] if isinstance(told, Mapping) else told:
            units = each.get("CapacityUnits", 0.0) if isinstance(each, Mapping) else 0.0
            if isinstance(units, int | float):
                self.units[kind] += units  # type: ignore[assignment]  # halves of units are told, too
