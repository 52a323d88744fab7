"""The memory of alarms: a file that says after a restart what of the queue a person was told last.

Owns `standing.json` as a file; `relay.alarms` owns what stands in it. Never raises: what cannot be kept is
told again.
"""

from __future__ import annotations

from pathlib import Path

from relay.spool.local.layout import FILE_MODE


def load_text(path: Path) -> str:
    """The text that was kept last; "" where there is none that can be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def save_text(path: Path, text: str) -> bool:
    """Keep the text in place of the last one. Returns whether it could be kept."""
    fresh = path.with_suffix(".new")
    try:
        fresh.touch(mode=FILE_MODE)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        return False
    return True
