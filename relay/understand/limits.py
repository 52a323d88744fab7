"""The limits of a worker, held by the kernel: CPU seconds, memory, the size of its files.

Owns the calls that set and measure them. RLIMIT_CPU counts the life of a process, and a worker lives longer
than a mail, so the soft limit is set anew for each. Hard limits are not set, because they could not be raised
again.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Constants of linux/prctl.h.
_PR_SET_PDEATHSIG = 1
#: Address space beyond private memory: the mail's file mapped, the interpreter and its libraries.
_MAPPED_BYTES = 1 << 30
#: Octets beyond the files' own, for the answer.
_ANSWER_BYTES = 1 << 26
#: The oom_score_adj of a worker: the kernel ends it before the processes that hold sessions and leases.
_FIRST_TO_GO = "800"
_PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The limits of one mail: CPU, memory, files."""

    #: Seconds of CPU from the moment when the worker takes the mail.
    cpu_seconds: int
    #: Octets of private memory that its process may have.
    memory_bytes: int
    #: Octets of decoded files, together.
    files_bytes: int


def bind_to_parent(parent: int) -> None:
    """End this process with its parent, at any point of its work; at once when the parent is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def be_expendable() -> None:
    """Leave no core file, which would hold mail, and be the first to be ended when memory is short."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # where /proc may not be written to
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def allow(allowance: Allowance) -> None:
    """Set the limits of the mail that begins now."""
    used = math.ceil(time.process_time())
    _set_soft(resource.RLIMIT_CPU, used + allowance.cpu_seconds)
    _set_soft(resource.RLIMIT_DATA, allowance.memory_bytes)
    _set_soft(resource.RLIMIT_AS, allowance.memory_bytes + _MAPPED_BYTES)
    _set_soft(resource.RLIMIT_FSIZE, allowance.files_bytes + _ANSWER_BYTES)


def _set_soft(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (soft, hard))


def private_bytes() -> int:
    """The private memory of this process in octets, as the kernel counts it without looking at each page."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_bytes().split()
    return (int(resident) - int(shared)) * _PAGE_BYTES


def cpu_seconds_of(pid: int) -> float:
    """The seconds of CPU that another process of this user has used.

    Raises:
        OSError: there is no such process.
    """
    # clock_getcpuclockid(3), which Python lacks: the bits of a process' CPU clock, as the kernel defines
    # them.
    return time.clock_gettime((~pid << 3) | 2)
