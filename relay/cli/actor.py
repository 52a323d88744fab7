"""The person at the terminal, as the audit names them.

Owns the order of what is asked: the name that sudo passes on, the login of the session as the kernel knows it
(/proc/self/loginuid, which a login sets once), the user of the process. A variable can say anything, so where
the kernel knows another login, the audit has both.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

_LOGIN = Path("/proc/self/loginuid")
#: The login that was never set: (uid_t) -1.
_UNSET = 2**32 - 1


def find_actor(
    environ: Mapping[str, str] = os.environ, *, login: Path = _LOGIN, user: int | None = None
) -> str:
    """The name of the person, "ann" or "ann (login bob)". `user` is by default that of this process."""
    logged_in = _name_of(_read_login(login))
    said = environ.get("SUDO_USER", "").strip()
    if said:
        return said if logged_in in {"", said} else f"{said} (login {logged_in})"
    return logged_in or _name_of(os.getuid() if user is None else user)


def _read_login(path: Path) -> int | None:
    """The user who logged in. Returns None for a process that descends from no login."""
    try:
        number = int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == _UNSET else number


def _name_of(user: int | None) -> str:
    if user is None:
        return ""
    try:
        return pwd.getpwuid(user).pw_name
    except (KeyError, OverflowError):
        return f"uid {user}"
