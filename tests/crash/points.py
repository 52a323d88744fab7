"""Every named step of the daemon, read from the code, and what makes a daemon pass by it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness import ROOT

#: Steps that no daemon of the campaign passes: nothing there renews a lease, because an attempt is shorter
#: than one; what the rules did is counted once a minute; a backup and its restoring are struck by
#: tests/spool/test_backup.py, and those of a fleet by tests/spool/fleet; rows of the audit are marked as told
#: within seconds of what a person did, at no step of its own; nobody is told of events there; the journal is
#: in use by nobody yet, and struck by tests/spool/journal.
NOT_IN_THE_DAEMON = frozenset(
    {
        "spool.renew.committed",
        "spool.counts.committed",
        "spool.told.committed",
        "spool.backup.copied",
        "spool.backup.written",
        "spool.restore.unpacked",
        "spool.restore.named",
        "journal.filled",
        "journal.made",
        "journal.begun",
        "journal.write",
        "journal.written",
        "journal.synced",
        "journal.imported",
        "fleet.put.stored",
        "fleet.put.committed",
        "fleet.import.announced",
        "fleet.import.stored",
        "fleet.import.committed",
        "fleet.import.removed",
        "fleet.import.remembered",
        "fleet.import.empty",
        "fleet.export.written",
        "fleet.export.removed",
        "fleet.export.empty",
        "spool.feed.committed",
    }
)


def points() -> frozenset[str]:
    """The names of all fault points in the code; the outbox builds some of its own from the name of a
    change.
    """
    texts = {path: path.read_text() for path in (ROOT / "relay").rglob("*.py")}
    plain = {name for text in texts.values() for name in re.findall(r'fault_point\("([a-z0-9_.]+)"', text)}
    outbox = texts[ROOT / "relay" / "spool" / "local" / "outbox.py"]
    changes = re.findall(r'_c(?:hange|ommitted)[(,]\s*"([a-z_]+)"', outbox)
    return frozenset(plain | {f"spool.{name}.committed" for name in changes})


@dataclass(frozen=True, kw_only=True)
class Strike:
    """How the daemon is brought to one step; mail of all sizes flows in any case."""

    point: str
    #: The errors that Connect answers next, by their names in the service model.
    errors: tuple[str, ...] = ()
    #: Configuration of this start, over the file's.
    env: dict[str, str] = field(default_factory=dict)
    #: A mail that the route's policy holds comes first.
    held: bool = False
    #: What says that a process was killed: a child of the daemon's, or a worker of the deliverer's.
    told: str = "child.ended"
    #: The first pass to be struck; a fresh worker passes by again, so that only its second mail is struck.
    first: int = 1
    #: The words of `relay` that pass by it, instead of the daemon; "{id}" is a held mail.
    command: tuple[str, ...] = ()
    #: Steps that are taken often are another moment at a later pass.
    often: bool = False


_SWEEPING = {"RELAY_ALARMS__EVERY_SECONDS": "0.02", "RELAY_SPOOL__RETAIN_DAYS": "0.00002"}
_GONE = "ResourceNotFoundException"
_REFUSED = "InvalidRequestException"
_BROKEN = "InternalServiceException"

#: In this order: the first one needs a folder without a spool.
STRIKES = (
    Strike(point="spool.migrated"),
    Strike(point="spool.transaction.ready", often=True),
    Strike(point="spool.put.ready", often=True),
    Strike(point="spool.put.committed", often=True),
    Strike(point="spool.raw.created", often=True),
    Strike(point="spool.raw.written", often=True),
    Strike(point="spool.raw.synced", often=True),
    Strike(point="spool.raw.folder_synced", often=True),
    Strike(point="spool.probed"),
    Strike(point="spool.recover.committed"),
    Strike(point="spool.claim.committed", often=True),
    Strike(point="runner.claimed", often=True),
    Strike(point="delivery.understand", told="worker.died", first=2, often=True),
    Strike(point="delivery.after_s3", often=True),
    Strike(point="spool.request.committed", often=True),
    Strike(point="delivery.before_connect", often=True),
    Strike(point="delivery.after_connect", often=True),
    Strike(point="spool.send.committed", errors=(_BROKEN,) * 20, often=True),
    Strike(point="spool.refuse.committed", errors=(_REFUSED,)),
    Strike(point="spool.rung.committed", errors=(_REFUSED,) * 60),
    Strike(point="spool.finish.committed", often=True),
    Strike(point="spool.defer.committed", errors=(_BROKEN,) * 20, often=True),
    Strike(point="spool.recall.committed", errors=(_BROKEN,) * 8),
    Strike(point="spool.hold_route.committed", errors=(_GONE,) * 4),
    Strike(point="spool.resume_route.committed", errors=(_GONE,)),
    Strike(point="spool.bury.committed", errors=(_BROKEN,) * 60, env={"RELAY_DELIVER__MAX_AGE_HOURS": "0.000001"}),
    Strike(point="spool.hold.committed", held=True),
    Strike(point="spool.desk.committed", held=True, command=("queue", "release", "{id}")),
    Strike(point="spool.drop.committed", held=True, command=("queue", "drop", "{id}")),
    Strike(point="spool.erase.committed", held=True, command=("erase", "{id}", "--yes", "--spool-only")),
    Strike(point="spool.audit.committed", held=True, command=("queue", "export", "{id}")),
    Strike(point="spool.clock.committed"),
    Strike(point="spool.expire.committed", env=_SWEEPING),
    Strike(point="spool.raw.removed", env=_SWEEPING),
)  # fmt: skip
