"""The progress of a command that takes long: a bar on a terminal, else a plain line now and then.

Owns how both look. They are written to standard error, so that output for programs stays whole.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click

#: Seconds after which a work counts as long: a shorter one shows nothing.
_LONG_SECONDS = 2.0
#: Seconds between two plain lines; a bar is drawn ten times a second at most.
_LINE_SECONDS = 10.0
_BAR_SECONDS = 0.1


Each = TypeVar("Each")


def tracked(title: str, items: Sequence[Each], *, is_silent: bool = False) -> Iterator[Each]:
    """The items one after the other, with the progress of the work on them. Unless that work is silent,
    nothing is shown where it writes to the same terminal: its own lines tell how far it is.
    """
    if len(items) < 2 or (sys.stdout.isatty() and sys.stderr.isatty() and not is_silent):
        yield from items
        return
    with showing_progress(title) as report:
        for number, item in enumerate(items):
            report(number, len(items))
            yield item
        report(len(items), len(items))


@contextmanager
def showing_progress(
    title: str, *, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """A block that takes long. Gives the function that is told how much is done, of how much."""
    is_terminal = sys.stderr.isatty()
    shown_at = monotonic() + _LONG_SECONDS - (_BAR_SECONDS if is_terminal else _LINE_SECONDS)
    bar = click.progressbar(length=0, label=title, file=sys.stderr, show_pos=False) if is_terminal else None
    drawn = False

    def report(done: int, total: int) -> None:
        nonlocal shown_at, drawn
        at = monotonic()
        if at - shown_at < (_BAR_SECONDS if bar else _LINE_SECONDS):
            return
        shown_at = at
        if bar is None:
            click.echo(f"relay: {title}: {100 * done // max(total, 1)} %", err=True)
            return
        bar.length = max(total, 1)
        bar.update(done - bar.pos)
        drawn = True

    try:
        yield report
    finally:
        if bar is not None and drawn:
            bar.render_finish()
