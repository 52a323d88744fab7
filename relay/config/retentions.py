"""The days for which finished mail of single routes is kept: `routes[].retain_days`.

Owns their list. Never removes anything.
"""

from __future__ import annotations

from relay.config.model import Config


def list_retentions(config: Config) -> dict[str, float]:
    """The days by route, of those that have days of their own."""
    return {each.name: each.retain_days for each in config.routes if each.retain_days is not None}
