"""A table of the configuration: the rules that all tables share.

Owns them, and the bounds of every number: times of Python end in the year 9999, counts of the database at
2**63, so that a number without a bound of its own would fail while mail is delivered. Never knows any key.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

#: The most of each unit, by the end of a key's name: ten years, longer than anything is kept or waited for.
_MOST = {"_days": 3_650, "_hours": 87_600, "_minutes": 5_256_000, "_seconds": 315_360_000}
#: The most of any other number: an exabyte, well below the database's 2**63.
_MOST_OF_ANY = 10**18


class Section(BaseModel):
    """A table of the file: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _bound(cls, value: Any, info: ValidationInfo) -> Any:
        """The value, where it is no number or one that a machine can count."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            name = info.field_name or ""
            most = next((most for unit, most in _MOST.items() if name.endswith(unit)), _MOST_OF_ANY)
            if value > most:
                raise PydanticKnownError("less_than_equal", {"le": most})
        return value
