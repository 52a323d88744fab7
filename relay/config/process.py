"""The keys of the processes: how many there are, what they may cost, and where they show how they are.

Owns `[server]`, `[understand]`, `[admin]` and `[log]`. Never starts a process.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from relay.config.listener import OptionalBinds
from relay.config.section import Section
from relay.config.words import WholePath


class Server(Section):
    """The processes, and how they end."""

    receivers: int = Field(default=0, ge=0, le=64)
    drain_seconds: float = Field(default=30.0, gt=0, le=600)
    hang_seconds: float = Field(default=30.0, ge=1, le=3_600)
    users_file: WholePath | None = None


class Understand(Section):
    """The limits on what one mail may cost the process that reads it."""

    cpu_seconds: int = Field(default=15, ge=1, le=600)
    memory_bytes: int = Field(default=1_073_741_824, ge=268_435_456)


class Admin(Section):
    """Health and metrics, for the operator only."""

    #: None at all turns the pages off; the file says so by "".
    bind: OptionalBinds = ("127.0.0.1:8026",)


class Log(Section):
    """The form and the level of the log; where it goes is the service manager's business."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    metrics: Literal["off", "emf"] = "off"
    addresses: Literal["full", "domain", "hash"] = "full"
