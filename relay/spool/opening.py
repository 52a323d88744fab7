"""The local spool: SQLite through apsw, large mails in files (design §2, §3).

Owns the three ways in. Several processes use one spool at the same time: receivers `put`, one deliverer claims,
and an operator's commands come in between.
"""

from __future__ import annotations

from relay.config.model import Config
from relay.spool.local.desk import LocalDesk
from relay.spool.local.intake import LocalIntake
from relay.spool.local.outbox import LocalOutbox

__all__ = ["LocalDesk", "LocalIntake", "LocalOutbox", "open_desk", "open_intake", "open_outbox"]


def open_intake(config: Config, *, by_hand: bool = False) -> LocalIntake:
    """The receiving half's view; makes the spool when there is none. Open it after any fork.

    With `by_hand` it is a command's: an older spool is left as it is.

    Raises:
        SpoolOlderError: by hand, and the daemon must be restarted first.
        SpoolError: there is no spool that could be used.
    """
    return LocalIntake(config, by_hand=by_hand)


def open_outbox(config: Config) -> LocalOutbox:
    """The delivering half's view; makes the spool when there is none. Open it after any fork.

    Raises:
        SpoolBusyError: another process delivers from this spool.
        SpoolError: there is no spool that could be used.
    """
    return LocalOutbox(config)


def open_desk(config: Config) -> LocalDesk:
    """The operator's view of a spool that is there.

    Raises:
        SpoolError: there is none, or none that could be used.
    """
    return LocalDesk(config)
