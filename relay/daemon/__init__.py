"""The daemon: a supervisor, N receivers and one deliverer, which know each other only through the spool.

    supervisor   binds the sockets, starts the others, restarts what crashes, hands on signals
    receiver     accepts mail and commits it to the spool (one event loop each, sharing the listening sockets)
    deliverer    turns what is due in the spool into contacts

A child is told its configuration over a socket pair (`link`), and stops by itself when that pair closes: a
supervisor that was killed leaves no orphans.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from relay.config import Config

Role = Literal["all", "receive", "deliver"]


def serve(config: Config, *, config_path: str | None, role: Role = "all") -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code. `config_path` is read again at SIGHUP.

    Raises:
        ConfigError: a listener cannot be opened.
    """
    from relay.daemon.supervisor import Supervisor  # noqa: PLC0415 - children import this package without it

    return asyncio.run(Supervisor(config, config_path=config_path, role=role).run())
