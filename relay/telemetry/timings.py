"""The times that mails take: for each step of their way, and from the 250 to the contact.

Owns one function a fact, which moves its metrics. No fact here writes a line of the log: the line of the mail
or of its attempt says the same. `relay.telemetry` has the rules of all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from relay.telemetry.metrics import CONTACT_SECONDS, ENTRIES, STEP_SECONDS, Step
from relay.telemetry.spans import current_spans


@contextmanager
def step_timed(step: Step, **sizes: int) -> Iterator[None]:
    """Time the block as a step of a mail's way, whether it succeeds or raises: a time-out takes its time,
    too. Usable from any thread. Where spans are exported the step is one of its attempt, with these sizes.
    """
    begun, spans = time.perf_counter(), current_spans()
    try:
        if spans is None:
            yield
        else:
            with spans.trace_step(step, sizes):
                yield
    finally:
        STEP_SECONDS.labels(step).observe(time.perf_counter() - begun)


def entries_accepted(*, entries: int) -> None:
    """A commit has stored so many entries; a retransmission stores none. Usable from any thread."""
    ENTRIES.labels("accepted").inc(entries)


def contact_made(*, route: str, seconds: float) -> None:
    """An entry of the route became a contact so many seconds after its 250. A clock that was set back makes
    it 0.
    """
    CONTACT_SECONDS.labels(route).observe(max(seconds, 0.0))
