"""The heap of a process: what is free is given back to the system, and old cycles are collected."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

from relay.daemon import heap
from relay.daemon.heap import settle

#: Large blocks are freed among small ones that stay: MiB of resident memory that remain.
PROGRAM = """
import sys
from relay.daemon.heap import tune_malloc
from resources import footprint_of
tuned = tune_malloc()
block = bytearray(8 << 20); del block  # by which glibc learns to keep blocks of this size
before = footprint_of("self").resident
kept, large = [], []
for number in range(400):
    large.append(b"x" * 262_144)
    kept.append(b"x" * 30_000)
del large
print(tuned, (footprint_of("self").resident - before) >> 20)
"""


def remains(**env: str) -> tuple[bool, int]:
    path = os.pathsep.join(sys.path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=kept | {"PYTHONPATH": path} | env,
        capture_output=True,
        text=True,
        check=True,
    )
    tuned, size = run.stdout.split()
    return tuned == "True", int(size)


@pytest.mark.process
@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="glibc"
)
def test_memory_of_large_mails_is_given_back():
    """100 MiB of blocks as large mails need them leave little beside what stays, which is 12 MiB."""
    tuned, size = remains()
    assert tuned
    assert size < 25
    tuned, size = remains(MALLOC_ARENA_MAX="16")
    assert not tuned
    assert size > 50


@pytest.mark.slow
def test_settling_collects_what_an_earlier_settling_exempted():
    """An object in a cycle that is exempt from collection goes with the next reload once nobody needs it."""

    class Old:
        pass

    old = Old()
    old.itself = old
    gone = weakref.ref(old)
    try:
        settle()
        del old
        gc.collect()
        assert gone() is not None
        settle()
        assert gone() is None
    finally:
        gc.unfreeze()


@pytest.mark.slow
def test_first_settling_leaves_exempt_what_the_parent_exempted(monkeypatch):
    """A process that was forked looks at what its parent had exempted at a reload, and not at its start."""
    monkeypatch.setattr(heap, "_is_settled", False)

    class Old:
        pass

    old = Old()
    old.itself = old
    gone = weakref.ref(old)
    try:
        gc.freeze()
        del old
        settle()
        assert gone() is not None
        settle()
        assert gone() is None
    finally:
        gc.unfreeze()
