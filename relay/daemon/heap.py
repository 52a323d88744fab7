"""The heap of a process of the daemon: how the C library gives memory back, and what Python's collector looks
at.

Owns the settings of both. Never decides what is kept: it only sees to it that what is free is given back.
"""

from __future__ import annotations

import ctypes
import gc
import os

#: Of glibc's malloc.h. Blocks over 128 KiB get a mapping of their own and give it back, now and later: by
#: itself glibc raises this threshold up to 32 MiB with the first large mail, and large mails then lie in the
#: heap among what stays. Two arenas instead of eight for each core: each keeps what was freed in it.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_SETTINGS = ((_M_MMAP_THRESHOLD, 131_072), (_M_TRIM_THRESHOLD, 131_072), (_M_ARENA_MAX, 2))

#: True once this process itself has called `settle`: the one that it was forked from does not count.
_is_settled = False


def tune_malloc() -> bool:
    """Have the C library give memory back early. Returns whether it does: it is glibc, and nobody has set it
    otherwise by its own variables (MALLOC_...).
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in _SETTINGS)


def settle() -> None:
    """Collect what is garbage now, and exempt the rest from collection: what was made at the start or by a
    reload stays until the next one. Blocks for some tens of milliseconds.

    Where this process was forked of one that had exempted its modules, they stay so until the first reload: a
    look at them would cost 0.1 s, and copy the memory that both share.
    """
    global _is_settled  # noqa: PLW0603 - a process has one heap
    if _is_settled:
        gc.unfreeze()  # an earlier configuration may have left cycles
    gc.collect()
    gc.freeze()
    _is_settled = True
