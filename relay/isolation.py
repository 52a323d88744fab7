"""The line between a fault that lies in a mail and one that lies in the machine.

Owns that one decision, for code that reads what strangers sent. Never reads a mail itself.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from relay.contact.plan import Cause
from relay.errors import NotUnderstoodError

T = TypeVar("T")

#: What a full disk, a full table of files or a full memory raises says nothing of the mail.
_OF_THE_MACHINE = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
})  # fmt: skip
#: Characters of an exception's words that are kept.
_DETAIL = 500


def isolated(function: Callable[[], T]) -> T:
    """The function's result.

    Raises:
        NotUnderstoodError: the function failed for a reason that lies in the mail, as far as anybody can tell.
        OSError, MemoryError: it failed for want of something that the machine may have again later.
    """
    try:
        return function()
    except MemoryError:
        raise
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno in _OF_THE_MACHINE:
            raise
        detail = " ".join(f"{type(exc).__name__}: {exc}"[:_DETAIL].split())
        raise NotUnderstoodError(Cause.EXCEPTION, detail) from exc
