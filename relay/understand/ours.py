"""The test for our own addresses, which a contact's recipients leave out.

Owns what it asks of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.config import Config
from relay.routes import RouteTable


def build_is_ours(config: Config, routes: RouteTable) -> Callable[[str], bool]:
    """The test for addresses that are left out of a contact's recipients."""
    return lambda address: config.contact.strip_own_recipients and routes.is_ours(address)
