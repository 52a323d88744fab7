"""Entries as a person reads them: a line or three in the table of `relay queue list`, a page in `show`.

Owns the columns and the words. Whatever a peer chose is made safe for a terminal. Never changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay.cli.entries import id_of, printable, span
from relay.cli.waiting import build_status
from relay.spool.model import Entry, Paused, State

#: Recipients of one entry that fit into a line.
_RECIPIENTS = 3


def short_size(octets: int) -> str:
    """A size in six columns at most: "812", "12k", "4.1M"."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if octets >= size:
            return f"{octets / size:.1f}{unit}" if octets < 10 * size else f"{octets // size}{unit}"
    return str(octets)


def because(reason: str, detail: str) -> str:
    """A reason, with its sentence where there is one."""
    return f"{reason}: {detail}" if detail else reason


def build_table(entries: Sequence[Entry], now: datetime) -> Iterator[str]:
    """Give the lines of a table with its head; none without entries."""
    if not entries:
        return
    width = max(len(id_of(entry)) for entry in entries)
    yield f"{'ENTRY':<{width}}  STATE       AGE   SIZE  TRIES  SENDER -> RECIPIENT"
    for entry in entries:
        yield (
            f"{id_of(entry):<{width}}  {entry.shown_state:<6}  {span(entry.age(now).total_seconds()):>7}  "
            f"{short_size(entry.size):>5}  {entry.attempts:>5}  {_way(entry)}{_again(entry, now)}"
        )
        reason, detail = entry.shown_reason
        if reason:
            # the detail of its route's hold stands once, in the sentence about the route
            yield f"    {printable(because(reason, detail if entry.reason else ''))}"
        if entry.state is State.DONE:
            yield f"    contact {entry.contact_id}" if entry.contact_id else "    no contact id of ours"


def _way(entry: Entry) -> str:
    """The way of an entry: from whom, for whom, and to which address of Connect where that is another one."""
    paths, address = entry.destination.forward_paths, entry.destination.address
    recipients = ", ".join(paths[:_RECIPIENTS])
    if len(paths) > _RECIPIENTS:
        recipients += f" and {len(paths) - _RECIPIENTS} more"
    into = "" if paths == (address,) else f" => {address}"
    return printable(f"{entry.envelope.reverse_path or '<>'} -> {recipients}{into}")


def _again(entry: Entry, now: datetime) -> str:
    if entry.shown_state is not State.QUEUED or entry.next_attempt_at <= now:
        return ""
    return f"  (again in {span((entry.next_attempt_at - now).total_seconds())})"


def build_page(
    entry: Entry, record: Mapping[str, Any], paused: Paused, *, attended: bool, now: datetime
) -> Iterator[str]:
    """Give everything that is known of one entry, a line each. Empty values are left out."""
    for name, value in record.items():
        if name in {"history", "stopped_by"}:
            continue
        text = _plain(value)
        if text:
            yield printable(f"{name + ':':<20}{text}")
    for event in record["history"]:
        why = because(event["reason"], event["detail"])
        yield printable(f"  {event['at']}  attempt {event['attempt']}  {event['event']}  {why}".rstrip())
    yield printable(f"{'now:':<20}{build_status(entry, paused, attended=attended, now=now)}")


def list_checks(results: Mapping[str, str]) -> Iterator[str]:
    """Give the results of the checks of a mail's origin as lines of a story: the words, the sentence that an
    agent reads, and the reason of each word.
    """
    named = {name.removeprefix("relay_"): value for name, value in results.items()}
    sentence = named.pop("identity", "")
    words = ", ".join(f"{name}={value}" for name, value in named.items() if not name.endswith("_detail"))
    yield f"  checks    {words or sentence}"
    if words and sentence:
        yield f"            {sentence}"
    for name, value in named.items():
        if name.endswith("_detail"):
            yield f"            {name.removesuffix('_detail')}: {value}"


def _plain(value: object) -> str:
    """A JSON value in words; "" for an empty one."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items() if item not in (None, ""))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else str(value)
