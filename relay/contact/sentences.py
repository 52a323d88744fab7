"""Codes that carry the sentence which documents them: the base of every closed list of codes.

Owns how a member of such a list is made. Holds no code itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class DocumentedCode(StrEnum):
    """A code; each value carries the sentence that documents it."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> Self:
        """A member whose value is its code, so that it compares and prints as the code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member
