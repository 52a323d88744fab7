"""The steps by which a fleet's spool is made, as an operator is told of them.

Owns these words. Never does I/O.
"""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """A part of a fleet's spool that is there now."""

    subject: str
    #: True if this command has made it.
    is_new: bool
    detail: str
