"""The sandbox that most tests want: one whose Connect has no pace worth waiting for."""

from __future__ import annotations

from contextlib import AbstractContextManager

from relay.config.builtin import builtin_config
from relay.sandbox.limits import Settings
from relay.sandbox.service import Sandbox, running_sandbox, settings_of


def fast_settings() -> Settings:
    """The instance of the built-in configuration, which takes a thousand contacts a second."""
    return settings_of(builtin_config(), requests_per_second=1_000.0, burst=1_000)


def fast_sandbox(*, seed: int = 1) -> AbstractContextManager[Sandbox]:
    """Such a sandbox in a thread of its own; faults strike by this seed."""
    return running_sandbox(settings=fast_settings(), seed=seed)


def put_right(box: Sandbox) -> None:
    """As if it had just been opened: no faults, no answers to come, no contacts."""
    box.chaos({})
    box.clear()
    box.connect.planned.clear()
