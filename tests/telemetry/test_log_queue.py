"""The queue of the log: nothing waits for its sink, nothing is lost in silence, and the end takes a bounded
time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from harness import until

from relay.telemetry.log_queue import QueuedStream

ROOT = Path(__file__).parent.parent.parent


class Counts:
    """What a stream says of lines that it lost."""

    def __init__(self):
        self.lost = 0
        self.told = []


@pytest.fixture
def pipe():
    """Both ends of a pipe, the writing end full."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    size = 0
    try:
        while True:
            size += os.write(writing, b"x" * 65_536)
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield reading, writing, size
    os.close(reading)


def opened(descriptor, *, room=1_000):
    """A stream into the descriptor, and what it says of lost lines."""
    counts = Counts()

    def count(lines):
        counts.lost += lines

    return QueuedStream(descriptor, count=count, tell=counts.told.append, room=room), counts


def test_write_never_waits(pipe):
    """Lines for a pipe that nobody reads wait within their bound; more are counted at once, and told of after
    the stall.
    """
    reading, writing, size = pipe
    stream, counts = opened(writing)
    begun = time.monotonic()
    stream.write("first\n")
    until(lambda: not stream._waiting)  # the thread has it, and stands still
    for number in range(100):
        stream.write(f"{number:08} waits\n")  # 15 characters each
    assert time.monotonic() - begun < 5
    fitting = (1_000 - len("first\n")) // 15
    assert (counts.lost, counts.told) == (100 - fitting, [])
    assert not stream.drain(0.1)
    read = bytearray()

    def read_all():
        while len(read) < size + 6 + fitting * 15:
            read.extend(os.read(reading, 65_536))

    reader = threading.Thread(target=read_all)
    reader.start()
    assert stream.drain(10)
    reader.join(10)
    assert read[size:].decode().splitlines() == [
        "first",
        *(f"{number:08} waits" for number in range(fitting)),
    ]
    assert counts.told == [100 - fitting]


def test_sink_that_refuses():
    """Lines that the sink refuses are counted, not raised; the next that it takes is followed by their
    number.
    """
    reading, writing = os.pipe()
    os.close(reading)
    stream, counts = opened(writing)
    stream.write("two\nlines\n")
    assert stream.drain(10)
    assert (counts.lost, counts.told) == (2, [])
    reading, fresh = os.pipe()
    os.dup2(fresh, writing)
    stream.write("taken\n")
    assert stream.drain(10)
    assert (counts.lost, counts.told) == (2, [2])
    assert os.read(reading, 100) == b"taken\n"


def test_descriptor_that_does_not_block(pipe):
    """A pipe that somebody else has set not to block is waited for, and gets each octet."""
    reading, writing, size = pipe
    os.set_blocking(writing, False)
    stream, counts = opened(writing)
    stream.write("late\n")
    assert not stream.drain(0.1)
    left = size
    while left:
        left -= len(os.read(reading, left))
    assert stream.drain(10)
    assert (os.read(reading, 100), counts.lost) == (b"late\n", 0)


@pytest.mark.process
@pytest.mark.parametrize(
    "end", ["", "raise SystemExit('last words')", "1/0", "import warnings; warnings.warn('x')"]
)
def test_last_words(end):
    """All that a process says on stderr before an orderly end, log, traceback or exit text, comes out, in
    order.
    """
    program = (
        "from relay import telemetry\ntelemetry.queue_log()\n"
        "telemetry.configure('json', process='p')\n"
        f"for n in range(2000): telemetry.log_dropped(lines=n)\n{end}"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    lines = ended.stderr.splitlines()
    assert [json.loads(line)["lines"] for line in lines[:2000]] == list(range(2000))
    assert bool(lines[2000:]) == bool(end)


@pytest.mark.process
def test_end_with_a_sink_that_stalls():
    """A process whose stderr nobody reads ends all the same, a moment later."""
    program = (
        "from relay import telemetry\ntelemetry.queue_log()\n"
        "telemetry.configure('json', process='p')\n"
        "for n in range(20000): telemetry.log_dropped(lines=n)\nraise SystemExit('last words')"
    )
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=writing)
        assert process.wait(30) == 1
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.process
def test_lines_that_are_missing_are_numbered():
    """A reader that comes late finds what had room, and log.dropped with the number of those that
    had none.
    """
    program = (
        "import sys\nfrom relay import telemetry\ntelemetry.queue_log()\n"
        "telemetry.configure('json', process='p')\n"
        "for n in range(30000): telemetry.child_stacks(name='n', pid=n, why='w' * 100, stacks=[])\n"
        "print(telemetry.exposition(), flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        metric = next(line for line in process.stdout if line.startswith("relay_log_lines_dropped_total"))
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "log.dropped":
                break
        process.communicate("")
    dropped = lines.pop()["lines"]
    assert dropped == float(metric.split()[1])
    assert len(lines) + dropped == 30_000
    assert [line["pid"] for line in lines] == list(range(len(lines)))
