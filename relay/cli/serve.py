"""The command `relay serve`: the daemon in the foreground, as a service manager wants it."""

from __future__ import annotations

from typing import Literal

import click

from relay.cli import config_option
from relay.config.load import check_files, load_all, make_data_dir
from relay.errors import ConfigError


@click.command("serve")
@config_option
@click.option(
    "--role",
    type=click.Choice(["all", "receive", "deliver"]),
    default="all",
    show_default=True,
    help="Which half runs here.",
)
@click.pass_context
def serve_command(
    ctx: click.Context, config_path: str | None, role: Literal["all", "receive", "deliver"]
) -> None:
    """Receive mail and deliver it, until told to stop.

    SIGTERM stops in the direction of flow and loses nothing; SIGHUP reads the configuration again.
    """
    loaded = load_all(config_path, checked=True)
    config = loaded.config
    sentences = check_files(config)
    if sentences:
        raise ConfigError(*sentences)
    make_data_dir(config.data_dir)
    # Imported late: the spool brings SQLite, the daemon the event loop and all stages, and a mistyped key
    # needs neither.
    from relay.spool.administration import find_newer  # noqa: PLC0415 - see above
    from relay.spool.opening import find_unfit  # noqa: PLC0415 - see above

    if sentences := find_unfit(config) or find_newer(config):
        raise ConfigError(*sentences)
    from relay.daemon.supervisor import serve  # noqa: PLC0415 - see above

    ctx.exit(serve(loaded, config_path=config_path, role=role))
