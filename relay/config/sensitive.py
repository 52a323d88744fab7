"""The keys of a route for words that may not be passed on as they are: `routes[].sensitive`.

Owns those keys, and the rule of the policy that they stand for. Never looks at a mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from relay.config.policy import Rule
from relay.config.section import Section

#: The rule of a mail that has a card number in its words.
CARD: Final = "sensitive.card"
#: The action of the policy at delivery, by that of the key. Redacted mail goes on; mail that would have been
#: refused at the wire, had the look into it ended in time, waits for a person.
_ACTIONS: Final = {"tag": "tag", "redact": "tag", "hold": "hold", "reject": "hold"}


class Sensitive(Section):
    """The action for each kind of words; one that is observed is only reported."""

    card: Literal["off", "tag", "redact", "hold", "reject"] = "off"
    observe: bool = False

    @property
    def looks(self) -> bool:
        """Returns whether mail is looked through at all."""
        return self.card != "off"

    @property
    def redacts(self) -> bool:
        """Returns whether numbers are made unreadable."""
        return self.card == "redact" and not self.observe

    @property
    def rejects(self) -> bool:
        """Returns whether such mail is refused before the 250."""
        return self.card == "reject" and not self.observe

    def rules(self) -> Mapping[str, Rule]:
        """The rules for delivery that these keys stand for."""
        return {CARD: Rule(action=_ACTIONS[self.card], observe=self.observe)} if self.looks else {}
