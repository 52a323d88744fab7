"""The findings of `relay check`: a subject, a level, a sentence.

Owns these words. Never does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    #: Mail flows, but something should be looked at; or it could not be examined.
    WARN = "warn"
    #: Mail does not flow, or not all of it.
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line of `relay check`."""

    level: Level
    #: The thing examined: "certificate", "listener 0.0.0.0:25", "bucket".
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
