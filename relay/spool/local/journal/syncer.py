"""The sync of a file without a wait of the event loop: by the kernel, or by a thread.

Owns the choice. The kernel's way (io_submit(2) with IOCB_CMD_FDSYNC, told by an eventfd) needs no thread of
ours and so no hand-over of the interpreter's lock; where it is not to be had (gVisor, a filter of system
calls, an old file system) a thread calls fdatasync(2). Python knows no call for the former, so its numbers
and its two structures stand here; they are the kernel's ABI since Linux 4.18 (include/uapi/linux/aio_abi.h).
Never writes.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

#: io_setup, io_destroy, io_getevents and io_submit by architecture (the kernel's tables of system calls).
_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
_FDSYNC = 3
_RESULT_FD = 1
#: struct iocb on little-endian machines: data, key, rw_flags, opcode, priority, fd, buffer, length, offset,
#: reserved, flags, resfd.
_IOCB = struct.Struct("<QIIHhIQQqQII")

#: Told the result of a sync: None, or the error.
Done = Callable[[OSError | None], None]


class Syncer(Protocol):
    """One sync at a time, asked for and told in the event loop's thread."""

    #: "kernel" or "thread", for the log and for `relay check`.
    way: str

    def sync(self, handle: int, done: Done) -> None:
        """Bring the file's octets to the disk, and tell `done`; not while another sync is under way.

        Raises:
            OSError: it could not be begun.
        """

    def close(self) -> None:
        """End; nothing is under way. Harmless when called twice."""


def open_syncer(probe: int) -> Syncer:
    """The kernel's way if it can sync this file, else a thread. Call it in the event loop."""
    try:
        return KernelSyncer(probe)
    except OSError:
        return ThreadSyncer()


class ThreadSyncer:
    """A thread that only syncs."""

    way = "thread"

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-sync")

    def sync(self, handle: int, done: Done) -> None:
        """Bring the file's octets to the disk, and tell `done`."""
        self._thread.submit(self._sync, handle, done)

    def _sync(self, handle: int, done: Done) -> None:
        error = None
        try:
            os.fdatasync(handle)
        except OSError as exc:
            error = exc
        with suppress(RuntimeError):  # a closed loop: nobody waits any more
            self._loop.call_soon_threadsafe(done, error)

    def close(self) -> None:
        """End the thread, after the sync that is under way."""
        self._thread.shutdown()


class KernelSyncer:
    """The kernel's own queue of asynchronous work, with one place."""

    way = "kernel"

    def __init__(self, probe: int) -> None:
        """
        Raises:
            OSError: the kernel does not do this here, or not for the file `probe`.
        """
        numbers = _CALLS.get(platform.machine())
        if numbers is None:
            raise OSError(errno.ENOSYS, "no numbers of system calls for this machine")
        self._setup, self._destroy, self._getevents, self._submit = numbers
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = ctypes.c_ulong(0)
        self._iocb = ctypes.create_string_buffer(_IOCB.size)
        self._list = (ctypes.c_void_p * 1)(ctypes.addressof(self._iocb))
        #: struct io_event: data, obj, res, res2.
        self._event = (ctypes.c_longlong * 4)()
        self._done: Done | None = None
        self._call(self._setup, ctypes.c_uint(1), ctypes.byref(self._queue))
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._eventfd, self._ready)
        try:
            self._begin(probe)
            self._check(self._take(wait=True))
        except OSError:
            self.close()
            raise

    def sync(self, handle: int, done: Done) -> None:
        """Bring the file's octets to the disk, and tell `done`."""
        self._begin(handle)
        self._done = done

    def _begin(self, handle: int) -> None:
        _IOCB.pack_into(self._iocb, 0, 0, 0, 0, _FDSYNC, 0, handle, 0, 0, 0, 0, _RESULT_FD, self._eventfd)
        self._call(self._submit, self._queue, ctypes.c_long(1), self._list)

    def _take(self, *, wait: bool) -> int | None:
        """The result of the sync, negative for an error. Returns None if there is none yet."""
        least = ctypes.c_long(int(wait))
        count = self._call(self._getevents, self._queue, least, ctypes.c_long(1), self._event, None)
        return int(self._event[2]) if count else None

    def _ready(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)
        done = self._done
        if done is None or (result := self._take(wait=False)) is None:
            return
        self._done = None
        try:
            self._check(result)
        except OSError as exc:
            done(exc)
        else:
            done(None)

    @staticmethod
    def _check(result: int | None) -> None:
        if result is not None and result < 0:
            raise OSError(-result, os.strerror(-result))

    def _call(self, number: int, *arguments: object) -> int:
        result = int(self._libc.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def close(self) -> None:
        """Let the queue and its eventfd go."""
        if self._eventfd >= 0:
            self._loop.remove_reader(self._eventfd)
            os.close(self._eventfd)
            self._eventfd = -1
            self._call(self._destroy, self._queue)
