"""The command group `relay queue`: lists and shows entries.

Owns the table of entries for people, the page of one entry, and the list of the sub-commands. Uses the spool
itself, so it works while the daemon runs and while it does not. Changes are in `changes`.
"""

from __future__ import annotations

import base64
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli import config_option
from relay.cli.audited import build_action, note, noting_failure, reason_option
from relay.cli.changes import CHANGES, build_command
from relay.cli.entries import (
    SpoolView,
    count_entries,
    echo,
    echo_json,
    echo_note,
    json_option,
    open_view,
    printable,
)
from relay.cli.filters import (
    build_filter,
    filters,
    is_chosen,
    limit_to_tenant,
    note_unknown_route,
    note_unlooked,
)
from relay.cli.pages import build_page, build_table
from relay.cli.records import build_details, build_record
from relay.cli.summary import summary_command
from relay.cli.waiting import limit_paused, pause_sentences
from relay.errors import RelayError
from relay.spool.audit import Stage
from relay.spool.model import Filter, State


class OutputError(RelayError):
    """A file for the output could not be written."""


@click.group(
    "queue",
    epilog="""\b
Examples:
  relay queue list --state held --state dead
  relay queue list --recipient @help.example.com --older-than 6h
  relay queue retry --reason connect. --yes
  relay queue drop 06H7M2K9Q0XYZAB1.42
  relay queue export 06H7M2K9Q0XYZAB1 > mail.eml""",
)
def queue_group() -> None:
    """List and change the mail that waits.

    An ID is a spool id, meaning all entries of the mail, or one ENTRY as `list` shows it. Filters mean the
    same in every command: entries of any state but done, unless --state done or --all is said.
    """


@queue_group.command(
    "list",
    short_help="List what is queued, leased, held or dead.",
    epilog="""\b
Examples:
  relay queue list --route support --state queued
  relay queue list --sender '<>' --reason connect.
  relay queue list --state done --recipient @help.example.com --json""",
)
@config_option
@filters
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    default=1_000,
    show_default=True,
    help="The oldest N at most, with --json too; a note on standard error says when there are more.",
)
@json_option
def list_command(config_path: str | None, *, limit: int, as_json: bool, **chosen: Any) -> None:
    """List what is queued, leased, held or dead, oldest first.

    What is queued on a route that an error of configuration holds is listed as held.
    """
    # One more than is shown, to know whether that is all.
    wanted = build_filter(limit=limit + 1, **chosen)
    with open_view(config_path) as view:
        note_unknown_route(view, chosen["route"])
        wanted = limit_to_tenant(view, wanted, chosen["tenant"])
        entries = view.desk.select(wanted)
        note_unlooked(view)
        paused = limit_paused(view.desk.paused(), wanted.routes)
        cut = len(entries) > limit
        if cut:
            echo_note(f"only the oldest {limit} are listed; --limit N lists more")
            entries = entries[:limit]
        if as_json:
            echo_json([build_record(entry, paused) for entry in entries])
            return
        now = datetime.now(UTC)
        lines = [*build_table(entries, now)]
        mine = Filter(routes=wanted.routes)
        totals = ", ".join(f"{count} {state}" for state, count in view.desk.tally(mine).items())
        if is_chosen(chosen):
            # No second walk over the queue is needed where the first came to its end.
            fit = view.desk.tally(wanted) if cut else Counter(entry.shown_state for entry in entries)
            lines.append(_fitting(fit))
            totals = f"in all: {totals}"
        still = pause_sentences(paused, now, attended=view.desk.attended())
        echo(*lines, totals, *still)


def _fitting(fit: Mapping[State, int]) -> str:
    """The number of entries that fit a filter, by their states."""
    count = sum(fit.values())
    listed = ", ".join(f"{fit[state]} {state}" for state in State if fit.get(state))
    return f"{count_entries(count)} {'fits' if count == 1 else 'fit'}{f': {listed}' if listed else ''}"


@queue_group.command("show", short_help="Show everything that is known of entries.")
@config_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@click.pass_context
def show_command(ctx: click.Context, config_path: str | None, ids: Sequence[str], as_json: bool) -> None:
    """Show everything that is known of an entry, or of all entries of a mail."""
    with open_view(config_path) as view:
        desk = view.desk
        entries = desk.select(Filter(ids=tuple(ids), limit=1_000_000))
        paused = desk.paused()
        details = [build_details(desk, entry, paused) for entry in entries]
        if as_json:
            echo_json(details)
        else:
            attended, now = desk.attended(), datetime.now(UTC)
            for entry, record in zip(entries, details, strict=True):
                echo(*build_page(entry, record, paused, attended=attended, now=now), "")
        unknown = {*desk.unknown(ids)}
        shown = {word for record in details for word in (record["spool_id"], record["entry"])}
        for word in dict.fromkeys(ids):
            if word not in shown:
                echo_note(f"{word}: {'no such id' if word in unknown else 'its record cannot be read'}")
    if not entries:
        ctx.exit(1)


@queue_group.command("export", short_help="Print the mail as it was received.")
@config_option
@click.argument("word", metavar="ID")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="A new file, which only its owner may read; default: standard output.",
)
@click.option("--force", is_flag=True, help="Write over a FILE that is there.")
@click.option(
    "--results",
    "with_results",
    is_flag=True,
    help="Our Authentication-Results in front, and none that others wrote in our name.",
)
@reason_option
@json_option
@click.pass_context
def export_command(
    ctx: click.Context,
    config_path: str | None,
    word: str,
    output: str | None,
    *,
    because: str,
    force: bool,
    with_results: bool,
    as_json: bool,
) -> None:
    """Print the mail as it was received, after our own Received line.

    With --json its octets are in base64, or in the file.
    """
    action = build_action([word], because)
    with open_view(config_path) as view, noting_failure(view.desk, action):
        raw = view.desk.export(word)
        if raw is None:
            note(view.desk, action, stage=Stage.REFUSED, detail="no such id")
        else:
            note(view.desk, action)  # before anybody reads it
            raw = _add_results(view, word, raw) if with_results else raw
    if raw is None:
        echo_note(f"{word}: no such id, the mail is not in the spool")
        ctx.exit(1)
    to_file = output not in {None, "-"}
    if output is not None and to_file:
        _write(output, raw, force=force)
    if as_json:
        record = {
            "spool_id": word.partition(".")[0],
            "size": len(raw),
            "raw_base64": None if to_file else base64.b64encode(raw).decode(),
            "output": output if to_file else None,
        }
        echo_json(record)
    elif not to_file:
        click.echo(raw, nl=False)


def _add_results(view: SpoolView, word: str, raw: bytes) -> bytes:
    """The mail with the stored results of its checks in front; as it is, where its record cannot be read."""
    from relay.auth.stored import add_results  # noqa: PLC0415 - the other commands need none of it

    entries = view.desk.select(Filter(ids=(word,), limit=1))
    if not entries:
        return raw
    entry = entries[0]
    return add_results(
        raw,
        entry.results,
        hostname=view.hostname,
        envelope=entry.envelope,
        trace_size=entry.trace_size,
    )


def _write(path: str, raw: bytes, *, force: bool) -> None:
    """Write a mail to a file that only its owner can read.

    Without `force` the file must be new, and a link in its place is not followed.
    """
    over = os.O_TRUNC if force else os.O_EXCL
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | over, 0o600), "wb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                os.fchmod(file.fileno(), 0o600)  # an older file may have been open to all
            file.write(raw)
    except FileExistsError as exc:
        raise OutputError(
            f"{printable(path)}: cannot be written: {exc.strerror}; --force writes over it"
        ) from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise OutputError(f"{printable(path)}: cannot be written: {reason}") from exc


for _command in (*map(build_command, CHANGES), summary_command):
    queue_group.add_command(_command)
