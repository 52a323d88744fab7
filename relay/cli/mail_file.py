"""A mail as an operator names it on the command line: a file, or "-" for the standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from relay.errors import RelayError


class MailFileError(RelayError):
    """The file cannot be read; the sentence does not name it."""


def read_mail(file: str) -> bytes:
    """Read the octets as they stand.

    Raises:
        MailFileError: they cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise MailFileError(f"cannot be read: {reason}") from exc
