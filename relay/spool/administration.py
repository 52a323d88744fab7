"""The administration of a fleet's spool: the door to it for `relay fleet …`, `relay check` and `relay serve`.

Owns no more than how its questions are asked by a program without an event loop. Calls block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from relay.config.model import Config
from relay.errors import ConfigError
from relay.spool.action import Action
from relay.spool.archive import Progress
from relay.spool.founded import Step
from relay.spool.moved import Move
from relay.spool.status import FleetStatus
from relay.timing import MACHINE, Clocks

if TYPE_CHECKING:  # 40 MB that only a fleet needs
    from relay.spool.fleet.examination import Examined

#: Seconds for which a start waits for AWS.
_START_SECONDS = 5.0


def check_fleet(config: Config) -> None:
    """Check that a fleet is configured.

    Raises:
        ConfigError: no table is named.
    """
    if not config.fleet.table:
        raise ConfigError('fleet.table = "": names no table, so there is no fleet; name one')


def find_newer(config: Config) -> tuple[str, ...]:
    """A sentence about a table in which a newer relay writes, which this one must not use. Returns none where
    there is no fleet, and where AWS does not answer: the spool waits for that.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    if not config.fleet.table:
        return ()
    from relay.spool.fleet.founding import announce  # noqa: PLC0415 - see above

    why = asyncio.run(announce(config, seconds=_START_SECONDS))
    return (f'fleet.table = "{config.fleet.table}": {why}',) if why else ()


def found_fleet(config: Config, *, tell: Callable[[Step], None]) -> None:
    """Make what lacks of the fleet's table, and tell each step as soon as it is done.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
        SpoolError: the table is none of a fleet, or a step failed; those before it are done.
    """
    from relay.spool.fleet.founding import found  # noqa: PLC0415 - see above

    asyncio.run(found(config, tell=tell))


def examine_fleet(config: Config, *, clocks: Clocks = MACHINE) -> Examined:
    """Examine the fleet's spool, which stays as it is.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    from relay.spool.fleet.examination import examine  # noqa: PLC0415 - see above

    return asyncio.run(examine(config, clocks=clocks))


def read_fleet(config: Config, *, clocks: Clocks = MACHINE) -> FleetStatus:
    """One look at the fleet.

    Raises:
        SpoolError: its table cannot be read.
    """
    from relay.spool.fleet.status import read_status  # noqa: PLC0415 - see above

    return asyncio.run(read_status(config, clocks=clocks))


def import_spool(
    config: Config,
    data_dir: Path,
    *,
    progress: Progress,
    action: Action | None = None,
    clocks: Clocks = MACHINE,
) -> Move:
    """Move all mail of a local spool into the fleet's. What cannot be moved is told as left. The same call
    goes on with a move that was cut short.

    Raises:
        SpoolBusyError: a daemon uses the local spool.
        SpoolError: one of the two cannot be used; what was moved until then is moved.
    """
    from relay.spool.moving import move_in  # noqa: PLC0415 - see above

    return asyncio.run(move_in(config, data_dir, progress=progress, action=action, clocks=clocks))


def export_spool(
    config: Config,
    data_dir: Path,
    *,
    progress: Progress,
    action: Action | None = None,
    clocks: Clocks = MACHINE,
) -> Move:
    """Move all mail of the fleet into a local spool, which is made where there is none. What cannot be moved
    is told as left. The same call goes on with a move that was cut short.

    Raises:
        SpoolBusyError: a node delivers, or a daemon uses the local spool.
        SpoolError: one of the two cannot be used; what was moved until then is moved.
    """
    from relay.spool.moving import move_out  # noqa: PLC0415 - see above

    return asyncio.run(move_out(config, data_dir, progress=progress, action=action, clocks=clocks))
