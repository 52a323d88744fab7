"""How the processor time of a reader grows with what it reads."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from itertools import combinations

from hostile.readers import Context, Reader

#: Shorter times say nothing: a cache that is cold, a collection of garbage.
JUDGED_SECONDS = 0.020
#: Twice the octets take a linear reader twice as long, a quadratic one four times.
MOST = 3.0


def runs(reader: Reader, *, mixed: bool) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Runs of each unit of a reader and, when `mixed`, of each two of them: alternating, and with the other
    at the end.
    """
    for context in reader.contexts:
        for unit in reader.units:
            yield _run(context, unit, b"")
            if mixed:
                for other in reader.units:
                    if other != unit:
                        yield _run(context, unit, other)
        if mixed:
            for one, other in combinations(reader.units, 2):
                yield _run(context, one + other, b"")


def _run(context: Context, unit: bytes, end: bytes) -> tuple[str, Callable[[int], bytes]]:
    before, behind = context
    name = f"{before!r} + {unit!r} * n + {end + behind!r}"
    return name, lambda size: before + unit * (size // len(unit)) + end + behind


def cpu_seconds(read: Callable[[bytes], object], octets: bytes) -> float:
    """The processor time of this thread that one reading takes."""
    # Garbage is collected by the size of the whole heap, which is the tests' own.
    gc.disable()
    try:
        begun = time.thread_time()
        read(octets)
        return time.thread_time() - begun
    finally:
        gc.enable()


def grows_too_fast(read: Callable[[bytes], object], make: Callable[[int], bytes], size: int) -> str:
    """A sentence when twice the octets take three times as long, and twice those once more; "" when not."""
    twice, once = make(2 * size), make(size)
    first = cpu_seconds(read, twice)
    if first < JUDGED_SECONDS or first < MOST * 0.8 * cpu_seconds(read, once):
        return ""
    long, short = (min(cpu_seconds(read, octets) for _ in range(5)) for octets in (twice, once))
    if long < JUDGED_SECONDS or long < MOST * short:
        return ""
    # A busy machine makes some times longer, never all of them: what grows too fast does so once more.
    fourfold = make(4 * size)
    if min(cpu_seconds(read, fourfold) for _ in range(3)) < MOST * long:
        return ""
    return f"{len(once):,} octets {short * 1e3:.1f} ms, {len(twice):,} octets {long * 1e3:.1f} ms"
