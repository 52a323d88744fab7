"""The facts of a fleet: which node leads, and for how long none does.

Owns their words in the log and their metric.
"""

from __future__ import annotations

from relay.telemetry.current import current_log
from relay.telemetry.metrics import DELIVERER_SILENT


def fleet_led(*, epoch: int, after: str) -> None:
    """This node delivers from now on; `after` is the node that did before, "" if it was nobody."""
    current_log().info("fleet.led", epoch=epoch, after=after)


def fleet_lost(*, epoch: int, why: str) -> None:
    """This node delivers no more."""
    current_log().warning("fleet.lost", epoch=epoch, why=why)


def fleet_silent(*, seconds: float) -> None:
    """No node has shown for so long that it delivers."""
    DELIVERER_SILENT.set(seconds)


def fleet_resigned(*, to: str, seconds: float) -> None:
    """This node gives the lead up: its connections to Connect have failed for `seconds`, and those of `to`
    work.
    """
    current_log().warning("fleet.resigned", to=to, seconds=round(seconds))
