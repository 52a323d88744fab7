"""The commands `relay queue retry`, `hold`, `release`, `reroute` and `drop`, which change entries.

Owns the questions before many entries are changed, and the report of those that were not. The spool decides
what may be changed, in the transaction that changes it: never an entry that is being delivered.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import click

from relay.cli import config_option
from relay.cli.audited import because_option, build_action, noting_failure
from relay.cli.entries import (
    SpoolView,
    count_entries,
    echo,
    echo_json,
    echo_note,
    id_of,
    json_option,
    open_view,
)
from relay.cli.filters import (
    build_filter,
    filters,
    is_chosen,
    limit_to_tenant,
    note_unknown_route,
    note_unlooked,
    tell_filter,
)
from relay.cli.waiting import note_unattended, stops_of
from relay.spool.change import Changed, Left, tell_left, tell_state
from relay.spool.model import DROPPABLE, HOLDABLE, RELEASABLE, RETRIABLE, Entry, Filter, State

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Most entries that a filter can choose: more than any spool that was measured held.
_MOST = 1_000_000


class Change(NamedTuple):
    """A command that changes entries."""

    name: str
    short: str
    help: str
    done: str
    #: The states that the command takes, as an operator sees them.
    states: tuple[State, ...]
    #: True if the entries are to be delivered then.
    lets_go: bool
    example: str
    #: True if the entries get another route.
    moves: bool = False


CHANGES = (
    Change(
        name="retry",
        short="Deliver entries now: queued, held or dead ones.",
        help="Deliver entries now: queued, held or dead ones.",
        done="due now",
        states=RETRIABLE,
        lets_go=True,
        example="relay queue retry --state dead --reason connect.",
    ),
    Change(
        name="hold",
        short="Keep queued entries from being delivered.",
        help="Keep queued entries from being delivered, until they are released or retried.",
        done="held",
        states=HOLDABLE,
        lets_go=False,
        example="relay queue hold --recipient support@example.com",
    ),
    Change(
        name="release",
        short="Let held entries be delivered, now.",
        help="Let held entries be delivered, now. What a policy held becomes a contact: it is not asked again.",
        done="released",
        states=RELEASABLE,
        lets_go=True,
        example="relay queue release --reason class.bulk",
    ),
    Change(
        name="reroute",
        short="Deliver entries by another route, now.",
        help="Deliver queued, held or dead entries by another route, now: to its destination, else to the address "
        "that the mail was sent to.",
        done="due now",
        states=RETRIABLE,
        lets_go=True,
        example="relay queue reroute --route old-desk --to support",
        moves=True,
    ),
    Change(
        name="drop",
        short="Remove entries for good. Nobody is told.",
        help="Remove entries for good, and the mail with the last of them. Nobody is told.",
        done="dropped",
        states=DROPPABLE,
        lets_go=False,
        example="relay queue drop --sender @spam.example --older-than 2d",
    ),
)


def build_command(change: Change) -> click.Command:
    """Build the command. It takes IDs, a filter, or IDs among which a filter chooses."""

    @click.command(
        change.name,
        help=f"{change.help}\n\nWithout an ID the filters choose; many are asked for before they are changed.",
        short_help=change.short,
        epilog=f"\b\nExamples:\n  relay queue {change.name} 06H7M2K9Q0XYZAB1.42{' --to support' * change.moves}\n"
        f"  {change.example}",
    )
    @config_option
    @click.argument("ids", nargs=-1, metavar="[ID]...")
    @filters
    @click.option(
        "--yes",
        is_flag=True,
        help="Do not ask: neither before what the filters choose is changed, nor where a second contact may come.",
    )
    @json_option
    @because_option
    @_to_option(change)
    @click.pass_context
    def command(
        ctx: click.Context,
        /,
        config_path: str | None,
        *,
        ids: Sequence[str],
        yes: bool,
        as_json: bool,
        because: str,
        to: str = "",
        **chosen: Any,
    ) -> None:
        _check_reason_filter(chosen["reason"])
        if not ids and not is_chosen(chosen):
            raise click.UsageError("say which: one or more IDs, or a filter such as --route or --reason")
        if set(chosen["states"]) - {*change.states}:
            raise click.UsageError(f"{change.name} takes entries that are {', '.join(change.states)}")
        action = build_action([*ids, *tell_filter(chosen), *([f"--to {to}"] if to else [])], because)
        with open_view(config_path) as view, noting_failure(view.desk, action):
            act = partial(_find_act(view, change, to), action=action)
            if is_chosen(chosen):
                note_unknown_route(view, chosen["route"])
                wanted = build_filter(ids, limit=_MOST, **chosen)
                wanted = limit_to_tenant(view, wanted, chosen["tenant"])
                asked = yes or bool(ids)
                outcome = _change_found(view, change, wanted, act, asked=asked, yes=yes, silent=as_json)
            else:
                outcome = _change_named(change, ids, act, yes=yes, silent=as_json)
            _tell(view, change, outcome, as_json=as_json, by_id=bool(ids))
        if not outcome.changed:
            ctx.exit(1)

    return command


def _check_reason_filter(reason: str | None) -> None:
    """Reject a reason that no entry has: it was meant for the audit, and would choose nothing.

    Raises:
        click.UsageError: it has a blank.
    """
    if reason is not None and " " in reason.strip():
        raise click.UsageError(
            "--reason chooses entries by the reason for which they wait; say why you do this with --because"
        )


def _to_option(change: Change) -> Callable[[_Function], _Function]:
    """The option that names the other route, for the command that needs one."""
    if not change.moves:
        return lambda function: function
    return click.option("--to", metavar="ROUTE", required=True, help="The route to be delivered by.")


def _find_act(view: SpoolView, change: Change, to: str) -> Callable[..., Changed]:
    """The change as the spool does it.

    Raises:
        click.UsageError: the configuration has no route of this name.
    """
    act: Callable[..., Changed] = getattr(view.desk, change.name)
    if not change.moves:
        return act
    for target in view.targets:
        if target.route == to:
            return partial(act, target=target)
    raise click.UsageError(f'no route is named "{to}"; there are: {", ".join(view.routes)}')


class _Outcome(NamedTuple):
    """The result of a command."""

    changed: int
    routes: tuple[str, ...]
    #: The entries that were not changed, with the reason: (id, reason).
    unchanged: list[tuple[str, str]]


def _change_named(
    change: Change, ids: Sequence[str], act: Callable[..., Changed], *, yes: bool, silent: bool
) -> _Outcome:
    """Change the entries of these ids, readable or not.

    Where a second contact may come, a person must agree first.
    """
    if not change.lets_go:
        return _outcome_of(act(ids, now=datetime.now(UTC)))
    outcome = _outcome_of(changed := act(ids, now=datetime.now(UTC), agreed=yes))
    doubtful = [left for left in changed.left if left.in_doubt_since is not None]
    if doubtful and not silent and sys.stdin.isatty() and _agree(change, doubtful):
        more = _outcome_of(act([left.id for left in doubtful], now=datetime.now(UTC), agreed=True))
        gone = {left.id for left in doubtful}
        left = [(word, why) for word, why in outcome.unchanged if word not in gone]
        routes = tuple(sorted({*outcome.routes, *more.routes}))
        return _Outcome(outcome.changed + more.changed, routes, [*left, *more.unchanged])
    return outcome


def _outcome_of(changed: Changed) -> _Outcome:
    return _Outcome(changed.count, changed.routes, [(left.id, _why(left)) for left in changed.left])


def _why(left: Left) -> str:
    """The reason why an entry was not changed."""
    return tell_left(left, agree="(--yes agrees to it)")


def _agree(change: Change, doubtful: Sequence[Left]) -> bool:
    """Ask a person about the risk of second contacts. Returns whether they take it."""
    for left in doubtful:
        echo_note(f"{left.id}: {_why(left)}")
    return click.confirm(f"{change.name} {count_entries(len(doubtful))} all the same?", err=True)


def _change_found(
    view: SpoolView,
    change: Change,
    wanted: Filter,
    act: Callable[..., Changed],
    *,
    asked: bool,
    yes: bool,
    silent: bool,
) -> _Outcome:
    """Change the entries that the filter chooses, among the ids where there are any."""
    found = view.desk.select(wanted)
    note_unlooked(view)
    able = [entry for entry in found if entry.stands_in(change.states)]
    if able and not asked:
        _ask(change, able, silent=silent)
    outcome = _change_named(change, [id_of(entry) for entry in able], act, yes=yes, silent=silent)
    unchanged = [
        (id_of(entry), tell_state(entry.shown_state)) for entry in found if not entry.stands_in(change.states)
    ]
    unknown = {*view.desk.unknown(wanted.ids)}
    chosen = {word for entry in found for word in (entry.spool_id, id_of(entry))}
    unchanged += [
        (word, tell_state(None) if word in unknown else "does not fit the filter")
        for word in dict.fromkeys(wanted.ids)
        if word not in chosen
    ]
    return outcome._replace(unchanged=[*unchanged, *outcome.unchanged])


def _ask(change: Change, able: Sequence[Entry], *, silent: bool) -> None:
    """Have a person agree to what a filter chose.

    Raises:
        click.UsageError: no person is there, or none who could see the question.
    """
    if silent or not sys.stdin.isatty():
        raise click.UsageError(f"{count_entries(len(able))} would be changed: say --yes")
    states = Counter(entry.shown_state for entry in able)
    listed = ", ".join(f"{states[state]} {state}" for state in State if states[state])
    click.confirm(f"{change.name} {count_entries(len(able))} ({listed})?", abort=True)


def _tell(view: SpoolView, change: Change, outcome: _Outcome, *, as_json: bool, by_id: bool) -> None:
    """Report what was changed and what was not, and what still stops entries that were let go."""
    stops = stops_of(outcome.routes, view.desk.paused()) if change.lets_go else []
    if as_json:
        record: dict[str, Any] = {
            "changed": outcome.changed,
            "unchanged": [{"id": word, "why": why} for word, why in outcome.unchanged],
        }
        if change.lets_go:
            record["stopped_by"] = list(dict.fromkeys(stop.subject for stop in stops))
        echo_json(record)
    else:
        but = f", but {'; '.join(stop.sentence for stop in stops)}" if stops else ""
        echo(f"{count_entries(outcome.changed)} {change.done}{but}")
    _note_unchanged(outcome, by_id=by_id)
    if outcome.changed:
        note_unattended(view.desk)


def _note_unchanged(outcome: _Outcome, *, by_id: bool) -> None:
    """Report each unchanged id that a person named, or the number of those that a filter found."""
    if by_id:
        for word, why in outcome.unchanged:
            echo_note(f"{word}: {why}")
    elif outcome.unchanged:
        reasons = Counter(why for _, why in outcome.unchanged)
        listed = ", ".join(f"{count} {why}" for why, count in reasons.items())
        echo_note(f"{count_entries(len(outcome.unchanged))} left alone: {listed}")
    elif not outcome.changed:
        echo_note("no entry fits (what is done fits only with --state done or --all)")
