"""The template and its workers from outside: started, asked, measured and ended by the process that uses
them.

Owns the near end of the lines that `template` and `worker` read, and the kinds of death. Never decides how
many workers there are, nor what a death means for a mail: `pool` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from relay.understand import limits, wire
from relay.understand.environment import select_variables
from relay.understand.forked import ForkedProcess, ForkedTemplate
from relay.understand.worker import PACKET_BYTES, write_all

#: Octets of an answer at most: the largest body, its attributes, and room.
_ANSWER_BYTES = 1 << 28
#: Answers above this are read in a thread.
_SMALL_BYTES = 1 << 18
#: Seconds from a worker's hanging up to the template's word on how it ended.
_REAP_SECONDS = 5.0


class Death(StrEnum):
    """The ways in which a worker ends in the middle of a mail."""

    #: SIGXCPU: the CPU seconds were used up.
    CPU = "cpu"
    #: The memory limit was reached.
    MEMORY = "memory"
    #: SIGSEGV and other signals of a crash.
    CRASH = "crash"
    #: Ended by us: no CPU was used for long, or the mail took far too long.
    SILENT = "silent"
    #: SIGKILL by the kernel, short of memory, or by an operator.
    KILLED = "killed"
    #: An exit of its own, or an answer that cannot be read.
    EXIT = "exit"
    #: The worker could not be started.
    UNBORN = "unborn"


class DiedError(Exception):
    """The worker has ended; `death` says why."""

    def __init__(self, death: Death, detail: str) -> None:
        super().__init__(f"{death}: {detail}" if detail else str(death))
        self.death = death
        self.detail = detail


def is_runnable(pid: int) -> bool:
    """Returns whether a process runs, or would if a processor were free. Also True where the kernel does not
    say.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[:1] == [b"R"]


class WorkerProcess:
    """One worker, from its fork to its end."""

    def __init__(
        self,
        name: int,
        line: socket.socket,
        memory: int,
        *,
        parent: int,
        kill: Callable[[int], None],
        end_template: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._line = line
        self._memory = memory
        self._parent = parent
        self._kill = kill
        #: Ends the template and so every worker, for the case that the template does not obey.
        self.end_template = end_template
        self.name = name
        self.pid: int | None = None
        #: The number of the configuration that the worker has.
        self.number = 0
        #: Set when the template has reported the worker's end.
        self.ended: asyncio.Future[DiedError] = loop.create_future()
        self._condemned: Death | None = None
        self._packet: asyncio.Future[bytes] = loop.create_future()
        #: The event that `hear` waits for.
        self._stir: asyncio.Future[None] = loop.create_future()
        self._born_cpu = 0.0
        self._closed = False
        loop.add_reader(line, self._readable)

    def _readable(self) -> None:
        try:
            octets = self._line.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._loop.remove_reader(self._line)
        if not self._packet.done():
            self._packet.set_result(octets)
            self._wake()

    def send(self, words: dict[str, Any], handles: tuple[int, ...] = ()) -> None:
        """Send a packet; what it carries goes by way of the shared memory.

        Raises:
            OSError: there is no room for it.
        """
        self._packet = self._loop.create_future()
        octets = wire.dump(words)
        write_all(self._memory, octets)
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is noticed where it is heard
            socket.send_fds(self._line, [json.dumps({"length": len(octets)}).encode()], handles)

    async def hear(self, tick_seconds: float) -> dict[str, Any] | None:
        """The worker's next packet. Returns None when there is none within a tick.

        Raises:
            DiedError: the worker has ended.
        """
        if not (self._packet.done() or self.ended.done()):
            await self._stirs(tick_seconds)
        if not self._packet.done() and self.ended.done():
            self._readable()  # its last packet may have come with its end
        if not self._packet.done():
            if self.ended.done():
                raise self.ended.result()
            return None
        octets = self._packet.result()
        if not octets:
            raise await self.find_death()
        try:
            length = int(json.loads(octets)["length"])
            if not 0 <= length <= _ANSWER_BYTES:
                raise wire.WireError(f"an answer of {length} octets")
            return wire.load(await self._read(length))
        except (ValueError, KeyError, TypeError) as exc:
            self.end(Death.EXIT)
            raise DiedError(Death.EXIT, f"what it said cannot be read: {exc}") from None

    async def _stirs(self, tick_seconds: float) -> None:
        """Return when there is a packet, or its end, or after a tick: one future for all three."""
        self._stir = stir = self._loop.create_future()
        tick = self._loop.call_later(tick_seconds, self._wake)
        try:
            await stir
        finally:
            tick.cancel()

    def _wake(self) -> None:
        if not self._stir.done():
            self._stir.set_result(None)

    async def _read(self, length: int) -> bytes:
        if length <= _SMALL_BYTES:
            return os.pread(self._memory, length, 0)
        return await asyncio.to_thread(os.pread, self._memory, length, 0)

    async def find_death(self) -> DiedError:
        """The death of a worker that has hung up."""
        await asyncio.wait((self.ended,), timeout=_REAP_SECONDS)
        if self.ended.done():
            return self.ended.result()
        return DiedError(Death.KILLED, "nobody knows how")

    @property
    def is_condemned(self) -> bool:
        """Returns whether the worker was told to end."""
        return self._condemned is not None

    def is_runnable(self) -> bool:
        """Returns whether the worker runs, or would if a processor were free; before its fork, whether the
        template does.
        """
        return is_runnable(self.pid or self._parent)

    def begin_mail(self) -> None:
        """Measure from here on, for a new mail."""
        self._born_cpu = self._cpu()

    def cpu_seconds(self) -> float:
        """The seconds of CPU that the worker has used for this mail."""
        return max(self._cpu() - self._born_cpu, 0.0)

    def _cpu(self) -> float:
        if self.pid is None:
            return 0.0
        try:
            return limits.cpu_seconds_of(self.pid)
        except OSError:  # it has just ended
            return self._born_cpu

    def end(self, death: Death) -> None:
        """Kill the worker; `death` is the reason that is reported."""
        if self._condemned is not None:
            return
        self._condemned = death
        self._kill(self.name)

    def bury(self, status: int, error: str) -> None:
        """Note the end of the worker, as the template reports it."""
        if not self.ended.done():
            self.ended.set_result(read_status(status, error, self._condemned))
            self._wake()

    def close(self) -> None:
        """Close the line and the memory of the worker; one that waits for a mail ends by that."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._line)
            self._line.close()
            os.close(self._memory)


def read_status(status: int, error: str, condemned: Death | None) -> DiedError:
    """The death that an exit status of waitpid(2) means."""
    if error:
        return DiedError(Death.UNBORN, error)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return DiedError(condemned or Death.KILLED, "SIGKILL")
    if code == -signal.SIGXCPU:
        return DiedError(Death.CPU, "SIGXCPU")
    if code < 0:
        return DiedError(Death.CRASH, signal.Signals(-code).name)
    return DiedError(Death.EXIT, f"exit code {code}")


class TemplateProcess:
    """One template, and the workers it has forked, by name."""

    def __init__(self, process: asyncio.subprocess.Process | ForkedProcess, line: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._line = line
        self._workers: dict[int, WorkerProcess] = {}
        self._names = 0
        self.number = 0
        #: Set when the template hangs up.
        self.gone = asyncio.Event()
        self._loop.add_reader(line, self._readable)

    @classmethod
    async def start(cls, program: str) -> TemplateProcess:
        """Start `python -m program`; it takes half a second of CPU before it obeys."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    program,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env=select_variables(os.environ),
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(process, ours)

    @classmethod
    def adopt(cls, forked: ForkedTemplate) -> TemplateProcess:
        """Use a template that was forked."""
        forked.process.watch()
        return cls(forked.process, forked.line)

    @property
    def pid(self) -> int:
        """The process id of the template."""
        return self._process.pid

    def teach(self, number: int, packed: dict[str, Any]) -> None:
        """Give the template the configuration that workers are forked with from now on.

        Raises:
            OSError: there is no room for it, or it is gone.
        """
        handle = os.memfd_create("relay-config", os.MFD_CLOEXEC)
        try:
            write_all(handle, wire.dump(packed))
            self._say({"do": "config", "number": number}, handle)
        finally:
            os.close(handle)
        self.number = number

    def fork(self) -> WorkerProcess:
        """Fork one more worker, which may be asked at once.

        Raises:
            OSError: there is no descriptor for it, or the template is gone.
        """
        self._names += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = -1
        try:
            with theirs:
                memory = os.memfd_create("relay-mail", os.MFD_CLOEXEC)
                self._say({"do": "fork", "name": self._names}, theirs.fileno(), memory)
        except BaseException:
            ours.close()
            if memory >= 0:
                os.close(memory)
            raise
        ours.setblocking(False)
        worker = WorkerProcess(
            self._names, ours, memory, parent=self.pid, kill=self._kill, end_template=self.kill
        )
        worker.number = self.number
        self._workers[self._names] = worker
        return worker

    def _kill(self, name: int) -> None:
        with suppress(OSError):  # the template is gone, and its workers with it
            self._say({"do": "kill", "name": name})

    def _say(self, words: dict[str, Any], *handles: int) -> None:
        socket.send_fds(self._line, [json.dumps(words).encode()], handles)

    def _readable(self) -> None:
        try:
            octets = self._line.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._bury_all()
            return
        words = json.loads(octets)
        if words["said"] == "forked":
            if worker := self._workers.get(words["name"]):
                worker.pid = words["pid"]
        elif worker := self._workers.pop(words["name"], None):
            worker.bury(words["status"], words["error"])

    def _bury_all(self) -> None:
        """Note the end of the template; the kernel has ended every worker with it."""
        self._loop.remove_reader(self._line)
        self.gone.set()
        for worker in self._workers.values():
            worker.bury(signal.SIGKILL, "")
        self._workers.clear()

    def kill(self) -> None:
        """End the template at once, and its workers with it."""
        if not self.gone.is_set():  # else it has ended, and is about to be reaped
            with suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """End the template, and wait until it has ended."""
        self.kill()
        await self._process.wait()
        self._bury_all()
        self._line.close()
