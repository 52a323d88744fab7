"""Fault points: inert unless asked for, and striking exactly when asked."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay import faults
from relay.daemon.stacks import process_state
from relay.faults import arm_fault, fault_point, parse_fault

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def disarmed():
    arm_fault("")
    yield
    arm_fault("")


def test_point_is_inert_without_a_fault():
    """With nothing armed, a point does nothing."""
    for _ in range(10):
        fault_point("spool.put.committed")
    assert faults._armed is None


@pytest.mark.parametrize(
    ("word", "number"),
    [("eio", errno.EIO), ("enospc", errno.ENOSPC), ("edquot", errno.EDQUOT), ("erofs", errno.EROFS)],
)
def test_error_at_every_pass(word, number):
    """A named error is raised at each pass of its own point, and at no other."""
    arm_fault(f"here:{word}")
    fault_point("there")
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            fault_point("here")
        assert caught.value.errno == number


def test_exception_of_no_kind():
    """The word raise stands for a bug: an exception that no code is ready for."""
    arm_fault("here:raise")
    with pytest.raises(faults.UnexpectedError, match="here"):
        fault_point("here")


def test_error_at_one_pass():
    """With a number it strikes at that pass only."""
    arm_fault("here:eio:2")
    fault_point("here")
    with pytest.raises(OSError, match="here"):
        fault_point("here")
    fault_point("here")


@pytest.mark.process
@pytest.mark.parametrize(("spec", "passes"), [("here", 1), ("here:3", 3)])
def test_kill_at_its_pass(spec, passes):
    """Without an error the process ends by SIGKILL, at the pass that was named."""
    program = (
        "from relay.faults import fault_point\nfor n in range(9): print(n, flush=True); fault_point('here')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "RELAY_FAULT_POINT": spec, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(ended.stdout.split()) == passes


@pytest.mark.process
@pytest.mark.parametrize(("deed", "state"), [("spin", "running"), ("stop", "stopped")])
def test_process_that_hangs_at_its_pass(deed, state):
    """A point can stop the process, or keep it in C with the interpreter's lock: a thread beside it says no
    more.
    """
    program = (
        "import threading, time\nfrom relay.faults import fault_point\nfault_point('here'); print(1, flush=True)\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('beside', flush=True))).start()\nfault_point('here')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "RELAY_FAULT_POINT": f"here:{deed}:2", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "1\n"
        time.sleep(0.6)  # the thread's time, and as much again
        assert process_state(process.pid) == state
        process.kill()
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    "text", [":", ":eio", "here:", "here:what", "here:eio:x", "here:1:2", "here:eio:1:2", "a:-1"]
)
def test_nonsense_is_refused(text):
    """A specification that says nothing is an error at once, not a test that tests nothing."""
    with pytest.raises(ValueError, match="write it like"):
        parse_fault(text)
