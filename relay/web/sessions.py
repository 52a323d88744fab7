"""The sessions of people who have signed in at the page by a form.

Owns the word that a browser shows in its cookie, and how long it counts. Sessions are in memory: when the
process of the page ends, people sign in again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Sessions that are kept, the newest.
_MOST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Somebody who has signed in."""

    name: str
    #: Of `People.find_hash` when the password was looked at: another password ends the session.
    hashed: str
    form_token: str
    ends_at: float


class Sessions:
    """The sessions of one process."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: By a digest of the word, so that the time of a look tells nothing of it.
        self._sessions: OrderedDict[bytes, SignedIn] = OrderedDict()

    def begin(self, name: str, hashed: str, *, seconds: float) -> str:
        """Begin a session. Returns its word."""
        word = secrets.token_urlsafe(32)
        self._sessions[_digest(word)] = SignedIn(
            name=name,
            hashed=hashed,
            form_token=secrets.token_urlsafe(24),
            ends_at=self._clock() + seconds,
        )
        if len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)
        return word

    def find(self, word: str) -> SignedIn | None:
        """The session of a word. Returns None for a word that is none, or is over."""
        found = self._sessions.get(_digest(word))
        if found is not None and self._clock() >= found.ends_at:
            self.end(word)
            return None
        return found

    def end(self, word: str) -> None:
        """End a session; a word that is none has none."""
        self._sessions.pop(_digest(word), None)


def _digest(word: str) -> bytes:
    return hashlib.sha256(word.encode("utf-8", "replace")).digest()
