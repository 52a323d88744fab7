"""The lead among the nodes that share a spool, as both halves see it.

Owns this part of the interface. A spool of one node has nobody to share the lead with: all defaults are its
own.
"""

from __future__ import annotations

from typing import Protocol

from relay.spool.nodes import Reach


class Lead(Protocol):
    """The lead: of several nodes one delivers."""

    def leads(self) -> bool:
        """Returns whether this process is the one that delivers. Others stand by: they claim nothing, and
        send no alarms.
        """
        return True

    def is_shared(self) -> bool:
        """Returns whether other nodes may deliver from this spool, which `note_reach` tells how this one
        fares.
        """
        return False

    async def wants_reach(self) -> bool:
        """Returns whether Connect should be asked now whether it is reached from here, as no delivery
        shows.
        """
        return False

    async def note_reach(self, reach: Reach) -> None:
        """Tell other nodes how this one fares. A leader that reaches Connect no more, while another node
        does, gives the lead up (`has_moved`).
        """
        del reach  # there is nobody to tell


class Witness(Protocol):
    """The lead as a receiver sees it."""

    def undelivered(self) -> str:
        """The sentence about mail that nobody delivers, though it is accepted: of several nodes none has
        shown for long that it does. Returns "" if one does. Cheap.
        """
        return ""
