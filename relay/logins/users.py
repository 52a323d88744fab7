"""The users file: who may log in, with which password.

Owns its form, one `login:$argon2id$...` a line: it is read again when it changes, and `relay passwd` changes
it. Calls block, `Users.verify` for as long as the hash was made to take: use a thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from relay.rewriting import rewrite_lines

#: Nobody but the owner and the group reads the hashes.
_MODE = 0o640


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The login and password that a peer gives."""

    login: str
    password: bytes = field(repr=False)


class Users:
    """The users file, as it was read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._hasher = PasswordHasher()
        self._seen: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}
        self._nobody = ""

    def verify(self, credentials: Credentials) -> bool:
        """Returns whether login and password belong together. Blocks.

        Raises:
            OSError: the file cannot be read, and never could.
        """
        with self._lock:
            self._refresh()
            # An unknown login costs as much time as a known one, so that the time does not tell which logins
            # exist.
            self._nobody = self._nobody or self._hasher.hash("nobody has this password")
            known = self._hashes.get(credentials.login)
        try:
            good = self._hasher.verify(known or self._nobody, credentials.password)
        except (Argon2Error, ValueError):  # ValueError: the file has no hash there
            return False
        return good and known is not None

    def find_hash(self, login: str) -> str:
        """The hash of a login's password; "" for no login. Blocks for a look at the file.

        Raises:
            OSError: as `verify`.
        """
        with self._lock:
            self._refresh()
            return self._hashes.get(login, "")

    def count(self) -> int:
        """The number of logins. Blocks for a look at the file.

        Raises:
            OSError: as `verify`.
        """
        with self._lock:
            self._refresh()
            return len(self._hashes)

    def _refresh(self) -> None:
        """Read the file again when it has changed. When that fails, the users read last stay in force."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._hashes = dict(_parse_users(self._path.read_text(encoding="utf-8", errors="replace")))
                self._seen = seen
        except OSError:
            if self._seen is None:
                raise


def _parse_users(text: str) -> list[tuple[str, str]]:
    """The pairs of login and hash. Empty lines and those that begin with # are skipped."""
    found = []
    for line in text.splitlines():
        login, colon, hashed = line.strip().partition(":")
        if colon and login and not login.startswith("#"):
            found.append((login, hashed.strip()))
    return found


def set_password(path: Path, login: str, password: bytes) -> bool:
    """Give a login this password; the file is made if it is missing. Returns whether the login is new.

    Raises:
        OSError: the file cannot be read or written.
    """
    line = f"{login}:{PasswordHasher().hash(password)}\n".encode()
    known = False

    def change(lines: list[bytes]) -> list[bytes]:
        nonlocal known
        others = [each if each.endswith(b"\n") else each + b"\n" for each in lines if not _is_of(each, login)]
        known = len(others) < len(lines)
        return [*others, line]

    rewrite_lines(path, change, mode=_MODE)
    return not known


def remove_login(path: Path, login: str) -> bool:
    """Remove a login. Returns whether there was one.

    Raises:
        OSError: the file cannot be read or written.
    """
    return rewrite_lines(path, lambda lines: [each for each in lines if not _is_of(each, login)], mode=_MODE)


def _is_of(line: bytes, login: str) -> bool:
    return any(found == login for found, _ in _parse_users(line.decode("utf-8", "replace")))
