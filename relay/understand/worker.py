"""The worker: the process that reads strangers' octets, one mail after the other, and keeps none of them.

Owns the life of one worker, forked by the template (`relay.understand.template`). A worker is given each mail
as a descriptor, with an empty file without a name; it gives back plain data, and the decoded octets in the
file. It opens no file by name and makes no connection. Any failure is reported, or ends the process: the
other side notices both.

One packet asks and one answers; their content lies at the beginning of a shared piece of memory, since
packets are small.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from relay.config import Config
from relay.faults import fault_point
from relay.routes import RouteTable
from relay.understand import limits, wire

#: Octets of a packet at most, in both directions.
PACKET_BYTES = 4_096
#: Octets of private memory above which a worker ends after its mail: allocators do not give everything back.
_KEPT_BYTES = 40_000_000
#: Mails after which a worker ends, so that leaks of libraries are bounded.
_MAILS = 2_000
#: Errors of the machine and not of a mail, which may pass later.
_TEMPORARY = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
        errno.EIO,
        errno.EROFS,
        errno.ENOMEM,
        errno.EAGAIN,
    }
)
#: Frames of an exception that are reported: enough to find the line, without values.
_FRAMES = 8
#: Octets at the beginning of a mail that a fault point may look at.
_HEAD_BYTES = 65_536


class FilesTooLargeError(Exception):
    """The decoded files together are larger than they may be."""


@dataclass(kw_only=True)
class Files:
    """The decoded files of a mail, behind each other in one file without a name."""

    handle: int
    #: Octets that the files may hold together.
    limit: int
    end: int = 0

    def write(self, chunks: Iterable[bytes], size: int) -> int:
        """Append a file of this size. Returns its offset.

        Raises:
            FilesTooLargeError: there is no room for it within the limit.
            ValueError: the chunks are not of that size.
        """
        start = self.end
        if start + size > self.limit:
            raise FilesTooLargeError
        for chunk in chunks:
            if self.end + len(chunk) > start + size:
                raise ValueError("a file is longer than it said")
            self._append(chunk)
        if self.end != start + size:
            raise ValueError("a file is shorter than it said")
        return start

    def _append(self, chunk: bytes) -> None:
        with memoryview(chunk) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self.handle, view[done:], self.end + done)
            self.end += len(view)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail as a job sees it: octets, facts, and where its files go."""

    #: The octets, with our own Received field.
    raw: memoryview
    #: The facts that the other side sent with the mail, as plain data.
    order: Mapping[str, Any]
    config: Config
    routes: RouteTable
    files: Files
    #: The call that asks the other side a question about the mail; plain data both ways.
    ask: Callable[[dict[str, Any]], dict[str, Any]] = field(repr=False)


Job = Callable[[Mail], dict[str, Any]]


class Worker:
    """The life of one process: its socket, its piece of memory, and its last configuration."""

    _line: socket.socket
    _memory: int

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._jobs = jobs
        self._number = 0
        self._config: Config | None = None
        self._routes: RouteTable | None = None
        self._mails = 0

    def learn(self, number: int, packed: Mapping[str, Any]) -> None:
        """Take a configuration for the mails from here on."""
        self._config = Config.model_validate(packed)
        self._routes = RouteTable(self._config)
        self._number = number

    def begin(self, line: socket.socket, memory: int) -> None:
        """Take the socket and the memory of this process after the fork."""
        self._line = line
        self._memory = memory

    def live(self) -> NoReturn:
        """Serve mails until the other side hangs up, or this process has held too much memory."""
        while True:
            octets, handles, _, _ = socket.recv_fds(self._line, PACKET_BYTES, 2)
            if not octets:
                os._exit(0)
            order = self._read(json.loads(octets)["length"])
            try:
                limits.allow(wire.unpack(limits.Allowance, order["allowance"]))
                answer = self.serve(order, *handles)
            finally:
                for handle in handles:
                    os.close(handle)
            answer["retires"] = retires = self._is_spent()
            self._say(answer)
            if retires:
                os._exit(0)

    def _is_spent(self) -> bool:
        self._mails += 1
        return self._mails >= _MAILS or limits.private_bytes() > _KEPT_BYTES

    def serve(self, order: dict[str, Any], raw: int, files: int) -> dict[str, Any]:
        """The answer for one mail, an error among the answers."""
        try:
            if order["config"] is not None:
                self.learn(order["number"], order["config"])
            return {"said": "done", "result": self._run(order, raw, files)}
        except MemoryError:
            return {"said": "memory"}
        except FilesTooLargeError:
            return {"said": "files"}
        except OSError as exc:
            if exc.errno in _TEMPORARY:
                return {"said": "temporary", "error": errno.errorcode[exc.errno]}
            return _describe(exc)
        except Exception as exc:  # noqa: BLE001 - every exception that a mail provokes is reported to the other side
            return _describe(exc)

    def _run(self, order: dict[str, Any], raw: int, files: int) -> dict[str, Any]:
        assert self._config is not None
        assert self._routes is not None
        mapped = _map(raw)
        view = memoryview(mapped)
        try:
            fault_point("delivery.understand", about=view[:_HEAD_BYTES])
            mail = Mail(
                raw=view,
                order=order,
                config=self._config,
                routes=self._routes,
                files=Files(handle=files, limit=order["allowance"]["files_bytes"]),
                ask=self.ask,
            )
            return self._jobs[order["job"]](mail)
        finally:
            with suppress(BufferError):  # a slice in a cycle, or in a traceback, still uses the map
                view.release()
                if isinstance(mapped, mmap.mmap):
                    mapped.close()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The other side's answer to a question."""
        self._say({"said": "ask", "question": question})
        octets = self._line.recv(PACKET_BYTES)
        if not octets:
            os._exit(0)
        return self._read(json.loads(octets)["length"])

    def _read(self, length: int) -> dict[str, Any]:
        return wire.load(os.pread(self._memory, length, 0))

    def _say(self, words: dict[str, Any]) -> None:
        octets = wire.dump(words)
        write_all(self._memory, octets)
        try:
            self._line.send(json.dumps({"length": len(octets)}).encode())
        except BrokenPipeError:
            os._exit(0)


def write_all(handle: int, octets: bytes | memoryview) -> None:
    """Write these octets as the content of a file."""
    os.ftruncate(handle, 0)
    with memoryview(octets) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(handle, view[done:], done)


def _map(handle: int) -> mmap.mmap | bytes:
    """The octets of a file, read as they are looked at."""
    size = os.fstat(handle).st_size
    return mmap.mmap(handle, size, access=mmap.ACCESS_READ) if size else b""


def _describe(exc: Exception) -> dict[str, Any]:
    """The type and the place of an exception; its message is left out, because it may quote the mail."""
    frames = traceback.extract_tb(exc.__traceback__)[-_FRAMES:]
    places = [f"{frame.filename.rpartition('/relay/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return {"said": "fault", "error": type(exc).__name__, "places": places}
