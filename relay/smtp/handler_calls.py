"""The handlers of a configuration, and one call of one of them: its time limit, its faults, and how long it blocks.

Owns the task of a call. A handler is code that nobody here has read: a call that raises, hangs, does not end when
it is cancelled, blocks the event loop or answers nonsense comes back in time as 451 4.3.0, and is told in the log
only (docs/smtp.md, "Handlers").
"""

from __future__ import annotations

import asyncio
import functools
import time
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

from relay import replies, telemetry
from relay.config.handlers import load_handler
from relay.config.model import Config
from relay.errors import ConfigError
from relay.smtp.handler_answers import read_answer
from relay.vocabulary import Reply

#: A handler that keeps the event loop from turning for longer is named in the log.
_BLOCKS_SECONDS = 1.0

_Method = Callable[..., Coroutine[Any, Any, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One handler of the configuration."""

    #: As the configuration has it: `package.module:Name`.
    name: str
    handler: object
    #: The time that each of its calls may take.
    seconds: float

    def method(self, command: str) -> _Method | None:
        """The method that is called at a command; None where the handler has none."""
        return getattr(self.handler, f"handle_{command}", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """All handlers of one configuration, in its order."""

    hooks: tuple[Hook, ...]
    config: Config
    #: The pairs of a hook and a field of the envelope for which a change that is ignored has been told.
    told: set[tuple[str, str]] = field(default_factory=set)

    def calls(self, command: str) -> bool:
        """Returns whether a handler is to be asked at this command."""
        return any(hook.method(command) is not None for hook in self.hooks)

    @property
    def seconds(self) -> float:
        """The most that all handlers together may take at one command."""
        return sum(hook.seconds for hook in self.hooks)


def build_hooks(config: Config) -> Hooks | None:
    """The handlers that a configuration names; None when it names none.

    Raises:
        ConfigError: one cannot be imported or made; one sentence for each.
    """
    if not config.hooks:
        return None
    hooks, wrong = [], []
    for index, hook in enumerate(config.hooks):
        try:
            handler = load_handler(hook.handler)
        except ValueError as exc:
            wrong.append(f'hooks[{index}].handler = "{hook.handler}": {exc}')
        else:
            hooks.append(Hook(name=hook.handler, handler=handler, seconds=hook.seconds))
    if wrong:
        raise ConfigError(*wrong)
    return Hooks(hooks=tuple(hooks), config=config)


async def call_handler(hook: Hook, command: str, args: tuple[object, ...], *, spool_id: str) -> Reply | None:
    """The reply by which a handler refuses; None where it lets the mail go on; 451 4.3.0 where it fails."""
    watch = _Watch()
    task = asyncio.get_running_loop().create_task(_run(watch, hook.method(command), args))
    try:
        await asyncio.wait({task}, timeout=hook.seconds)
    finally:
        # A handler that does not obey the cancellation is waited for no longer; its end is no news.
        task.add_done_callback(_forget)
        task.cancel()
    if watch.longest > _BLOCKS_SECONDS:
        telemetry.hook_blocked(hook=hook.name, command=command, spool_id=spool_id, seconds=watch.longest)
    error: BaseException | None = None
    if not task.done() or watch.seconds > hook.seconds:
        why = f"no answer within {hook.seconds:g} seconds"
    elif task.cancelled():
        why = "the handler cancelled itself"
    elif (error := task.exception()) is not None:
        why = f"{type(error).__name__}: {error}"
    else:
        try:
            reply = read_answer(task.result())
        except ValueError as exc:
            why = str(exc)
        else:
            if reply is not None:
                telemetry.hook_refused(hook=hook.name, command=command, spool_id=spool_id, reply=reply)
            return reply
    telemetry.hook_failed(hook=hook.name, command=command, spool_id=spool_id, why=why, error=error)
    return replies.LOCAL_ERROR


class _Watch:
    """The time that a coroutine takes, in all and between two of its waits."""

    __slots__ = ("longest", "seconds")

    def __init__(self) -> None:
        #: From the first step to the end of the last one so far.
        self.seconds = 0.0
        #: The longest time for which it has kept the event loop from turning.
        self.longest = 0.0

    @types.coroutine
    def run(self, coroutine: Coroutine[Any, Any, object]) -> Generator[Any, Any, object]:
        """Run a coroutine, and note how long its steps take; SystemExit would end the process, and is an error."""
        step: Callable[[], Any] = functools.partial(coroutine.send, None)
        first = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                waited_for = step()
            except StopIteration as stop:
                return stop.value
            except SystemExit as exc:
                raise RuntimeError("the handler raised SystemExit") from exc
            finally:
                now = time.monotonic()
                self.seconds, self.longest = now - first, max(self.longest, now - began)
            try:
                step = functools.partial(coroutine.send, (yield waited_for))
            except BaseException as exc:  # noqa: BLE001 - a cancellation, for the handler to see
                step = functools.partial(coroutine.throw, exc)


async def _run(watch: _Watch, method: _Method | None, args: tuple[object, ...]) -> object:
    """The call of a method under its watch."""
    return await watch.run(_await(method, args))


async def _await(method: _Method | None, args: tuple[object, ...]) -> object:
    """The call of a method, an error in the call itself included."""
    return await method(*args) if method is not None else None


def _forget(task: asyncio.Task[object]) -> None:
    """Take note of the outcome of a call that nobody waits for, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()
