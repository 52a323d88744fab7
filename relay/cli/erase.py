"""The command `relay erase`: what there is of a person is listed, and then removed.

Owns the dialog, the order of the steps (Connect, S3, the spool last: it knows where the others have to be
looked for) and the report. No line of it has an address or a word of a mail: a person stands there by the
name that the log and the audit use (`relay.spool.pseudonyms`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli import config_option
from relay.cli.audited import build_action, note, noting_failure, reason_option
from relay.cli.entries import SpoolView, count_entries, echo, echo_json, echo_note, json_option, open_view
from relay.spool.audit import Stage
from relay.spool.erasure import Erased, FoundMail, FoundPerson
from relay.spool.patterns import is_whole, name_pattern
from relay.telemetry.refusals import forget_refusals


@click.command(
    "erase",
    epilog="""\b
Examples:
  relay erase ann@example.org               # lists, and asks
  relay erase ann@example.org --json        # lists alone
  relay erase ann@example.org --yes
  echo ann@example.org | relay erase - --yes""",
)
@config_option
@click.argument("word", metavar="ADDRESS|SPOOL-ID|CONTACT-ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--compact",
    is_flag=True,
    help="Write a large database anew if its free space still holds an address; no mail comes or goes meanwhile.",
)
@reason_option
@json_option
@click.pass_context
def erase_command(
    ctx: click.Context,
    config_path: str | None,
    word: str,
    *,
    yes: bool,
    compact: bool,
    because: str,
    as_json: bool,
) -> None:
    """Remove what there is of a person who wrote, or of one mail, for good.

    Mail that is owed stays: release, drop, or wait first. A person is an ADDRESS as author or reverse-path;
    mail of others to or about that person is not looked into. With - in its place the ADDRESS is read from
    standard input, so that no list of processes and no history has it. Exit code 1 when something stays.
    """
    word = (sys.stdin.readline() if word == "-" else word).strip()
    if "@" in word and not is_whole(word):
        raise click.UsageError("a whole address is needed: a part of one may mean many people")
    with open_view(config_path) as view:
        address = word if is_whole(word) else ""
        name = view.desk.name_address(address) if address else word
        found = view.desk.find_person(word)
        if not as_json:
            echo(*_list(found, name))
        if not yes and (as_json or not _may_ask()):
            _end_list(found, name, as_json=as_json)
            return
        if not yes:
            click.confirm(_question(found), abort=True)
        erased, emptied = _erase(view, found, name, address, because=because, compact=compact)
    _report(found, name, erased, emptied, as_json=as_json)
    if erased.left or erased.notes or not _has_any(found, emptied):
        ctx.exit(1)


def _may_ask() -> bool:
    return sys.stdin.isatty()


def _end_list(found: FoundPerson, name: str, *, as_json: bool) -> None:
    """End after the list, without a word of a person.

    Raises:
        UsageError: the list was for a person, who was not there.
    """
    if not as_json:
        raise click.UsageError("nothing was erased: say --yes")
    echo_json({**_record(found, name), "erased": None})


def _erase(
    view: SpoolView, found: FoundPerson, name: str, address: str, *, because: str, compact: bool
) -> tuple[Erased, int]:
    """Erase, with a row of the audit before and one after it. Returns what was erased in the spool, and the
    number of refusals that were forgotten.
    """
    pattern = name_pattern(address) if address else None
    action = build_action([name], pattern.sub(name, because) if pattern else because)
    begun = note(view.desk, action, stage=Stage.BEGUN)
    with noting_failure(view.desk, action):
        emptied = forget_refusals(view.refusals, pattern) if pattern else 0
        erased = view.desk.erase(found, address=address, now=datetime.now(UTC), compact=compact)
    done = erased.mails or erased.records or erased.audited or emptied
    view.desk.note_action(
        action,
        stage=Stage.DONE if done else Stage.REFUSED,
        counts={"mails": erased.mails, "records": erased.records, "left": len(erased.left)},
        detail="; ".join(f"{word}: {why}" for word, why in erased.left[:3]) or "; ".join(erased.notes),
        begun=begun,
    )
    return erased, emptied


def _has_any(found: FoundPerson, emptied: int) -> bool:
    return bool(found.mails or found.audited or emptied)


def _question(found: FoundPerson) -> str:
    going = [mail for mail in found.mails if not mail.is_owed]
    stay = len(found.mails) - len(going)
    return f"Erase {_count_mails(len(going))} for good{f' ({_count_mails(stay)} stay)' if stay else ''}?"


def _count_mails(number: int) -> str:
    return f"{number:,} {'mail' if number == 1 else 'mails'}"


def _list(found: FoundPerson, name: str) -> Iterator[str]:
    """The lines about what there is."""
    entries = sum(len(mail.entries) for mail in found.mails)
    yield f"{name}: {_count_mails(len(found.mails))}, {count_entries(entries)}"
    for mail in found.mails:
        yield from _list_mail(mail)
    if found.audited:
        yield f"  {found.audited:,} rows of the audit have the address"


def _list_mail(mail: FoundMail) -> Iterator[str]:
    owed = dict(mail.tell_owed()) if mail.is_owed else {}
    for entry in mail.entries:
        state = entry.state or ("erased" if mail.erased else "in the ledger")
        size = f", {mail.size:,} octets" if mail.size else ""
        contact = f", contact {entry.contact_id}" if entry.contact_id else ""
        stays = f"; stays: {owed[entry.id]}" if entry.id in owed else ""
        yield f"  {entry.id}  {state}, accepted {mail.accepted_at:%Y-%m-%d %H:%M} UTC{size}{contact}{stays}"


def _report(found: FoundPerson, name: str, erased: Erased, emptied: int, *, as_json: bool) -> None:
    """Tell what was erased, and what stays."""
    if as_json:
        done = asdict(erased) | {
            "left": [{"id": word, "why": why} for word, why in erased.left],
            "refusals": emptied,
        }
        echo_json({**_record(found, name), "erased": done})
    else:
        echo(
            f"erased: {_count_mails(erased.mails)}, the names in {erased.records:,} records of the ledger, in "
            f"{erased.audited:,} rows of the audit, in {erased.counted:,} counts and in {emptied:,} refusals"
        )
    _note_left(erased.left)
    for sentence in erased.notes:
        echo_note(sentence)
    if not _has_any(found, emptied):
        echo_note("nothing is known of this")


def _note_left(left: Sequence[tuple[str, str]]) -> None:
    for word, why in left:
        echo_note(f"{word}: {why}")


def _record(found: FoundPerson, name: str) -> dict[str, Any]:
    """The record of what there is, for programs."""
    return {
        "name": name,
        "audited": found.audited,
        "mails": [
            {
                "spool_id": mail.spool_id,
                "accepted_at": mail.accepted_at.isoformat(),
                "size": mail.size,
                "erased": mail.erased,
                "owed": mail.is_owed,
                "entries": [
                    {
                        "entry": entry.id,
                        "state": entry.state,
                        "destination": entry.address,
                        "instance_id": entry.instance_id,
                        "contact_id": entry.contact_id,
                    }
                    for entry in mail.entries
                ],
            }
            for mail in found.mails
        ],
    }
