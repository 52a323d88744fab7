"""A question of `relay check --live`, with its cost and what it makes.

Owns this value. Never asks: `run` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay.check.live.bench import Bench
from relay.check.live.model import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, and the test that answers it."""

    name: str
    text: str
    #: The most contacts that it starts, and the octets that it puts into the bucket.
    contacts: int
    octets: int = 0
    #: Actions beside StartEmailContact and StopContact that it needs.
    needs: tuple[str, ...] = ()
    #: Further effects on the account, in words for the operator who is asked before.
    effect: str = ""
    ask: Callable[[Bench], Awaitable[Answer]]

    def describe(self, price_usd: float) -> str:
        """The question on one line, with its cost and what it makes."""
        cost = f"at most {self.contacts} contact{'' if self.contacts == 1 else 's'}, {self.contacts * price_usd:.2f} USD"
        files = f", {self.octets:,} bytes in S3" if self.octets else ""
        effect = f"; {self.effect}" if self.effect else ""
        needs = f"; needs {', '.join(self.needs)}" if self.needs else ""
        return f"{self.name}: {self.text} ({cost}{files}{effect}{needs})"
