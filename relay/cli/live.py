"""The questions of `relay check --live`: listed, agreed to, asked, and reported.

Owns the dialog and the two files of the report. Nothing is asked without a word of a person: at a terminal,
or by --yes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.entries import echo, printable
from relay.config import Config
from relay.errors import ConfigError

if TYPE_CHECKING:
    from relay.check.live.bench import Bench
    from relay.check.live.model import Answer
    from relay.check.live.question import Question

_LIST, _ALL, _END = "list", "all", "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The words of the command line."""

    names: tuple[str, ...]
    yes: bool
    #: The beginning of the names of both files; "" for one made of the instant.
    report: str
    #: "" for that of [connect].
    instance_id: str
    patience_seconds: float


def makes_contacts(live: Live) -> bool:
    """Returns whether more is asked for than the list of questions."""
    return bool(live.names) and live.names != (_LIST,)


def ask_live(config: Config, live: Live) -> bool:
    """Ask the questions of these names. Returns whether each has its answer and each contact has ended.

    Raises:
        UsageError: a name is none, or nobody is there to agree.
    """
    from relay.check.live.run import QUESTIONS  # noqa: PLC0415 - the AWS libraries take most of a second

    price = config.contact.price_usd
    if not makes_contacts(live):
        echo(*(question.describe(price) for question in QUESTIONS.values()))
        echo(f"{_ALL}: all of them", f"{_END}: end the contacts that a run of the last day has left")
        return True
    if live.names == (_END,):
        return asyncio.run(_end(config, live))
    names = tuple(QUESTIONS) if live.names == (_ALL,) else tuple(dict.fromkeys(live.names))
    if unknown := [name for name in names if name not in QUESTIONS]:
        raise click.UsageError(
            f"{', '.join(unknown)}: no question has this name; `relay check --live list` has them"
        )
    return asyncio.run(_run(config, live, [QUESTIONS[name] for name in names]))


async def _run(config: Config, live: Live, questions: list[Question]) -> bool:
    from relay.check.live.run import ask_all, find_forbidden, open_bench  # noqa: PLC0415 - see above

    answers: list[tuple[Question, Answer]] = []

    def tell(question: Question, answer: Answer) -> None:
        answers.append((question, answer))
        echo(f"{question.name}: {answer.sentence}")
        sys.stdout.flush()

    async with open_bench(
        config,
        live.instance_id or config.connect.instance_id,
        say=_say,
        patience_seconds=live.patience_seconds,
    ) as bench:
        forbidden = await find_forbidden(bench, questions)
        if offered := [each for each in questions if not forbidden.intersection(each.needs)]:
            _agree(config, live, offered, bench)
        path = _prepare(live)
        asking = asyncio.create_task(ask_all(bench, questions, forbidden, tell=tell))
        with suppress(NotImplementedError):  # a service manager's stop ends the contacts, too
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asking.cancel)
        try:
            await asking
        except asyncio.CancelledError:
            _say("interrupted")
        finally:
            _write(bench, answers, path)
        return not bench.open and len(answers) == len(questions) and all(each.is_known for _, each in answers)


def _agree(config: Config, live: Live, questions: list[Question], bench: Bench) -> None:
    """Say what will be made and what it costs, and have a person agree.

    Raises:
        UsageError: nobody is there.
    """
    price, most = config.contact.price_usd, sum(question.contacts for question in questions)
    echo(*(question.describe(price) for question in questions))
    echo(
        f"Together at most {most} contacts, {most * price:.2f} USD, for {bench.addresses[0]} in the instance "
        f"{bench.instance_id}. Its flow runs for each, and an agent may see one for a moment: StopContact ends "
        f"each at once. Their names begin with relay-live-{bench.run}.",
    )
    if live.yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask at; agree by --yes")
    # The event loop would turn Ctrl-C into a request that waits for the end of the prompt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        click.confirm("Ask?", abort=True)
    finally:
        signal.signal(signal.SIGINT, before)


async def _end(config: Config, live: Live) -> bool:
    from relay.check.live.run import end_left, find_forbidden, open_bench  # noqa: PLC0415 - see above

    async with open_bench(
        config,
        live.instance_id or config.connect.instance_id,
        say=_say,
        patience_seconds=live.patience_seconds,
    ) as bench:
        await find_forbidden(bench, [])
        await end_left(bench)
        echo(f"{bench.started} contacts were left, {bench.ended} have ended")
        return not bench.open


def _say(sentence: str) -> None:
    click.echo(f"  {printable(sentence)}")
    sys.stdout.flush()


def _prepare(live: Live) -> Path:
    """The path that both files of the report begin with; they can be written.

    Raises:
        ConfigError: they cannot.
    """
    path = Path(live.report or f"relay-live-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    try:
        for ending in (".json", ".txt"):
            path.with_name(path.name + ending).touch()
    except OSError as exc:
        raise ConfigError(f"--report {path}: cannot be written ({exc.strerror}); name another place") from exc
    return path


def _write(bench: Bench, answers: list[tuple[Question, Answer]], path: Path) -> None:
    from relay.check.live.report import build_json, build_report, build_text  # noqa: PLC0415 - see above

    report = build_report(bench, answers, at=datetime.now(UTC))
    for ending, text in ((".json", build_json(report)), (".txt", build_text(report))):
        path.with_name(path.name + ending).write_text(text, encoding="utf-8")
    echo(f"The report is in {path}.txt and {path}.json; ids, addresses and keys are shortened there.")
