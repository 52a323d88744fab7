"""The mail that the policy holds: when a person is told of it, and the daily digest.

Owns the alarm `policy_held`. A rule that holds is the operator's own, and may hold mail all day: told at each
mail it would be muted, and the alarms that matter with it. Never does I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from relay.alarms.model import Alarm
from relay.spool.model import BY_POLICY, Entry, QueueState
from relay.vocabulary import AlarmKind

#: Holds that one look reads: each costs SQLite some seven steps, and a look may take a thousand.
HOLDS_PER_LOOK = 100
#: Entries whose reasons a digest counts, and those that it names.
DIGEST_ENTRIES = 1_000
_NAMED = 10
#: Seconds between two tellings of new holds, and between two digests.
_HOUR = 3_600.0
_DAY = 86_400.0


def note_holds(
    before: QueueState, seen: QueueState, holds: Sequence[tuple[datetime, str]], *, now: datetime
) -> QueueState:
    """The state of the queue with what is to be told of its holds. `holds` are those after
    `before.held_seen`, `HOLDS_PER_LOOK` at most; the next look goes on behind them.

    New holds of the policy are told at once, and from then on once an hour at most.
    """
    if not seen.held:
        return replace(seen, held_seen=before.held_seen)
    others = [at.timestamp() for at, reason in holds if not reason.startswith(BY_POLICY)]
    untold = before.policy_untold or len(others) < len(holds)
    told_at, digest_at, instant = before.policy_told_at, before.digest_at, now.timestamp()
    if untold and _is_due(told_at, instant, _HOUR):
        untold, told_at = False, instant
        digest_at = digest_at or instant
    if digest_at and _is_due(digest_at, instant, _DAY):
        digest_at = instant
    return replace(
        seen,
        held_seen=holds[-1][0].timestamp() if holds else before.held_seen,
        newest_other_held=others[-1] if others else before.newest_other_held,
        policy_untold=untold,
        policy_told_at=told_at,
        digest_at=digest_at,
    )


def _is_due(last: float, now: float, seconds: float) -> bool:
    """Returns whether so many seconds have passed since `last`, or a clock that was set back hides it."""
    return not 0 <= now - last < seconds


def is_digest_due(before: QueueState, now: QueueState) -> bool:
    """Returns whether a day has passed since the digest before, or since the first hold was told."""
    return bool(before.digest_at) and now.digest_at > before.digest_at


def build_digest(
    entries: Sequence[Entry], *, held: int, max_hold_hours: float, now: datetime
) -> Alarm | None:
    """The digest of held mail: the number, the ages, the reasons, the ten oldest, and what to do.

    `entries` are the held ones, the oldest first, `DIGEST_ENTRIES` at most. Returns None if there is none.
    """
    if not entries:
        return None
    reasons = Counter(entry.reason or "none" for entry in entries).most_common()
    left = entries[0].accepted_at + timedelta(hours=max_hold_hours) - now
    some = f" (of the oldest {len(entries):,})" if held > len(entries) else ""
    lines = (
        f"{held:,} held mail{'' if held == 1 else 's'}, the oldest for {_days(now - entries[0].accepted_at)}",
        f"reasons{some}: {', '.join(f'{reason} {count:,}' for reason, count in reasons[:_NAMED])}",
        *(
            f"{entry.reference}: {entry.reason or 'none'}, for {_days(now - entry.accepted_at)}"
            for entry in entries[:_NAMED]
        ),
        f"the oldest becomes a dead letter in {_days(max(left, timedelta()))} (deliver.max_hold_hours)",
        "see relay queue list --state held; release by relay queue release ID, or drop by relay queue drop ID",
    )
    return Alarm(kind=AlarmKind.POLICY_HELD, raised=True, detail="\n".join(lines), count=held)


def _days(span: timedelta) -> str:
    return f"{span.total_seconds() / _DAY:.1f} days"
