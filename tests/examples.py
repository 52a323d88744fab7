"""How many examples Hypothesis tries: few in every run, thirty times as many in a campaign
(HYPOTHESIS_PROFILE=thorough).
"""

from __future__ import annotations

import os

#: The name of the profile that is loaded by conftest.py.
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fast")
TIMES = {"fast": 1, "thorough": 30}[PROFILE]


def examples(few: int) -> int:
    """So many in every run, and in proportion in a campaign."""
    return few * TIMES
