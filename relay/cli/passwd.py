"""The command `relay passwd`: a login of the users file, with its password.

Owns how a password is asked for: never as an argument, which every user of the machine could read.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli import config_option
from relay.cli.audited import auditing, build_action, reason_option
from relay.cli.entries import echo
from relay.errors import ConfigError, RelayError

if TYPE_CHECKING:  # `relay --help` needs no pydantic
    from relay.config.model import Config

#: The colon ends a login in the file, and "#" begins a comment.
_LOGIN = re.compile(r"[^:\s#][^:\s]*")


class UsersFileError(RelayError):
    """The users file cannot be named, read or written."""


@click.command(
    "passwd",
    epilog="\b\nExamples:\n  relay passwd printer\n  relay passwd --file /etc/relay/users printer\n"
    "  relay passwd --delete printer",
)
@config_option
@click.argument("login")
@click.option(
    "--file", "path", metavar="FILE", type=click.Path(path_type=Path), help="Default: server.users_file."
)
@click.option("--delete", is_flag=True, help="Remove the login.")
@reason_option
@click.pass_context
def passwd_command(
    ctx: click.Context,
    config_path: str | None,
    login: str,
    path: Path | None,
    *,
    delete: bool,
    because: str,
) -> None:
    """Set the password of LOGIN in the users file, or remove LOGIN. The running relay sees it at once.

    The password is asked for twice; where no person is there, it is the first line of standard input.
    """
    from relay.logins.users import remove_login, set_password  # noqa: PLC0415 - `relay --help` needs no argon2

    if not _LOGIN.fullmatch(login) or not login.isprintable():
        raise click.UsageError(f'"{login}" is no login: it has no blank, no colon, and no "#" in front')
    config = _find_config(config_path, needed=path is None)
    path = path or _find_file(config)
    password = b"" if delete else _ask()
    action = build_action([*(["--delete"] if delete else []), login, f"--file {path}"], because)
    try:
        with auditing(config, action) as ending:
            if delete:
                gone = remove_login(path, login)
                ending.tell(changed=int(gone), left=int(not gone))
            else:
                is_new = set_password(path, login, password)
                ending.tell(changed=1)
    except OSError as exc:
        raise UsersFileError(f"{path}: {exc.strerror or exc}") from exc
    if delete:
        echo(f"{login} is no login of {path} any more" if gone else f"{login} is no login of {path}")
        ctx.exit(0 if gone else 1)
    echo(f"{login} is a login of {path} now" if is_new else f"{login} has another password in {path} now")


def _find_config(config_path: str | None, *, needed: bool) -> Config | None:
    """The configuration. Returns None where there is none, and the file of logins was named by itself.

    Raises:
        ConfigError: there is none that can be used, and the file of logins was not named.
    """
    from relay.config.load import load_config  # noqa: PLC0415 - nor pydantic

    try:
        return load_config(config_path)
    except ConfigError:
        if needed:
            raise
        return None


def _find_file(config: Config | None) -> Path:
    path = config.server.users_file if config is not None else None
    if path is None:
        raise UsersFileError("server.users_file: is missing; name the file of logins there, or with --file")
    return path


def _ask() -> bytes:
    """The octets of the password, as peers will send them.

    Raises:
        click.UsageError: it is empty.
    """
    if sys.stdin.isatty():
        typed = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        password = str(typed).encode("utf-8", "surrogateescape")
    else:
        password = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        raise click.UsageError("the password is empty")
    return password
