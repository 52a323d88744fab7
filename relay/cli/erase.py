"""The command `relay erase`: what there is of a person is listed, and then removed.

Owns the dialog, the order of the steps (Connect, S3, the spool last: it knows where the others have to be
looked for) and the report. No line of it has an address or a word of a mail: a person stands there by the
name that the log and the audit use (`relay.spool.pseudonyms`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from relay.cli import config_option
from relay.cli.audited import build_action, note, noting_failure, reason_option
from relay.cli.entries import SpoolView, count_entries, echo, echo_json, echo_note, json_option, open_view
from relay.cli.erase_outside import Outside, erase_outside, erase_raw_versions
from relay.spool.audit import Stage
from relay.spool.erasure import Erased, FoundMail, FoundPerson
from relay.spool.patterns import is_whole, name_pattern
from relay.telemetry.refusals import forget_refusals

if TYPE_CHECKING:  # see `erase_command`
    from relay.config.model import Config


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
    "--connect",
    is_flag=True,
    help="Make our attributes, names and descriptions of its contacts empty, too, and have Connect delete their data.",
)
@click.option("--spool-only", is_flag=True, help="Leave the objects in S3 as they are: no AWS is asked.")
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
    connect: bool,
    spool_only: bool,
    compact: bool,
    because: str,
    as_json: bool,
) -> None:
    """Remove what there is of a person who wrote, or of one mail, for good.

    Mail that is owed stays: release, drop, or wait first. A person is an ADDRESS as author or reverse-path;
    mail of others to or about that person is not looked into. With - in its place the ADDRESS is read from
    standard input, so that no list of processes and no history has it. Exit code 1 when something stays.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic

    if connect and spool_only:
        raise click.UsageError("--spool-only asks no AWS, and --connect does; leave one out")
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
        config = None if spool_only else load_config(config_path)
        done = _erase(view, config, found, name, address, because=because, connect=connect, compact=compact)
    _report(found, name, done, as_json=as_json)
    if done.erased.left or done.erased.notes or done.outside.left or not _has_any(found, done):
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


class _Done(NamedTuple):
    """The result of an erasure."""

    erased: Erased
    outside: Outside
    #: Refusals that were forgotten.
    refusals: int


def _erase(
    view: SpoolView,
    config: Config | None,
    found: FoundPerson,
    name: str,
    address: str,
    *,
    because: str,
    connect: bool,
    compact: bool,
) -> _Done:
    """Erase, with a row of the audit before and one after it; without a configuration in the spool alone."""
    pattern = name_pattern(address) if address else None
    action = build_action([name], pattern.sub(name, because) if pattern else because)
    begun = note(view.desk, action, stage=Stage.BEGUN)
    with noting_failure(view.desk, action):
        outside = erase_outside(config, found.mails, connect=connect) if config else Outside()
        refusals = forget_refusals(view.refusals, pattern) if pattern else 0
        erased = view.desk.erase(found, address=address, now=datetime.now(UTC), compact=compact)
        if config:
            stay = {word.partition(".")[0] for word, _ in erased.left}
            raw = erase_raw_versions(config, [each for each in found.mails if each.spool_id not in stay])
            outside = replace(outside, objects=outside.objects + raw.objects, left=(*outside.left, *raw.left))
    said = (*(f"{word}: {why}" for word, why in erased.left), *outside.left, *erased.notes)
    counts = {
        "mails": erased.mails,
        "records": erased.records,
        "objects": outside.objects,
        "contacts": outside.contacts,
    }
    view.desk.note_action(
        action,
        stage=Stage.DONE if any(counts.values()) or erased.audited or refusals else Stage.REFUSED,
        counts={**counts, "left": len(said)},
        detail="; ".join(said[:3]),
        begun=begun,
    )
    return _Done(erased, outside, refusals)


def _has_any(found: FoundPerson, done: _Done) -> bool:
    return bool(found.mails or found.audited or done.refusals)


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


def _report(found: FoundPerson, name: str, done: _Done, *, as_json: bool) -> None:
    """Tell what was erased, and what stays."""
    erased, outside = done.erased, done.outside
    if as_json:
        record = asdict(erased) | {
            "left": [{"id": word, "why": why} for word, why in erased.left],
            "refusals": done.refusals,
            "objects": outside.objects,
            "contacts": outside.contacts,
            "notes": [*outside.left, *erased.notes],
            "elsewhere": list(outside.elsewhere),
        }
        echo_json({**_record(found, name), "erased": record})
    else:
        echo(
            f"erased: {_count_mails(erased.mails)}, the names in {erased.records:,} records of the ledger, in "
            f"{erased.audited:,} rows of the audit, in {erased.counted:,} counts and in {done.refusals:,} refusals",
            f"outside: {outside.objects:,} versions of objects, the words of {outside.contacts:,} contacts",
            *outside.elsewhere,
        )
    _note_left(erased.left)
    for sentence in (*outside.left, *erased.notes):
        echo_note(sentence)
    if not _has_any(found, done):
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
