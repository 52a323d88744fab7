"""The budget of a session: the refusals, guesses and idle commands that its peer may cause.

Owns the counts of one session, and how accepted mail renews them. Never decides a reply, and never looks at
other sessions of the same peer: `limits` counts by address.
"""

from __future__ import annotations

from relay.config.model import Limits

#: Unknown recipients, and other refusals, of one session that are logged one by one, so that an attack fills
#: no disk.
_LOGGED_REFUSALS = 5
#: Wrong guesses between two accepted mails that are answered at once, and the delay of every further one.
_FREE_GUESSES = 5
_GUESS_SECONDS = 0.25
_LOGIN_TRIES = 3


class Budget:
    """The counts of one session."""

    __slots__ = ("_errors", "_guesses", "_idle", "_limits", "_login_tries", "_recipients", "messages")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._errors = self._guesses = self._idle = self._login_tries = self._recipients = 0
        #: Mails that came to their reply.
        self.messages = 0

    @property
    def overdrawn(self) -> bool:
        """Returns whether more commands were refused than a session may send."""
        return self._errors > self._limits.errors

    def count_error(self) -> bool:
        """Count a command that is refused. Returns whether it is logged by itself."""
        self._errors += 1
        return self._errors <= _LOGGED_REFUSALS

    def count_recipient(self) -> bool:
        """Count a recipient that is refused. Returns whether it is logged by itself."""
        self._recipients += 1
        return self._recipients <= _LOGGED_REFUSALS

    def count_guess(self) -> float:
        """Count a recipient that we do not have. Returns the seconds by which its reply is delayed."""
        self._guesses += 1
        return _GUESS_SECONDS if self._guesses > _FREE_GUESSES else 0.0

    def count_idle(self) -> bool:
        """Count a command that brings no mail. Returns whether the session may go on."""
        self._idle += 1
        return self._idle <= self._limits.idle_commands

    def count_login(self) -> bool:
        """Count a password that was wrong, or not looked at. Returns whether another may be tried."""
        self._login_tries += 1
        return self._login_tries < _LOGIN_TRIES

    def count_mail(self, *, accepted: bool) -> None:
        """Count a mail. Accepted mail renews the budget, as in Postfix, so the session of a mail server with
        a dead recipient in each mail goes on.
        """
        self.messages += 1
        if accepted:
            self._idle = self._errors = self._guesses = 0
