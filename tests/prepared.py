"""`python -m relay` for tests, forked from a process that has imported it already.

Owns that process, one for each worker of pytest (multiprocessing's fork server), and what a test may ask of
a program that came of it, which is what it asks of `subprocess.Popen`. Of the 2.2 s of processor time that a
start and stop of the daemon took, 1.2 s were imports (measured). Not for a test of the start itself, of
memory, or of another interpreter: those start the program.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

#: By its name from the folder of the project, where pytest runs: the server knows no other.
_MODULES = ["tests.prepared_daemon"]


class PreparedProcess:
    """A `relay` that leads a process group of its own; its output goes to the end of files."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        stderr: Path,
        stdout: Path | None = None,
    ) -> None:
        sys.audit("os.fork")  # whoever watches for processes that begin is told of this one
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_MODULES)
        ready, begun = context.Pipe(duplex=False)
        outputs = {2: str(stderr)} | ({1: str(stdout)} if stdout else {})
        self._process: multiprocessing.process.BaseProcess = context.Process(
            target=_run, args=([*words], dict(env), str(folder), outputs, begun)
        )
        self._process.start()
        begun.close()
        with ready:
            ready.recv()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, once `poll` or `wait` has seen the end."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Returns the exit code."""
        self._process.join(timeout)
        if (code := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired(["relay"], timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def end_server() -> None:
    """End the process that forks, and wait for it: what its children took counts as the tests' own."""
    multiprocessing.forkserver._forkserver._stop()  # there is no public way


def run_prepared(
    words: Sequence[str], *, env: Mapping[str, str], folder: Path, seconds: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """The exit code of a command that ran so, and what it said; it has no terminal and no input."""
    with tempfile.TemporaryDirectory() as place:
        stdout, stderr = Path(place, "stdout"), Path(place, "stderr")
        process = PreparedProcess(words, env=env, folder=folder, stderr=stderr, stdout=stdout)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        return subprocess.CompletedProcess([*words], code, stdout.read_text(), stderr.read_text())


def _run(words: list[str], env: dict[str, str], folder: str, outputs: dict[int, str], begun) -> NoReturn:
    """The life of the program, in the fork."""
    from relay import telemetry
    from relay.cli import main
    from relay.faults import VARIABLE, arm_fault

    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path[:0] = [place for place in env.get("PYTHONPATH", "").split(":") if place not in ("", *sys.path)]
    for number, path in outputs.items():
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    begun.send(None)
    begun.close()
    arm_fault(env.get(VARIABLE, ""))
    sys.argv = ["relay", *words]
    try:
        main(prog_name="relay")
    finally:
        telemetry.flush_log()  # no function of atexit runs in a fork
    raise AssertionError("a command of click ends by SystemExit")
