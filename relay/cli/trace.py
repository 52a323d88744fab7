"""The command `relay trace`: where is my mail?

Owns the one screen that follows a mail from the peer's address to the contact id, found by any of Message-ID,
spool id, contact id, sender or recipient, and what stands behind the id in a refusal. Never changes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from relay.cli import config_option
from relay.cli.entries import SpoolView, echo, echo_json, echo_note, id_of, json_option, open_view, printable
from relay.cli.filters import note_unlooked
from relay.cli.pages import because, list_checks
from relay.cli.records import build_details
from relay.cli.waiting import build_status
from relay.spool.model import Entry, Event, Remembered
from relay.spool.patterns import is_whole
from relay.telemetry.refusals import Refusal, find_refusals

#: Entries that are looked for, and those of them that are shown unless --limit is given: a screen or two.
_LIMIT = 1_000
_SHOWN = 20


@click.command(
    "trace",
    epilog="""\b
Examples:
  relay trace '<CAF3x@mail.example.org>'
  relay trace ann@example.org --limit 5000 --json
  relay trace '[0TBQ2V7Z1PT3K00]'         # from the end of a refusal""",
)
@config_option
@click.argument("word", metavar="MESSAGE-ID|SPOOL-ID|CONTACT-ID|ADDRESS")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    help=f"The newest N at most. Default: {_LIMIT}, of which the page for people shows {_SHOWN}.",
)
@json_option
@click.pass_context
def trace_command(
    ctx: click.Context, config_path: str | None, word: str, limit: int | None, as_json: bool
) -> None:
    """Answer: where is my mail? Exit code 1 when nothing here knows of it.

    A Message-ID, a spool id, a contact id and a whole ADDRESS also find what the ledger remembers of mail
    that is no longer kept, and the id in a refusal ("550 ... [0T...]") the command that was refused, and why.
    A part of an address, @b the domain, a@ the local part, finds only mail that is still in the spool, and
    reads all of it.
    """
    word = word.strip()
    word = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    with open_view(config_path) as view:
        found = _find(view, word, limit=limit or _LIMIT)
        if as_json:
            _echo_records(view, found, limit=limit or _LIMIT)
        else:
            if view.hashes and is_whole(word):
                echo(f"in the log as {view.desk.name_address(word)}")
            for refusal in found.refusals:
                echo(_refusal_line(refusal))
            for line in found.remembered:
                echo(_remembered_line(line))
            _echo_stories(view, found, limit=limit or _SHOWN)
    if not found.entries and not found.remembered and not found.refusals:
        if not as_json:
            echo_note(f"nothing is known of {word}")
        ctx.exit(1)


class _Found(NamedTuple):
    """The newest entries that a word led to, oldest first."""

    entries: Sequence[Entry]
    remembered: Sequence[Remembered]
    #: True if there are more entries, or more of the ledger.
    cut: bool
    #: The refusals that peers were told under this id.
    refusals: Sequence[Refusal] = ()


def _find(view: SpoolView, word: str, *, limit: int) -> _Found:
    # One more than is wanted, to know whether that is all.
    entries = view.desk.trace(word, limit=limit + 1)
    note_unlooked(view)
    lines = view.desk.remembered(word, limit=limit + 1)
    known = {(entry.spool_id, entry.destination.address) for entry in entries}
    return _Found(
        entries[-limit:],
        [line for line in lines[-limit:] if not _is_here(line, known)],
        max(len(entries), len(lines)) > limit,
        find_refusals(view.refusals, word),
    )


def _is_here(line: Remembered, known: Collection[tuple[str, str]]) -> bool:
    """Returns whether an entry of the spool says all that a record says: also that of the way which an entry
    had before it was rerouted.
    """
    moved = line.contact_id is None and line.dropped_at is None
    return (line.spool_id, line.address) in known or (
        moved and any(line.spool_id == spool_id for spool_id, _ in known)
    )


def _echo_records(view: SpoolView, found: _Found, *, limit: int) -> None:
    paused = view.desk.paused()
    records = [build_details(view.desk, entry, paused) for entry in found.entries]
    if found.cut:
        echo_note(f"only the newest {limit} are listed; --limit N lists more")
    echo_json(
        [
            *map(_refusal_record, found.refusals),
            *(_remembered_record(line) for line in found.remembered),
            *records,
        ]
    )


def _echo_stories(view: SpoolView, found: _Found, *, limit: int) -> None:
    """Print the newest in full, as many as are useful, and the rest in a sentence."""
    hidden = len(found.entries[:-limit])
    if found.cut:
        more = f"more than {hidden} older entries are not shown" if hidden else "there are older entries"
        echo(f"({more}; --limit N shows the newest N)")
    elif hidden:
        echo(f"({hidden} older entries are not shown; --limit {len(found.entries)} shows them)")
    paused = view.desk.paused()
    attended, now = view.desk.attended(), datetime.now(UTC)
    told: set[str] = set()
    for entry in found.entries[-limit:]:
        status = build_status(entry, paused, attended=attended, now=now, told=told)
        lines = [*_story(entry), *map(_event_line, view.desk.history(entry)), f"  now       {status}"]
        echo(*lines, "")


def _story(entry: Entry) -> Iterator[str]:
    """Give the lines of an entry's way, from the peer to the route."""
    envelope = entry.envelope
    peer = envelope.peer
    tls = f", {peer.tls}" if peer.tls else ", in clear"
    login = f", as {peer.login}" if peer.login else ""
    yield f"{id_of(entry)}  {entry.message_id or '(no Message-ID)'}"
    yield f"  from      {envelope.reverse_path or '<>'}"
    yield f"  for       {', '.join(entry.destination.forward_paths)}"
    yield f"  peer      {peer.address} ({peer.helo or 'no HELO'}) by {peer.protocol}{tls}{login}"
    yield f"  accepted  {entry.accepted_at:%Y-%m-%d %H:%M:%S} UTC, {entry.size:,} octets"
    if entry.results:
        yield from list_checks(entry.results)
    if envelope.attributes:
        yield f"  handlers  {', '.join(f'{name}={value}' for name, value in envelope.attributes)}"
    if envelope.repairs:
        yield f"  repaired  {', '.join(envelope.repairs)}"
    yield f"  route     {entry.destination.route} -> {entry.destination.address}, {entry.destination.instance_id}"


def _event_line(event: Event) -> str:
    why = f": {because(event.reason, event.detail)}" if event.reason else ""
    return f"  {event.at:%m-%d %H:%M:%S}  attempt {event.attempt} {event.event}{why}"


def _refusal_line(refusal: Refusal) -> str:
    """Give the line of a refusal. Nothing of the mail was kept."""
    at = datetime.fromtimestamp(refusal.at, UTC)
    sender = "" if refusal.reverse_path is None else f", from <{refusal.reverse_path}>"
    return (
        f"{refusal.reference}  refused {at:%Y-%m-%d %H:%M:%S} UTC: {refusal.peer} ({refusal.helo or 'no HELO'}) "
        f"at {refusal.listener}{sender}: {refusal.said or 'no command'}: {refusal.reply}"
    )


def _refusal_record(refusal: Refusal) -> dict[str, Any]:
    return {
        "spool_id": refusal.reference,
        "state": "refused",
        "refused_at": datetime.fromtimestamp(refusal.at, UTC).isoformat(),
        "peer": {"address": refusal.peer, "helo": refusal.helo or None, "listener": refusal.listener},
        "reverse_path": refusal.reverse_path,
        "said": refusal.said,
        "reply": refusal.reply,
    }


def _remembered_line(line: Remembered) -> str:
    what = f"contact {line.contact_id}" if line.contact_id else "no contact known"
    end = f"{what} (the mail itself is no longer kept)"
    if line.erased_at is not None:
        end = f"{what} (erased {line.erased_at:%Y-%m-%d %H:%M:%S} UTC)"
    elif line.dropped_at is not None:
        end = f"dropped by an operator, {line.dropped_at:%Y-%m-%d %H:%M:%S} UTC"
    return printable(
        f"{line.spool_id}  {line.message_id or '(no Message-ID)'}  accepted {line.accepted_at:%Y-%m-%d %H:%M:%S} UTC "
        f"for {line.address}: {end}"
    )


def _state_of(line: Remembered) -> str:
    if line.erased_at is not None:
        return "erased"
    return "dropped" if line.dropped_at is not None else "forgotten"


def _remembered_record(line: Remembered) -> dict[str, Any]:
    return {
        "spool_id": line.spool_id,
        "destination": line.address,
        "instance_id": line.instance_id,
        "message_id": line.message_id,
        "contact_id": line.contact_id,
        "accepted_at": line.accepted_at.isoformat(),
        "state": _state_of(line),
        "dropped_at": line.dropped_at.isoformat() if line.dropped_at is not None else None,
        "erased_at": line.erased_at.isoformat() if line.erased_at is not None else None,
    }
