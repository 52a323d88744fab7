"""The command `relay init`: the first configuration, from a few questions or options.

Owns the questions, the differences shown before a file changes, and the writing. A file that is replaced is
kept beside the new one with `.old` at its end.
"""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from relay.cli import config_option
from relay.config.load import find_config
from relay.errors import ConfigError, RelayError
from relay.setup.advice import list_advice
from relay.setup.answers import Answers, build_config, build_environment, build_text, find_mistakes
from relay.terminal import write_out

# The questions on a terminal, in order, where the option was not given.
_QUESTIONS = (
    ("hostname", "Name of this server, as in its MX record and certificate"),
    ("addresses", "Addresses that take mail, with blanks between them (@example.com: all of a domain)"),
    ("bucket", "S3 bucket of the attachments"),
    ("region", "AWS Region of the bucket and the instance"),
    ("instance", "Amazon Connect instance, its id or ARN"),
)
# Secrets may be added to it later: it is its owner's alone from the start.
_ENVIRONMENT_MODE = 0o600
_CONFIG_MODE = 0o640


@click.command("init")
@config_option
@click.option(
    "--environment", metavar="FILE", help="The environment file; default: beside the configuration."
)
@click.option("--hostname", help="The name of this server, as in its MX record and certificate.")
@click.option(
    "--address", "addresses", multiple=True, help="An address that takes mail, or @DOMAIN; repeat it."
)
@click.option(
    "--destination", default="", help="The address in Connect, where it is another than the mail's own."
)
@click.option("--bucket", help="The S3 bucket of the attachments.")
@click.option("--region", help="The AWS Region of the bucket and the instance.")
@click.option("--instance", help="The Amazon Connect instance, its id or ARN.")
@click.option(
    "--role",
    type=click.Choice(["mx", "trusted"]),
    default="mx",
    show_default=True,
    help="mx: for the internet; trusted: for your own systems.",
)
@click.option("--allow", multiple=True, metavar="NETWORK", help="On trusted: your own systems; repeat it.")
@click.option("--certificate", default="", metavar="FILE", help="PEM with the whole chain.")
@click.option("--key", default="", metavar="FILE", help="PEM of its key.")
@click.option("--yes", is_flag=True, help="Replace a file that differs without asking.")
@click.option("--print", "only_print", is_flag=True, help="Write no file: print what it would hold.")
def init_command(
    config_path: str | None, environment: str | None, *, yes: bool, only_print: bool, **given: Any
) -> None:
    """Write a first configuration, and say what else has to be set up.

    Asks for what no option gives. A second run with the same answers changes nothing; before a file changes,
    the difference is shown. Prints the IAM policy, the rules of both buckets, the DNS records and the next
    command.
    """
    answers = _ask(given)
    if mistakes := find_mistakes(answers):
        raise ConfigError(*mistakes)
    place = Path(find_config(config_path))
    beside = Path(environment) if environment else place.parent / "environment"
    texts = (
        (place, build_text(answers), _CONFIG_MODE),
        (beside, build_environment(answers, "" if only_print else _read(beside)), _ENVIRONMENT_MODE),
    )
    for file, text, mode in texts:
        if only_print:
            click.echo(f"# {file}\n{text}")
        else:
            _replace(file, text, mode, yes=yes)
    prefix = build_config(answers).s3.prefix
    for heading, text in list_advice(answers, prefix=prefix, today=datetime.now(UTC).date()):
        click.echo(f"\n{click.style(heading, bold=True)}\n{text.rstrip()}")
    check = f"AWS_REGION={answers.region} relay check --config {shlex.quote(str(place))}"
    click.echo(f"\n{click.style('Next', bold=True)}\n{check}")


def _ask(given: dict[str, Any]) -> Answers:
    """The answers: the options, and on a terminal a question for each that is missing.

    Raises:
        ConfigError: an option is missing, and there is nobody to ask.
    """
    missing = [(name, question) for name, question in _QUESTIONS if not given[name]]
    if missing and not sys.stdin.isatty():
        names = ", ".join("--address" if name == "addresses" else f"--{name}" for name, _ in missing)
        raise ConfigError(f"there is no terminal to ask on; give {names}")
    for name, question in missing:
        answer = click.prompt(question, type=str).strip()
        given[name] = tuple(answer.split()) if name == "addresses" else answer
    return Answers(**given)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise _unusable(file, exc) from exc


def _replace(file: Path, text: str, mode: int, *, yes: bool) -> None:
    """Write a file that is missing or differs; one that is there is shown beside the new one first."""
    there, before = file.exists(), _read(file)
    if there and before == text:
        click.echo(f"{file}: unchanged")
        return
    if there:
        for line in difflib.unified_diff(
            before.splitlines(), text.splitlines(), f"{file} (now)", f"{file} (new)", lineterm=""
        ):
            click.echo(write_out(line))
        if not yes and not (sys.stdin.isatty() and click.confirm(f"Replace {file}?")):
            raise RelayError(f"{file} differs and was left as it is; --yes replaces it and keeps {file}.old")
    try:
        _write(file, text, mode, keep=there)
    except OSError as exc:
        raise _unusable(file, exc) from exc
    click.echo(f"{file}: written" + (f"; the one before is {file}.old" if there else ""))


def _write(file: Path, text: str, mode: int, *, keep: bool) -> None:
    """Write the whole file or nothing: under a name of its own first, synced, then renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        with os.fdopen(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
        ) as out:
            if keep:
                # Its owner and mode were somebody's decision; the group of the service reads it, say.
                stat = file.stat()
                os.fchmod(out.fileno(), stat.st_mode & 0o777)
                with suppress(PermissionError):
                    os.fchown(out.fileno(), stat.st_uid, stat.st_gid)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        if keep:
            old = file.with_name(f"{file.name}.old")
            old.unlink(missing_ok=True)
            os.link(file, old)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def _unusable(file: Path, exc: OSError | UnicodeDecodeError) -> RelayError:
    reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
    return RelayError(f"{file}: {reason}; name another file by --config or --environment")
