"""The handlers of a configuration, and one call of one of them: its time limit, its faults, and how long it
blocks.

Owns the task of a call. A handler is code that nobody here has read. A call that raises, hangs, does not end
when it is cancelled, blocks the event loop or answers nonsense comes back in time as 451 4.3.0, and is told
in the log only (docs/smtp.md, "Handlers").
"""

from __future__ import annotations

import asyncio
import functools
import time
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay import replies, telemetry
from relay.config.handlers import METHODS, load_handler
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
    #: By the command (MAIL, RCPT or DATA), the methods that the handler has.
    methods: Mapping[str, _Method]
    #: The time that each of its calls may take.
    seconds: float
    #: The classes of errors of which a traceback was logged, each with its line.
    places: set[tuple[str, int]] = field(default_factory=set)


def build_hook(name: str, handler: object, seconds: float) -> Hook:
    """The hook of a handler that `load_handler` has looked at."""
    commands = [method.removeprefix("handle_") for method in METHODS if hasattr(handler, method)]
    methods = {command: getattr(handler, f"handle_{command}") for command in commands}
    return Hook(name=name, handler=handler, methods=methods, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """All handlers of one configuration, in its order."""

    hooks: tuple[Hook, ...]
    config: Config
    #: The pairs of a hook and a field of the envelope for which a change that is ignored has been told.
    told: set[tuple[str, str]] = field(default_factory=set)

    def calls(self, command: str) -> bool:
        """Returns whether a handler is to be asked at this command."""
        return any(command in hook.methods for hook in self.hooks)

    @property
    def seconds(self) -> float:
        """The most that all handlers together may take at one command."""
        return sum(hook.seconds for hook in self.hooks)


def build_hooks(config: Config, earlier: Hooks | None = None) -> Hooks | None:
    """The handlers that a configuration names. Returns None when it names none. A handler that the `earlier`
    configuration named, too, stays the same object, with whatever it remembers.

    Raises:
        ConfigError: one cannot be imported or made; one sentence for each.
    """
    if not config.hooks:
        return None
    known = {hook.name: hook.handler for hook in earlier.hooks} if earlier is not None else {}
    hooks, wrong = [], []
    for index, hook in enumerate(config.hooks):
        try:
            handler = known[hook.handler] if hook.handler in known else load_handler(hook.handler)
        except ValueError as exc:
            wrong.append(f'hooks[{index}].handler = "{hook.handler}": {exc}')
        else:
            hooks.append(build_hook(hook.handler, handler, hook.seconds))
    if wrong:
        raise ConfigError(*wrong)
    told = earlier.told if earlier is not None else set()
    return Hooks(hooks=tuple(hooks), config=config, told=told)


async def call_handler(hook: Hook, command: str, args: tuple[object, ...], *, spool_id: str) -> Reply | None:
    """The reply by which a handler refuses, or 451 4.3.0 where its call fails. Returns None where it lets
    the mail go on.
    """
    watch = _Watch()
    task = asyncio.get_running_loop().create_task(_run(watch, hook.methods[command], args))
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
            return reply
    seen = error is not None and _is_known(error, hook.places)
    telemetry.hook_failed(
        hook=hook.name, command=command, spool_id=spool_id, why=why, error=None if seen else error
    )
    return replies.LOCAL_ERROR


def _is_known(error: BaseException, places: set[tuple[str, int]]) -> bool:
    """Returns whether an error of this class came from the same line before: its traceback is logged once, so
    that a sender who knows how to raise it fills no disk.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = (type(error).__name__, last.tb_lineno if last is not None else 0)
    known = place in places
    places.add(place)
    return known


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
        """Run a coroutine, and note how long its steps take. SystemExit, which would end the process,
        becomes an error.
        """
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


async def _run(watch: _Watch, method: _Method, args: tuple[object, ...]) -> object:
    """The call of a method under its watch."""
    return await watch.run(_await(method, args))


async def _await(method: _Method, args: tuple[object, ...]) -> object:
    """The call of a method, an error in the call itself included."""
    return await method(*args)


def _forget(task: asyncio.Task[object]) -> None:
    """Take note of the outcome of a call that nobody waits for, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()
