"""The handlers that a configuration names by `package.module:Name`: imported, made, and looked at.

Owns the import of the operator's own code; docs/smtp.md, "Handlers" says what a handler is. Never calls a
method of one.
"""

from __future__ import annotations

import importlib
import inspect

#: The methods of which a handler has at least one.
METHODS = ("handle_MAIL", "handle_RCPT", "handle_DATA")


def load_handler(words: str) -> object:
    """The handler of this name: an object, or a new instance where the name is that of a class.

    Raises:
        ValueError: there is no such handler; the message completes the sentence "<key> = <value>: ...".
    """
    module, _, name = words.partition(":")
    found = _find(module, name)
    if isinstance(found, type):
        try:
            found = found()
        except (Exception, SystemExit) as exc:
            raise ValueError(f"cannot be made ({_describe(exc)}); it is called without arguments") from exc
    methods = {each: getattr(found, each) for each in METHODS if hasattr(found, each)}
    if not methods:
        raise ValueError(f"has none of {', '.join(METHODS[:-1])} and {METHODS[-1]}; name an aiosmtpd handler")
    for each, method in methods.items():
        if not inspect.iscoroutinefunction(method):
            raise ValueError(f'{each} is no coroutine function; write it as "async def {each}"')
    return found


def _find(module: str, name: str) -> object:
    """The object of this name in a module."""
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise ValueError(f"cannot be imported ({_describe(exc)}); install what it needs") from exc
        raise ValueError(f"there is no module {exc.name}; install it where relay is installed") from exc
    except (Exception, SystemExit) as exc:
        raise ValueError(f"cannot be imported ({_describe(exc)}); mend the module") from exc
    for step in name.split("."):
        if not hasattr(found, step):
            raise ValueError(f'{module} has no "{name}"; name a class or an object of that module')
        found = getattr(found, step)
    return found


def _describe(error: BaseException) -> str:
    """An error of somebody else's code in a few words, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
