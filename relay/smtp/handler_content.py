"""The octets of a mail as a handler gets them: `bytes` up to 1 MiB, else a read-only map of a file.

Owns the copy of a larger mail into a file without a name, which goes with its last map: memory does not grow
with the mail, and a handler's map may outlive the mail's own file. Also the step at which handlers are asked
about a whole mail, between our own decisions and the commit.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from relay.config.data_dir import WORK
from relay.errors import SpoolError, SpoolFullError
from relay.smtp.acceptance import Acceptance
from relay.smtp.handlers import HandlerSession
from relay.spool.model import Submission
from relay.understand.folder import open_unnamed, prepare_folder
from relay.vocabulary import Reply

#: A mail of so many octets at most is handed over as `bytes` (docs/smtp.md, "Handlers").
BYTES_LIMIT = 1_048_576
_CHUNK_BYTES = 262_144


async def show_mail(
    offered: Submission, *, handlers: HandlerSession, acceptance: Acceptance, threads: Executor
) -> Submission | Reply:
    """The submission with the attributes that handlers have set, or the reply by which one of them refuses
    it.

    Raises:
        SpoolError: a large mail cannot be handed over.
    """
    octets = None
    if handlers.reads_mail:
        size = offered.size - offered.trace_size
        folder = acceptance.transaction.settings.config.data_dir / WORK
        build = partial(build_content, _read(offered), size, folder=folder)
        is_small = isinstance(offered.raw, bytes) and size <= BYTES_LIMIT
        octets = build() if is_small else await asyncio.get_running_loop().run_in_executor(threads, build)
    answer = await handlers.data(acceptance.transaction, acceptance.peer, octets)
    if isinstance(answer, Reply):
        return answer
    return offered._replace(envelope=replace(offered.envelope, attributes=tuple(answer.items())))


def _read(offered: Submission) -> Iterator[bytes]:
    """The octets of a mail without our own header, piece by piece."""
    if isinstance(offered.raw, bytes):
        yield offered.raw[offered.trace_size :]
        return
    with offered.raw.view() as octets:
        for at in range(offered.trace_size, len(octets), _CHUNK_BYTES):
            yield bytes(octets[at : at + _CHUNK_BYTES])


def build_content(chunks: Iterator[bytes], size: int, *, folder: Path) -> bytes | mmap.mmap:
    """The octets of a mail of this size; `folder` is the place of files without a name. Blocks.

    Raises:
        SpoolFullError, SpoolError: the file cannot be made or written.
    """
    if size <= BYTES_LIMIT:
        return b"".join(chunks)
    try:
        with os.fdopen(_open(folder), "wb") as file:  # the map keeps the file
            file.writelines(chunks)
            file.flush()
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (SpoolFullError if full else SpoolError)(f"no file for a handler in {folder}: {exc}") from exc


def _open(folder: Path) -> int:
    """A file without a name, in a folder that the first who needs it makes."""
    try:
        return open_unnamed(folder)
    except FileNotFoundError:
        prepare_folder(folder)
        return open_unnamed(folder)
