"""AUTH: the dialog of PLAIN and LOGIN, and the file of users.

Owns the mechanisms (RFC 4954, RFC 4616) and the users file: one `login:$argon2id$...` a line, read again when
it changes. AUTH is offered under TLS only, and only on trusted listeners. `Users.verify` blocks for as long
as the hash was made to take: use a thread.
"""

from __future__ import annotations

import binascii
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from relay import replies
from relay.vocabulary import Reply

# RFC 4954 §4: 12,288 octets of base64 at most.
AUTH_LINE = 12_288


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The login and password that a peer gives."""

    login: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A line to send, and the function that takes the peer's answer."""

    line: bytes
    answer: Callable[[bytes], Reply | Credentials | Challenge]


def begin_auth(argument: bytes) -> Reply | Credentials | Challenge:
    """The first step of AUTH, given its argument."""
    mechanism, _, initial = argument.partition(b" ")
    match mechanism.upper():
        case b"PLAIN":
            return _plain(initial) if initial else _challenge("", _plain)
        case b"LOGIN":
            return _login(initial) if initial else _challenge("Username:", _login)
        case b"":
            return replies.BAD_ARGUMENT
        case _:
            return replies.MECHANISM_UNKNOWN


def _challenge(text: str, answer: Callable[[bytes], Reply | Credentials | Challenge]) -> Challenge:
    words = replies.fill(replies.CHALLENGE, challenge=b64encode(text.encode()).decode())
    return Challenge(replies.build_reply(words), answer)


def _plain(line: bytes) -> Reply | Credentials:
    """The credentials of PLAIN (RFC 4616 §2): authorisation identity, login and password, with NUL between
    them.
    """
    told = _decode(line)
    if isinstance(told, Reply):
        return told
    parts = told.split(b"\0")
    if len(parts) != 3:
        return replies.BAD_BASE64
    if parts[0] not in (b"", parts[1]):
        return replies.BAD_CREDENTIALS  # a login may not act for another
    return Credentials(login=parts[1].decode("utf-8", "replace"), password=parts[2])


def _login(line: bytes) -> Reply | Challenge:
    login = _decode(line)
    if isinstance(login, Reply):
        return login

    def password(answer: bytes) -> Reply | Credentials:
        told = _decode(answer)
        if isinstance(told, Reply):
            return told
        return Credentials(login=login.decode("utf-8", "replace"), password=told)

    return _challenge("Password:", password)


def _decode(line: bytes) -> bytes | Reply:
    if line == b"*":
        return replies.AUTH_CANCELLED
    if line == b"=":
        return b""  # RFC 4954 §4: an empty initial response
    if len(line) > AUTH_LINE:
        return replies.AUTH_TOO_LONG
    try:
        return b64decode(line, validate=True)
    except binascii.Error:
        return replies.BAD_BASE64


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
