"""The command `relay sandbox`: the whole relay on this machine, with an S3 and a Connect of its own.

Owns the lines that a person reads. The work is done in `relay.sandbox`, which is imported only here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shlex
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import click

from relay.config.words import check_bind, split_bind
from relay.errors import ConfigError, RelayError


def _bind(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """An `address:port` in the form of the configuration."""
    try:
        return check_bind(value)
    except ValueError as exc:
        raise click.BadParameter(f'"{value}" {exc}') from exc


@click.command("sandbox")
@click.option(
    "--smtp", callback=_bind, default="127.0.0.1:2525", show_default=True, help="Where mail comes in."
)
@click.option(
    "--http", callback=_bind, default="127.0.0.1:8025", show_default=True, help="The page and its API."
)
@click.option(
    "--config", "config_path", metavar="FILE", help="Routes and limits; default: built in, for example.com."
)
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Default: a temporary one."
)
@click.option("--no-daemon", is_flag=True, help="S3, Connect and the page only, for a daemon of your own.")
@click.option(
    "--fleet",
    "count",
    metavar="N",
    type=click.IntRange(2, 9),
    help="N nodes that share a spool, at --smtp and the ports behind it; needs `make setup-fleet` once.",
)
def sandbox_command(
    smtp: str,
    http: str,
    config_path: str | None,
    data_dir: Path | None,
    count: int | None,
    *,
    no_daemon: bool,
) -> None:
    """Run the real relay with an S3 and an Amazon Connect simulated on this machine.

    Needs no AWS account and no network. What you mail to it is shown on a page, as an agent would see it.
    """
    if any(importlib.util.find_spec(name) is None for name in ("moto", "flask")):
        raise ConfigError('relay sandbox needs an extra: pip install "connect-mail-relay[sandbox]"')
    with tempfile.TemporaryDirectory(prefix="relay-sandbox-") as temporary:
        place = Path(temporary) if data_dir is None else data_dir.absolute()
        place.mkdir(parents=True, exist_ok=True)
        if count is not None:
            if no_daemon:
                raise click.UsageError("--fleet starts nodes, and --no-daemon starts none; give one of them")
            asyncio.run(_run_fleet(smtp=smtp, http=http, config_path=config_path, place=place, count=count))
            return
        asyncio.run(_run(smtp=smtp, http=http, config_path=config_path, place=place, no_daemon=no_daemon))


async def _run(*, smtp: str, http: str, config_path: str | None, place: Path, no_daemon: bool) -> None:
    from relay.sandbox.configuration import sandbox_config, write_config  # noqa: PLC0415  # an extra
    from relay.sandbox.daemon import open_daemon  # noqa: PLC0415
    from relay.sandbox.service import Sandbox, buckets_of, settings_of  # noqa: PLC0415

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    config = sandbox_config(smtp=smtp, data_dir=place / "data", config_path=config_path)
    file = place / "relay.toml"
    write_config(config, file)
    async with AsyncExitStack() as stack:
        box = Sandbox(
            settings=settings_of(config),
            bucket=config.s3.bucket,
            buckets=buckets_of(config),
            http=split_bind(http),
            smtp=smtp,
            config=None if no_daemon else config,
        )
        try:
            await stack.enter_async_context(box)
        except OSError as exc:
            raise ConfigError(f"--http {http}: {exc.strerror or exc}") from exc
        waiting = asyncio.create_task(stopping.wait())
        if no_daemon:
            names = box.env | {
                "RELAY_S3__BUCKET": config.s3.bucket,
                "RELAY_CONNECT__INSTANCE_ID": config.connect.instance_id,
            }
            click.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items()))
            click.echo(f"# page: {box.http_url}/")
            await waiting
            return
        daemon = await stack.enter_async_context(open_daemon(file, box.environ()))
        box.smtp = daemon.binds[0]  # the port that was taken, where any would do
        click.echo(_welcome(box.smtp, box.http_url, file))
        ended = asyncio.create_task(daemon.wait())
        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.is_set():
            raise RelayError(f"the daemon has ended by itself, with exit code {ended.result()}")
        click.echo("stopping …")
        await daemon.stop()


async def _run_fleet(*, smtp: str, http: str, config_path: str | None, place: Path, count: int) -> None:
    from relay.sandbox.fleet import build_configs, open_fleet  # noqa: PLC0415  # an extra

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    configs = build_configs(place, count=count, smtp=smtp, config_path=config_path)
    click.echo(f"starting an emulator of DynamoDB and {count} nodes …")
    try:
        async with open_fleet(place, configs, http=split_bind(http)) as (box, nodes):
            variables = place / "aws.sh"
            lines = [f"export {name}={shlex.quote(value)}\n" for name, value in box.env.items()]
            await asyncio.to_thread(variables.write_text, "".join(lines))
            takes = [f"  {node.name}  {node.smtp}" for node in nodes.all]
            click.echo(_welcome_fleet(takes, nodes.all[0].smtp, box.http_url, nodes.all[0].file, variables))
            await stopping.wait()
            click.echo("stopping …")
    except OSError as exc:
        raise ConfigError(f"--http {http}: {exc.strerror or exc}") from exc


def _program() -> str:
    """The command that runs this very program: it need not be the `relay` of the PATH, if there is one."""
    own = Path(sys.argv[0])
    if own.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m relay"
    found = shutil.which("relay")
    return "relay" if found and own.exists() and Path(found).samefile(own) else shlex.quote(sys.argv[0])


def _welcome(smtp: str, http: str, file: Path) -> str:
    message = (
        r"From: You <you@example.org>\r\nTo: support@example.com\r\nSubject: Hello\r\n\r\nIs anybody there?"
    )
    return f"""
The relay takes mail at {smtp} and shows its contacts at {http}/

  swaks --server {smtp} --to support@example.com --from you@example.org --header "Subject: Hello"

  python3 -c 'import smtplib; smtplib.SMTP("{smtp}").sendmail("you@example.org", "support@example.com",
      "{message}")'

  curl {http}/api/contacts
  {_program()} queue list --config {shlex.quote(str(file))}

Ctrl-C stops it.
"""


def _welcome_fleet(takes: list[str], smtp: str, http: str, file: Path, variables: Path) -> str:
    lines = "\n".join(takes)
    return f"""
The nodes take mail at

{lines}

See their mails at {http}/ and kill a node, and start it again, at {http}/nodes

  swaks --server {smtp} --to support@example.com --from you@example.org --header "Subject: Hello"

  . {shlex.quote(str(variables))}; {_program()} queue list --config {shlex.quote(str(file))}

Ctrl-C stops it.
"""
