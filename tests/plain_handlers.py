"""A handler as it must not be: its method is a plain function, for tests of the configuration."""

from __future__ import annotations


class Plain:
    """A handler whose answer cannot be awaited."""

    def handle_DATA(self, server, session, envelope):
        """The answer of a plain function."""
        return "250 OK"
