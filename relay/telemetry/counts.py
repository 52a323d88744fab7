"""The counts of rules of the policy that mails of this process met, until the spool takes them.

Owns them between two writes, a minute apart. A process that is killed loses those of its last minute.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

#: Day, rule, action, whether it is observed, route, domain.
Key = tuple[str, str, str, bool, str, str]
#: Keys that are kept; past that all domains are one.
_MOST = 5_000
_counts: Counter[Key] = Counter()


def add_count(*, rule: str, action: str, observe: bool, route: str, domain: str) -> None:
    """Count a mail that meets a rule."""
    day = datetime.now(UTC).date().isoformat()
    key = (day, rule, action, observe, route, domain)
    if len(_counts) >= _MOST and key not in _counts:
        key = (day, rule, action, observe, route, "other")
    _counts[key] += 1


def take_counts() -> list[tuple[Key, int]]:
    """The counts since the last call."""
    taken = list(_counts.items())
    _counts.clear()
    return taken
