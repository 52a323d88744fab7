"""The commands `relay backup` and `relay restore`: the whole spool in one archive, and a spool made of one.

Owns the sentences about what was written and what a restored spool does with its mail.
"""

from __future__ import annotations

from pathlib import Path

import click

from relay.cli import config_option
from relay.cli.audited import auditing, build_action, noting_end, reason_option
from relay.cli.entries import count_entries, echo, echo_json, echo_note, json_option, open_view
from relay.cli.progress import showing_progress
from relay.spool.archive import BackedUp


@click.command("backup", epilog="\b\nExample:\n  relay backup /backup/relay-$(date +%F).tar.gz")
@config_option
@click.argument("archive", metavar="FILE", type=click.Path(path_type=Path))
@reason_option
@json_option
def backup_command(config_path: str | None, archive: Path, *, because: str, as_json: bool) -> None:
    """Write the spool into one archive, while mail flows: a tar file, compressed as .gz or .tgz.

    It holds mail as it was received: keep it as safe as the spool. The configuration is not in it. FILE must
    not exist; its folder needs room for twice the database.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic

    action = build_action([str(archive.absolute())], because)
    with (
        open_view(config_path) as view,
        auditing(load_config(config_path), action) as ending,
        showing_progress("backup") as progress,
    ):
        facts = view.desk.back_up(archive.absolute(), progress=progress)
        ending.counts = {"mails": facts.mails, "waiting": facts.owed}
    if as_json:
        echo_json(_build(facts))
    else:
        echo(f"{archive}: {_say(facts)}, {facts.octets:,} octets")
    _note_lost(facts)


@click.command("restore", epilog="\b\nExample:\n  relay restore /backup/relay-2026-11-29.tar.gz")
@config_option
@click.argument("archive", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@reason_option
@json_option
def restore_command(config_path: str | None, archive: Path, *, because: str, as_json: bool) -> None:
    """Make the spool of an archive that `relay backup` wrote. The relay must be stopped, and have no spool.

    Mail that waited at the time of the backup may have become a contact since: it is sent again under its old
    token only, by which Connect knows it, and after six days only if you say so.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - `relay --help` needs no pydantic
    from relay.spool.opening import restore_spool  # noqa: PLC0415 - nor SQLite

    config = load_config(config_path)
    action = build_action([str(archive.absolute())], because)
    with noting_end(config, action), showing_progress("restore") as progress:
        facts = restore_spool(config, archive, progress=progress, action=action)
    if as_json:
        echo_json(_build(facts))
    else:
        echo(
            f"{config.data_dir}: {_say(facts)}",
            f"what waits is in doubt since {facts.at:%Y-%m-%dT%H:%M:%SZ}: it goes out under its old token only",
            "start the relay now",
        )
    _note_lost(facts)


def _say(facts: BackedUp) -> str:
    return f"{facts.mails:,} {'mail' if facts.mails == 1 else 'mails'}, {count_entries(facts.owed)} waiting"


def _build(facts: BackedUp) -> dict[str, object]:
    return {
        "at": facts.at.isoformat(),
        "mails": facts.mails,
        "waiting": facts.owed,
        "octets": facts.octets,
        "lost": list(facts.lost),
    }


def _note_lost(facts: BackedUp) -> None:
    for spool_id in facts.lost:
        echo_note(f"{spool_id}: the spool had lost the file of this mail before the backup")
