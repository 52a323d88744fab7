"""The facts of a fleet: which node leads.

Owns their words in the log.
"""

from __future__ import annotations

from relay.telemetry.current import current_log


def fleet_led(*, epoch: int, after: str) -> None:
    """This node delivers from now on; `after` is the node that did before, "" if it was nobody."""
    current_log().info("fleet.led", epoch=epoch, after=after)


def fleet_lost(*, epoch: int, why: str) -> None:
    """This node delivers no more."""
    current_log().warning("fleet.lost", epoch=epoch, why=why)
