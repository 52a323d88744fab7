"""The one worker of a command: forked from the command, with the limits of the deliverer's workers.

Owns the way of a mail through such a worker, without an event loop and without a second try. The command must
have one thread, and everything imported, which the worker then shares.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Self

from relay.understand import limits, wire
from relay.understand.attendance import SILENT_SECONDS, Call, GivenUpError, take_answer
from relay.understand.environment import forget_environment, pack_config
from relay.understand.folder import open_memory
from relay.understand.process import Death, DiedError, is_runnable, read_status
from relay.understand.supply import BusyError
from relay.understand.worker import PACKET_BYTES, Job, Worker, write_all

_TICK_SECONDS = 0.05


class LoneWorker:
    """The worker of a command for some mails, one after the other; a context manager."""

    def __init__(self, job: Job, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._worker = Worker({"": job})
        self._silent_seconds = silent_seconds
        self._pid = 0
        self._line: socket.socket | None = None
        self._memory = -1

    def __enter__(self) -> Self:
        """The worker itself; its process starts with the first mail."""
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, call: Call) -> dict[str, object]:
        """The result of the job for this mail.

        Raises:
            GivenUpError: the mail ended the worker, or raised an exception there.
            BusyError: the machine lacks something now that it may have later.
        """
        try:
            line = self._line or self._start(call)
            order = call.order | {"job": "", "config": None, "allowance": wire.pack(call.allowance)}
            octets = wire.dump(order)
            write_all(self._memory, octets)
            socket.send_fds(line, [json.dumps({"length": len(octets)}).encode()], (call.raw, call.files))
        except OSError as exc:
            raise BusyError(f"no worker: {exc.strerror}") from exc
        try:
            words = self._hear(line)
            if words["retires"]:
                self._end()
            return take_answer(words, call)
        except DiedError as died:
            self._end()
            if died.death is Death.KILLED:
                raise BusyError(f"its worker was ended: {died}") from died
            raise GivenUpError(died.death, died.detail) from died

    def _start(self, call: Call) -> socket.socket:
        """Fork the worker; the child never returns."""
        self._worker.learn(1, pack_config(call.config))
        self._memory = open_memory()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                ours.close()
                limits.bind_to_parent(parent)
                limits.be_expendable()
                forget_environment()
                self._worker.begin(theirs, self._memory)
                self._worker.live()
            finally:
                os._exit(1)
        theirs.close()
        self._line = ours
        return ours

    def _hear(self, line: socket.socket) -> dict[str, object]:
        """The worker's answer; a worker that neither runs nor waits for a processor is ended."""
        poll = select.poll()
        poll.register(line, select.POLLIN)
        moved_at = time.monotonic()
        cpu = 0.0
        while not poll.poll(_TICK_SECONDS * 1_000):
            now, used = time.monotonic(), limits.cpu_seconds_of(self._pid)
            if used > cpu or is_runnable(self._pid):
                moved_at, cpu = now, used
            elif now - moved_at >= self._silent_seconds:
                raise DiedError(Death.SILENT, "stopped, or blocked")
        octets = line.recv(PACKET_BYTES)
        if not octets:
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            raise read_status(status, "", None)
        return wire.load(os.pread(self._memory, int(json.loads(octets)["length"]), 0))

    def _end(self) -> None:
        """End the worker at any point of its work; the next mail has a fresh one."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
