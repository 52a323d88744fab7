"""The raw mail of an entry, opened to be read and to be handed to a worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.spool.interface import Outbox
from relay.spool.model import Entry

#: Octets of a mail up to which it is copied into memory for its worker; that is faster than asking where it
#: lies.
_COPIED_BYTES = 262_144


@asynccontextmanager
async def opened_raw(outbox: Outbox, entry: Entry) -> AsyncIterator[tuple[memoryview, int | None]]:
    """The raw mail, checked, and a descriptor of its file where it lies in one.

    Raises:
        SpoolError: the mail cannot be read, or is not what was accepted.
    """
    async with outbox.open_raw(entry) as raw:
        handle = await asyncio.to_thread(outbox.open_file, entry) if len(raw) > _COPIED_BYTES else None
        try:
            yield raw, handle
        finally:
            if handle is not None:
                os.close(handle)
