"""Whether a daemon delivers from a spool, seen from outside.

Owns two looks that touch nothing: is the doorbell listened to, is the deliverer's lock held. The lock itself is
never tried, not for an instant: a deliverer that starts in that instant would be told that another one runs.
"""

from __future__ import annotations

from pathlib import Path

from relay.spool.local.layout import Layout
from relay.spool.local.wake import is_listening

_LOCKS = Path("/proc/locks")


def deliverer_runs(data_dir: Path) -> bool:
    """Whether a deliverer runs; True, too, where nobody can tell. Never blocks, never raises."""
    return is_listening(data_dir) or _is_locked(Layout(data_dir=data_dir).deliver_lock)


def _is_locked(path: Path) -> bool:
    """Whether somebody holds a lock (flock(2)) on the file; a deliverer has it before it listens.

    By the number of the file alone: on some file systems (btrfs, overlayfs) the kernel's list names another device
    than stat(2). One number on two devices, locked on the other, costs an operator a hint.
    """
    if not path.exists():
        return False
    try:
        number = path.stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return True
    # proc_locks(5): "1: FLOCK  ADVISORY  WRITE 4711 fe:00:2146638 0 EOF"; who waits for one has "->" first.
    return any(
        len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(number)
        for words in map(str.split, lines)
    )
