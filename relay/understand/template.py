"""The template: a process with everything imported, which forks workers and reports how they end.

Owns the fork and the end of workers. A fork takes milliseconds where a start takes half a second, and memory
that is never written to stays shared. The template has one thread, because a fork copies no other. It ends
with the process that started it, and its workers end with it, at any point of their work (PR_SET_PDEATHSIG).

    {"do": "config", "number"} and a descriptor     the configuration that workers are born with
    {"do": "fork", "name"} and two descriptors      a worker's end of its line, and its piece of memory
    {"do": "kill", "name"}
    {"said": "forked", "name", "pid"}, {"said": "ended", "name", "status", "error"}
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from relay.understand import limits, wire
from relay.understand.environment import forget_environment
from relay.understand.worker import PACKET_BYTES, Job, Worker


def run_template(jobs: Mapping[str, Job], *, line: int, parent: int) -> NoReturn:
    """The whole life of a template; `line` is the descriptor of its line to the process that wants workers,
    `parent` the id of that process.
    """
    limits.bind_to_parent(parent)
    limits.be_expendable()
    forget_environment()
    # Signals are the supervisor's: a Ctrl-C at a terminal reaches the whole group, and must end no process
    # out of turn.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    template = Template(socket.socket(fileno=line), jobs)
    gc.collect()
    gc.freeze()  # memory stays shared with the workers as long as no collector writes to it
    template.live()


class Template:
    """The template's one thread."""

    def __init__(self, line: socket.socket, jobs: Mapping[str, Job]) -> None:
        self._line = line
        self._names: dict[int, int] = {}
        self._model = Worker(jobs)
        self._bell, self._ring = socket.socketpair()
        for end in (self._bell, self._ring):
            end.setblocking(False)
        signal.set_wakeup_fd(self._ring.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def live(self) -> NoReturn:
        """Obey the orders and report ended workers, until the other side is gone."""
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while True:
            ready = [handle for handle, _ in poll.poll()]
            if self._bell.fileno() in ready:
                with suppress(BlockingIOError):
                    self._bell.recv(4_096)
                self._reap()
            if self._line.fileno() in ready:
                self._heed()

    def _heed(self) -> None:
        octets, handles, _, _ = socket.recv_fds(self._line, PACKET_BYTES, 2)
        if not octets:
            os._exit(0)
        words = json.loads(octets)
        match words["do"]:
            case "config":
                packed = wire.load(os.pread(handles[0], os.fstat(handles[0]).st_size, 0))
                self._model.learn(words["number"], packed)  # learned once here: workers inherit it
            case "fork":
                self._fork(words["name"], *handles)
            case "kill":
                self._kill(words["name"])
        for handle in handles:
            os.close(handle)

    def _fork(self, name: int, line: int, memory: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as exc:  # no room for one more process
            self._say(said="ended", name=name, status=0, error=errno.errorcode.get(exc.errno or 0, "OSError"))
            return
        if pid == 0:
            try:
                self._become_worker(parent, line, memory)
            finally:
                os._exit(1)
        self._names[pid] = name
        self._say(said="forked", name=name, pid=pid)

    def _become_worker(self, parent: int, line: int, memory: int) -> NoReturn:
        limits.bind_to_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._bell, self._ring, self._line):
            end.close()
        self._model.begin(socket.socket(fileno=line), memory)
        self._model.live()

    def _kill(self, name: int) -> None:
        for pid, each in self._names.items():
            if each == name:  # not reaped yet, so the pid is still the worker's
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._names:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._say(said="ended", name=self._names.pop(pid), status=status, error="")

    def _say(self, **words: Any) -> None:
        try:
            self._line.send(json.dumps(words).encode())
        except OSError:
            os._exit(0)
