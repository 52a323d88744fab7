"""Results that are kept with the settings of a listener: a mail server asks for the same few all day.

Owns where they are kept: in the settings, so that they end with them. A cache of a module that had settings
among its keys would keep each configuration that a reload has replaced, with its routes and certificates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from relay.smtp.settings import ListenerSettings

P = ParamSpec("P")
T = TypeVar("T")


def remembered(
    most: int,
) -> Callable[[Callable[Concatenate[ListenerSettings, P], T]], Callable[Concatenate[ListenerSettings, P], T]]:
    """A decorator for a function of settings and of hashable values: its last `most` results are kept with
    the settings.
    """

    def decorate(
        function: Callable[Concatenate[ListenerSettings, P], T],
    ) -> Callable[Concatenate[ListenerSettings, P], T]:
        @wraps(function)
        def ask(settings: ListenerSettings, /, *args: P.args, **kwargs: P.kwargs) -> T:
            kept: Callable[..., Any] | None = settings.remembered.get(function)
            if kept is None:
                made: Callable[..., Any] = lru_cache(most)(partial(function, settings))
                kept = settings.remembered[function] = made
            result: T = kept(*args, **kwargs)
            return result

        return ask

    return decorate
