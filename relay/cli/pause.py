"""The commands `relay pause` and `relay resume`: an operator stops a half of the relay or a route, and starts
it again.

Owns the words for the two halves and the routes. A pause outlives restarts: only `resume` ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import click

from relay.cli import config_option
from relay.cli.audited import build_action, noting_failure, reason_option
from relay.cli.entries import SpoolView, echo, echo_json, json_option, open_view
from relay.cli.records import build_paused
from relay.cli.waiting import note_unattended, pause_sentences

_SUBJECT = "intake|delivery|route NAME"
_STOPPED = f"{_SUBJECT}|clock"


class Subject(NamedTuple):
    """The half, the route or the clock that is stopped or started."""

    word: str
    #: The name of a route; None for another subject.
    name: str | None

    def __str__(self) -> str:
        """The subject as the spool takes it."""
        return self.word if self.name is None else f"{self.word} {self.name}"


def parse_subject(words: Sequence[str], *, more: Sequence[str] = ()) -> Subject:
    """The subject that these words name, as one argument or as two; `more`: the words that are subjects, too.

    Raises:
        click.UsageError: they name none.
    """
    word, _, name = " ".join(" ".join(words).split()).partition(" ")
    word = word.lower()
    if word in {"intake", "delivery", *more} and not name:
        return Subject(word, None)
    if word == "route" and name:
        return Subject(word, name)
    raise click.UsageError(
        f'"{" ".join(words)}" is nothing that could stand still; say {_STOPPED if more else _SUBJECT}'
    )


def _check_route(view: SpoolView, subject: Subject) -> None:
    """Check that a route exists.

    Raises:
        click.UsageError: it does not.
    """
    if subject.name is None or subject.name in view.routes:
        return
    known = view.find_routes(view.desk.paused())
    if subject.name not in known:
        raise click.UsageError(f'no route is named "{subject.name}"; there are: {", ".join(known)}')


def _tell(view: SpoolView, subject: Subject, *, changed: bool, said: str, as_json: bool) -> None:
    """Report what was done, and what is stopped now."""
    paused = view.desk.paused()
    if as_json:
        echo_json(
            {
                "subject": subject.word,
                "name": subject.name,
                "changed": changed,
                "paused": build_paused(paused),
            }
        )
    else:
        echo(f"{subject} {said}")
        for sentence in pause_sentences(paused, datetime.now(UTC)):
            echo(sentence)
    if changed:
        note_unattended(view.desk)


@click.command("pause", epilog="\b\nExamples:\n  relay pause delivery\n  relay pause route support")
@config_option
@click.argument("words", nargs=-1, required=True, metavar=_SUBJECT)
@reason_option
@json_option
def pause_command(config_path: str | None, words: Sequence[str], *, because: str, as_json: bool) -> None:
    """Accept no mail (intake), deliver none (delivery), or none of one route.

    It lasts, over restarts too, until `relay resume` ends it.
    """
    subject = parse_subject(words)
    action = build_action([str(subject)], because)
    with open_view(config_path) as view:
        _check_route(view, subject)
        with noting_failure(view.desk, action):
            changed = view.desk.pause(str(subject), now=datetime.now(UTC), action=action)
        said = "paused" if changed else "was paused before"
        _tell(view, subject, changed=changed, said=said, as_json=as_json)


@click.command(
    "resume",
    epilog="\b\nExamples:\n  relay resume delivery\n  relay resume route support\n  relay resume clock",
)
@config_option
@click.argument("words", nargs=-1, required=True, metavar=_STOPPED)
@reason_option
@json_option
def resume_command(config_path: str | None, words: Sequence[str], *, because: str, as_json: bool) -> None:
    """Let it go on; a route that an error of configuration holds, too.

    The clock goes on, after a step of more than an hour, when you say that it is right.
    """
    subject = parse_subject(words, more=("clock",))
    action = build_action([str(subject)], because)
    with open_view(config_path) as view:
        _check_route(view, subject)
        with noting_failure(view.desk, action):
            changed = view.desk.resume(str(subject), action=action)
        said = "resumed" if changed else "was not paused"
        if subject.word == "clock":
            said = "is trusted as it is" if changed else "was not doubted"
        _tell(view, subject, changed=changed, said=said, as_json=as_json)
