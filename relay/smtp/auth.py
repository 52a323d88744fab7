"""AUTH: the dialog of PLAIN and LOGIN.

Owns the mechanisms (RFC 4954, RFC 4616). AUTH is offered under TLS only, and only on trusted listeners;
`relay.logins.users` knows the logins.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass

from relay import replies
from relay.logins.users import Credentials
from relay.vocabulary import Reply

# RFC 4954 §4: 12,288 octets of base64 at most.
AUTH_LINE = 12_288


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
