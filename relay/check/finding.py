"""What an examination finds: a subject, a level, a sentence.

Owns the words of `relay check`. Never does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: Mail flows, and something should be looked at; or nobody could tell.
    WARN = "warn"
    #: Mail will not flow, or not all of it.
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `relay check`."""

    level: Level
    #: What was looked at: "certificate", "listener 0.0.0.0:25", "bucket".
    subject: str
    #: One sentence; for a fail, with what to do.
    detail: str


def ok(subject: str, detail: str) -> Finding:
    """A finding that all is well."""
    return Finding(level=Level.OK, subject=subject, detail=detail)


def warn(subject: str, detail: str) -> Finding:
    """A finding to look at."""
    return Finding(level=Level.WARN, subject=subject, detail=detail)


def fail(subject: str, detail: str) -> Finding:
    """A finding that stops mail."""
    return Finding(level=Level.FAIL, subject=subject, detail=detail)
