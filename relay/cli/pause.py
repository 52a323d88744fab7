"""`relay pause` and `relay resume`: what an operator makes stand still, and lets go again.

Owns the words for the two halves and the routes. A pause outlives restarts: only `resume` ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from relay.cli import config_option
from relay.cli.entries import desk_of, pause_sentences
from relay.config.load import load_config

_SUBJECT = "intake|delivery|route NAME"


@click.command("pause")
@config_option
@click.argument("subject", nargs=-1, required=True, metavar=_SUBJECT)
def pause_command(config_path: str | None, subject: Sequence[str]) -> None:
    """Accept no mail (intake), deliver none (delivery), or none of one route."""
    words = " ".join(subject)
    routes = {route.name for route in load_config(config_path).routes}
    if subject[0] == "route" and len(subject) > 1 and words[6:] not in routes:
        raise click.UsageError(f"no route is named {words[6:]!r}; there are: {', '.join(sorted(routes))}")
    with desk_of(config_path) as desk:
        new = desk.pause(words, now=datetime.now(UTC))
        click.echo(f"{words} paused" if new else f"{words} was paused before")
        for sentence in pause_sentences(desk.paused(), datetime.now(UTC)):
            click.echo(sentence)


@click.command("resume")
@config_option
@click.argument("subject", nargs=-1, required=True, metavar=_SUBJECT)
def resume_command(config_path: str | None, subject: Sequence[str]) -> None:
    """Let it go on; a route that an error holds too."""
    words = " ".join(subject)
    with desk_of(config_path) as desk:
        click.echo(f"{words} resumed" if desk.resume(words) else f"{words} was not paused")
        for sentence in pause_sentences(desk.paused(), datetime.now(UTC)):
            click.echo(sentence)
