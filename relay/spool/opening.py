"""The opening of a spool: the backend that the configuration names, behind the interface.

Owns the choice of the backend: `[fleet]` with a table means the spool of a fleet, all else the local one.
Several processes use one spool at the same time: receivers call `put`, one deliverer claims, and operators'
commands run beside them.
Outside `relay.spool` nobody imports a backend: questions about a spool that is not open are asked here. An
opened spool tells by itself which of its parts an operator has to mend (SpoolUnfitError).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from relay.config.fleet import Fleet
from relay.config.model import Config
from relay.errors import SpoolError
from relay.spool.action import Action
from relay.spool.archive import BackedUp, Progress
from relay.spool.desk import Desk
from relay.spool.interface import Intake, Outbox
from relay.spool.local import clock, database, health, search
from relay.spool.local.desk import LocalDesk
from relay.spool.local.errors import translated
from relay.spool.local.health import deliverer_runs, receiver_runs
from relay.spool.local.intake import LocalIntake
from relay.spool.local.key import find_fault, make_key
from relay.spool.local.layout import Layout, make_folder
from relay.spool.local.moving import tell_moving
from relay.spool.local.outbox import LocalOutbox
from relay.spool.local.restore import restore
from relay.spool.model import State
from relay.timing import MACHINE, Clocks


def open_intake(
    config: Config, *, by_hand: bool = False, process: str = "", clocks: Clocks = MACHINE
) -> Intake:
    """The receiving half's view; makes the spool if there is none. Open it after any fork.

    With `by_hand` it is opened for a command: an older spool is left as it is. `process` is the name of a
    receiver among the processes of its node, under which nodes that share a spool know it.

    Raises:
        SpoolOlderError: by hand, and the daemon must be restarted first.
        SpoolUnfitError: an operator has to mend it first.
        SpoolError: there is no usable spool.
    """
    if config.fleet.table:
        from relay.spool.fleet.intake import FleetIntake  # noqa: PLC0415 - only a fleet needs it

        return FleetIntake(config, process=process, clocks=clocks)
    with diagnosed(config, files=True):
        return LocalIntake(config, by_hand=by_hand, clocks=clocks)


def open_outbox(config: Config, *, clocks: Clocks = MACHINE) -> Outbox:
    """The delivering half's view; makes the spool if there is none. Open it after any fork.

    Raises:
        SpoolBusyError: another process delivers from this spool.
        SpoolUnfitError: an operator has to mend it first.
        SpoolError: there is no usable spool.
    """
    if config.fleet.table:
        from relay.spool.fleet.outbox import FleetOutbox  # noqa: PLC0415 - only a fleet needs it

        return FleetOutbox(config, clocks=clocks)
    with diagnosed(config, files=True):
        return LocalOutbox(config, clocks=clocks)


def open_desk(config: Config, *, clocks: Clocks = MACHINE) -> Desk:
    """The operator's view of an existing spool.

    Raises:
        SpoolUnfitError: an operator has to mend it first.
        SpoolError: there is none, or none that is usable.
    """
    if config.fleet.table:
        from relay.spool.fleet.desk import FleetDesk  # noqa: PLC0415 - only a fleet needs it

        return FleetDesk(config, clocks=clocks)
    with diagnosed(config, files=True):
        return LocalDesk(config, clocks=clocks)


def tell_moved(config: Config) -> str:
    """The sentence about a spool that is no longer there for the process that opened it (`has_moved`)."""
    if config.fleet.table:
        return "this node delivers no more for the fleet"
    return f"another spool lies in {config.data_dir} than was opened"


@contextmanager
def diagnosed(config: Config, *, files: bool = False) -> Iterator[None]:
    """A block in which a failure that an unfit spool causes is told as such.

    With `files`, errors of the system count, too: the block opens other files of ours in data_dir.

    Raises:
        SpoolUnfitError: sentences for an operator, in place of what the library or the system said.
        SpoolError: any other failure.
    """
    local = nullcontext() if config.fleet.table else health.diagnosed(config.data_dir)
    with local, translated() if files else nullcontext():
        yield


def find_unfit(config: Config, *, user: int | None = None) -> tuple[str, ...]:
    """Sentences about the parts of the spool that cannot be used as they are; a part that does not exist yet
    is fit. Opens nothing.

    With `user` (a uid) owner and mode are judged for that user, as far as they tell: root itself may do all.
    """
    if config.fleet.table:
        return _find_owed(config)
    moving = tell_moving(Layout(data_dir=config.data_dir))
    return health.find_unfit(config.data_dir, user=user) or ((moving,) if moving else ())


def _find_owed(config: Config) -> tuple[str, ...]:
    """A sentence about the mail that a spool of this node's own still owes, since nobody would deliver it."""
    if not _has_local_spool(config):
        return ()
    try:
        with closing(LocalDesk(config)) as desk:
            counts = desk.counts()
    except SpoolError as exc:
        return (
            f'fleet.table = "{config.fleet.table}": {config.data_dir} (data_dir) has a spool of its own: {exc}',
        )
    owed = sum(number for state, number in counts.items() if state is not State.DONE)
    if not owed:
        return ()
    why = f"the spool in {config.data_dir} (data_dir) still has {owed:,} entries that nobody would deliver"
    return (
        f'fleet.table = "{config.fleet.table}": {why}; move them: relay fleet import --from {config.data_dir}',
    )


def _has_local_spool(config: Config) -> bool:
    return has_spool(config.model_copy(update={"fleet": Fleet()}))


def has_spool(config: Config) -> bool:
    """Returns whether there is a spool; True also if that cannot be known."""
    if config.fleet.table:
        return True  # a table is made by an operator, before there is a node
    try:
        Layout(data_dir=config.data_dir).database.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def count_entries(config: Config) -> int | None:
    """The number of entries of a spool, which is only read. Returns None if there is no spool yet.

    Raises:
        SpoolError: the spool cannot be read.
    """
    if config.fleet.table:
        return None
    with diagnosed(config):
        return database.count_entries(Layout(data_dir=config.data_dir).database)


def count_ledger(config: Config) -> int:
    """The number of the ledger's records, by a spool that is only read. Returns 0 if there is no spool yet.

    Raises:
        SpoolError: the spool cannot be read.
    """
    if config.fleet.table:
        return 0
    with diagnosed(config):
        return search.read_ledger(Layout(data_dir=config.data_dir).database)


def make_address_key(config: Config) -> bytes:
    """The key of hashed addresses in data_dir, which is made if there is none; a node of a fleet has its own,
    unless an operator gives all the same.

    Raises:
        SpoolError: it cannot be made, or the file holds none.
    """
    layout = Layout(data_dir=config.data_dir)
    with translated():
        make_folder(layout.data_dir)
    return make_key(layout.key)


def find_key_fault(config: Config) -> str:
    """The sentence about a key of hashed addresses that is lost or spoilt. Returns "" if none is wanted yet,
    or the key is sound.

    Raises:
        SpoolError: the spool cannot be read.
    """
    if config.fleet.table:
        return ""
    layout = Layout(data_dir=config.data_dir)
    with diagnosed(config):
        return find_fault(layout.key, layout.database)


def find_clock_step(config: Config, *, clocks: Clocks = MACHINE) -> float:
    """The step of the wall clock that is doubted, in seconds, negative when back. The spool is only read.
    Returns 0.0 if none is, or if there is no spool yet.

    Raises:
        SpoolError: the spool cannot be read.
    """
    if config.fleet.table:
        return 0.0  # its clock is that of AWS
    with diagnosed(config):
        return clock.read_step(Layout(data_dir=config.data_dir).database, clocks)


def check_library() -> str:
    """The version of the SQLite library under the spool.

    Raises:
        SpoolError: this version cannot keep the promise.
    """
    return database.check_library()


def is_in_use(config: Config) -> bool:
    """Look for a daemon. Returns whether one delivers from this spool or receives into it; True also if that
    cannot be known. Never raises.
    """
    if config.fleet.table:
        return is_attended(config)
    return is_attended(config) or receiver_runs(config.data_dir)


def is_attended(config: Config) -> bool:
    """Look for a daemon. Returns whether one delivers from this spool or is about to; True also if that
    cannot be known. Never raises.
    """
    if config.fleet.table:
        try:
            with closing(open_desk(config)) as desk:
                return desk.attended()
        except SpoolError:
            return True
    return deliverer_runs(config.data_dir)


def restore_spool(
    config: Config,
    archive: Path,
    *,
    progress: Progress,
    action: Action | None = None,
    clocks: Clocks = MACHINE,
) -> BackedUp:
    """Make the spool of an archive (`Desk.back_up`) that of the configuration. Every entry that waits in it
    is in doubt since the backup (docs/operations.md, "Backup, upgrade, moving"). Its audit goes on with the
    `action`.

    Raises:
        SpoolBusyError: a daemon delivers there.
        SpoolError: there is a spool already, the archive is none of ours or not whole, or the disk takes it
            not.
    """
    if config.fleet.table:
        raise SpoolError(
            f'fleet.table = "{config.fleet.table}": a table is restored by AWS, not from an archive'
        )
    with translated():
        return restore(
            Layout(data_dir=config.data_dir), archive, progress=progress, action=action, clocks=clocks
        )
