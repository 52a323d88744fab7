"""The tags of objects in S3: `routes[].s3_tags`.

Owns what S3 takes as a tag (S3 User Guide, "Categorizing your objects using tags"). Never calls it.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

#: The most tags of an object, and characters of a name and of a value.
_MOST: Final = 10
_NAME, _VALUE = 128, 256
_TAKEN = re.compile(r"[\w +\-=.:/@]*")


def check_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags, as S3 would take them.

    Raises:
        ValueError: with what would be right.
    """
    if len(tags) > _MOST:
        raise ValueError(f"has {len(tags)} tags, and S3 takes {_MOST} of an object; leave some out")
    for name, value in tags.items():
        if not name or len(name) > _NAME or len(value) > _VALUE:
            raise ValueError(
                f'"{name}" does not fit; S3 takes a name of {_NAME} characters at most and a value of {_VALUE}'
            )
        if not _TAKEN.fullmatch(name) or not _TAKEN.fullmatch(value):
            raise ValueError(
                f'"{name}" or its value has a character that S3 does not take; use letters, digits, blanks and + - = . _ : / @'
            )
        if name.lower().startswith("aws:"):
            raise ValueError(f'"{name}" begins as tags of AWS\'s own do; take another name')
    return tags


S3Tags = Annotated[dict[str, str], AfterValidator(check_tags)]
