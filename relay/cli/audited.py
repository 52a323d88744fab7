"""Rows in the audit for commands that change something, or show a mail: who does it, and why.

Owns the option for the reason, and the rule for what cannot be audited: it is not done, since an auditor must
be able to rely on there being no others. Where no spool exists yet, nothing was ever accepted, and a command
that prepares the first start goes on with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relay.cli.actor import find_actor
from relay.cli.entries import echo_note
from relay.errors import RelayError, SpoolError
from relay.spool.action import Action, Via, check_reason
from relay.spool.audit import Stage
from relay.spool.desk import Desk

if TYPE_CHECKING:  # `--help` and a mistyped option need neither pydantic nor SQLite
    from relay.config.model import Config

Function = TypeVar("Function", bound=Callable[..., Any])
#: Where `--reason` chooses entries by the reason for which they wait.
_SHORT = ("--because",)
_BOTH = ("--reason", "--because")


class AuditError(RelayError):
    """The audit takes no row, so nothing is done."""


def _read_reason(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    try:
        return check_reason(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


def reason_option(function: Function) -> Function:
    """Add the option for the reason, which the audit keeps."""
    return _add(function, _BOTH)


def because_option(function: Function) -> Function:
    """Add the same option to a command whose `--reason` is a filter."""
    return _add(function, _SHORT)


def _add(function: Function, names: Sequence[str]) -> Function:
    option = click.option(
        *names,
        "because",
        metavar="TEXT",
        default="",
        callback=_read_reason,
        help="Why; `relay audit` shows it.",
    )
    return option(function)


def build_action(about: Sequence[str], because: str) -> Action:
    """The action of the command that runs now."""
    words = click.get_current_context().command_path.split()[1:]
    return Action(
        actor=find_actor(), via=Via.CLI, command=" ".join(words), about=tuple(about), reason=because
    )


@dataclass(slots=True, kw_only=True)
class Ending:
    """The end of an action outside of the spool; the block sets it."""

    stage: Stage = Stage.DONE
    counts: Mapping[str, int] = field(default_factory=dict)
    detail: str = ""

    def tell(self, *, changed: int, left: int = 0, detail: str = "") -> None:
        """Tell how many were changed, and how many were so before."""
        self.stage = Stage.DONE if changed else Stage.REFUSED
        self.counts = {"changed": changed, "left": left}
        self.detail = detail or ("" if changed else "it was so before")


@contextmanager
def noting_failure(desk: Desk, action: Action) -> Iterator[None]:
    """A block that changes the spool, which notes the change itself. If an error ends the block, that is
    noted as far as it can be.
    """
    try:
        yield
    except RelayError as exc:
        with suppress(SpoolError):
            desk.note_action(action, stage=Stage.FAILED, detail=str(exc))
        raise


@contextmanager
def noting_end(config: Config, action: Action) -> Iterator[None]:
    """The same as `noting_failure`, where no desk is open."""
    try:
        yield
    except RelayError as exc:
        with suppress(SpoolError):
            if (desk := _open(config)) is not None:
                with closing(desk):
                    desk.note_action(action, stage=Stage.FAILED, detail=str(exc))
        raise


@contextmanager
def auditing(config: Config | None, action: Action) -> Iterator[Ending]:
    """A block that changes something outside of the spool: its beginning is noted before, its end after it.

    Raises:
        AuditError: its beginning cannot be noted; the block did not run.
    """
    ending = Ending()
    try:
        desk = _open(config)
    except SpoolError as exc:
        raise _refuse(exc) from exc
    if desk is None:
        yield ending
        echo_note("this is in no audit: there is no spool yet")
        return
    with closing(desk):
        begun = note(desk, action, stage=Stage.BEGUN)
        try:
            yield ending
        except BaseException as exc:
            why = str(exc) or type(exc).__name__
            with suppress(SpoolError):
                desk.note_action(action, stage=Stage.FAILED, detail=why, begun=begun)
            raise
        try:
            desk.note_action(
                action, stage=ending.stage, counts=ending.counts, detail=ending.detail, begun=begun
            )
        except SpoolError as exc:
            echo_note(f"the audit has the beginning of this, and takes no end of it: {exc}")


def _open(config: Config | None) -> Desk | None:
    """The spool of the configuration. Returns None where there is none yet.

    Raises:
        SpoolError: it cannot be used.
    """
    from relay.spool.opening import has_spool, open_desk  # noqa: PLC0415 - see above

    return open_desk(config) if config is not None and has_spool(config) else None


def note(desk: Desk, action: Action, *, stage: Stage = Stage.DONE, detail: str = "") -> int:
    """Note an action before it is done. Returns the number of its row.

    Raises:
        AuditError: the audit takes no row.
    """
    try:
        return desk.note_action(action, stage=stage, detail=detail)
    except SpoolError as exc:
        raise _refuse(exc) from exc


def _refuse(error: SpoolError) -> AuditError:
    return AuditError(f"nothing was done, because the audit could not tell of it: {error}")
