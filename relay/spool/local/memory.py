"""The memory of alarms: a file with the state of the queue that alarms were last sent for, for the next
start.

Owns `standing.json` as a file; `relay.alarms` owns its content. Never raises: alarms whose state cannot be
kept are sent again.
"""

from __future__ import annotations

from pathlib import Path

from relay.spool.local.layout import FILE_MODE


def load_text(path: Path) -> str:
    """The text that was kept last. Returns "" if there is none that can be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def save_text(path: Path, text: str) -> bool:
    """Replace the text that was kept. Returns whether it could be kept."""
    fresh = path.with_suffix(".new")
    try:
        fresh.touch(mode=FILE_MODE)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        return False
    return True
