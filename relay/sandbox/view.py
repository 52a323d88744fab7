"""The sandbox as its page and its API see it.

Owns that interface. `service` keeps it, so page and API need no import of the service that serves them.
"""

from __future__ import annotations

from typing import Any, Protocol

from relay.sandbox.contacts import Book
from relay.sandbox.nodes import Nodes


class SandboxView(Protocol):
    """A sandbox that runs."""

    @property
    def book(self) -> Book:
        """The contacts."""

    @property
    def smtp(self) -> str:
        """The address where the daemon listens."""

    @property
    def nodes(self) -> Nodes | None:
        """The nodes of a fleet; None for one daemon."""

    @property
    def http_url(self) -> str:
        """The address of the page."""

    @property
    def env(self) -> dict[str, str]:
        """The variables that point any AWS client at the sandbox."""

    def chaos(self) -> dict[str, Any]:
        """The faults in force, as a document."""

    async def set_chaos(self, document: object) -> dict[str, Any]:
        """Set faults. Returns those in force.

        Raises:
            ValueError: the document is not right.
        """

    async def settle(self, timeout_seconds: float) -> None:
        """Wait for the attachments that are being fetched now, so long at most."""
