"""The environment of a worker: next to nothing of the daemon's, which has the keys to AWS and to the
receivers of alarms.

Owns which variables a worker keeps. A worker reads what strangers send; whatever takes one over should find
no key there. Never reads a variable for what it says.
"""

from __future__ import annotations

import ctypes
import os
import posix
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from relay.config.alarms import Alarms
from relay.config.model import Config
from relay.faults import VARIABLE

#: The beginnings of the names that are kept: where libraries and modules are found, language, zone, the
#: memory allocator, the measurement of tests, and the fault points of tests.
_KEPT = ("PATH", "LD_", "PYTHON", "LANG", "LC_", "TZ", "MALLOC_", "GLIBC_", "COVERAGE_", VARIABLE)
#: The fields of /proc/self/stat with the ends of the environment that the program was started with (proc(5)),
#: counted from the one behind the name.
_ENVIRONMENT = slice(47, 49)


def select_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a worker keeps."""
    return {name: value for name, value in environment.items() if name.startswith(_KEPT)}


def forget_environment() -> None:
    """Remove all other variables from this process, which was forked: from its environment, and from the
    memory in which the kernel put them at the start of the program, where /proc/self/environ shows them.
    """
    kept = select_variables(os.environ)
    os.environ.clear()
    posix.environ.clear()
    with suppress(OSError, ValueError):  # a kernel that does not tell its place
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = map(int, fields[_ENVIRONMENT])
        if 0 < begin < end:
            ctypes.memset(begin, 0, end - begin)
    os.environ.update(kept)


def pack_config(config: Config) -> dict[str, object]:
    """The configuration as plain data for a worker: without the receivers of alarms, whose addresses and keys
    are secrets.
    """
    return config.model_copy(update={"alarms": Alarms()}).pack()
