"""The words and the files of mails, understood again in workers as for their delivery.

Owns the workers of the page's process: hostile mail ends a worker and not the page, and takes no more memory
and time than a delivery may. They start with the first mail that is looked into. What they read is the mail
by the present configuration, which may fit it otherwise than it was sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from hashlib import sha256 as sha256_of
from typing import Any

from relay.config import Config
from relay.config.data_dir import WORK
from relay.contact.original import fit_original
from relay.contact.plan import Context, Plan
from relay.contact.redact import redact_cards
from relay.message.glimpse import glimpse_header
from relay.routes import RouteTable
from relay.spool.model import Entry
from relay.understand import wire
from relay.understand.attendance import Call, GivenUpError
from relay.understand.folder import open_memory, open_unnamed
from relay.understand.ours import build_is_ours
from relay.understand.pool import Pool
from relay.understand.reading import CAUSES, build_allowance
from relay.understand.supply import BusyError, Supply
from relay.vocabulary import Cause, Rung
from relay.web.view import Content, Part

#: Mails that are looked into at once.
_MAILS = 2


class NoContentError(Exception):
    """The words of a mail cannot be shown now; the text says why."""


class Contents:
    """The reading of mails for one page."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._routes = RouteTable(config)
        self._pool: Pool | None = None
        self._places = asyncio.Semaphore(_MAILS)

    async def read(self, entry: Entry, raw: bytes) -> tuple[Content, Mapping[str, Any]]:
        """The words of a mail as its agent sees them, and its plan, {} without a route.

        Raises:
            NoContentError: not now.
        """
        if entry.rung is Rung.ORIGINAL:
            return await self._read_original(entry, raw, Cause.UNKNOWN)
        try:
            async with self._ask("show", entry, raw) as (found, files):
                return await asyncio.to_thread(_build_content, found, files), found["plan"] or {}
        except GivenUpError as exc:
            return await self._read_original(entry, raw, Cause(CAUSES.get(exc.kind, Cause.CRASH)))

    async def decode(self, entry: Entry, raw: bytes, *, sha256: str, name: str) -> bytes | None:
        """A file of a mail, by its hash. Returns None if the mail has none such.

        Raises:
            NoContentError: not now.
        """
        if entry.rung is Rung.ORIGINAL:  # its one file is the mail itself
            octets = raw[entry.trace_size :]
            digest = await asyncio.to_thread(lambda: sha256_of(octets).hexdigest())
            return octets if digest == sha256 else None
        try:
            async with self._ask("file", entry, raw, sha256=sha256, name=name) as (found, files):
                place = found["place"]
                return None if place is None else await asyncio.to_thread(_read, files, *place)
        except GivenUpError:
            return None

    @asynccontextmanager
    async def _ask(
        self, job: str, entry: Entry, raw: bytes, **more: str
    ) -> AsyncIterator[tuple[dict[str, Any], int]]:
        """The result of a job for a mail, and the descriptor of what it wrote, until the block ends."""
        order = {
            "context": wire.pack(self._build_context(entry)),
            "route": entry.destination.route,
            "rung": str(entry.rung),
            **more,
        }
        with ExitStack() as stack:
            async with self._places:
                try:
                    handle = await asyncio.to_thread(open_memory, raw)
                    stack.callback(os.close, handle)
                    files = self._open_files()
                    stack.callback(os.close, files)
                    call = Call(
                        job=job,
                        order=order,
                        raw=handle,
                        files=files,
                        size=len(raw),
                        config=self._config,
                        allowance=build_allowance(self._config),
                        spool_id=entry.spool_id,
                        is_last=True,
                    )
                    found = await (await self._find_pool()).run(call)
                except (BusyError, OSError) as exc:
                    raise NoContentError(f"The mail cannot be read now ({exc}); try again.") from exc
            yield found, files

    async def _find_pool(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(Supply(self._config), quick=1)
        await self._pool.start()
        return self._pool

    def _open_files(self) -> int:
        try:
            return open_unnamed(self._config.data_dir / WORK)
        except OSError:  # no folder yet, or a full disk
            return open_memory()

    def _build_context(self, entry: Entry) -> Context:
        return Context(
            spool_id=entry.spool_id,
            envelope=entry.envelope,
            destination=entry.destination,
            results=entry.results,
            raw_size=entry.size - entry.trace_size,
            is_ours=build_is_ours(self._config, self._routes),
            captured=entry.captured,
        )

    async def _read_original(
        self, entry: Entry, raw: bytes, cause: Cause
    ) -> tuple[Content, Mapping[str, Any]]:
        """The words of a mail that nobody could understand, as its contact has them."""
        route = self._routes.route(entry.destination.route)
        if route is None:
            raise NoContentError("The mail is not understood, and the configuration has its route no more.")
        octets, context = raw[entry.trace_size :], self._build_context(entry)
        plan: Plan = await asyncio.to_thread(fit_original, octets, context, route, self._config, why=cause)
        message = await asyncio.to_thread(glimpse_header, octets)
        if route.sensitive.redacts:
            message = await asyncio.to_thread(redact_cards, message)
        content = Content(
            content_type=plan.content_type,
            body=plan.body,
            text="",
            headers=message.headers,
            tree=Part(content_type="message/rfc822", size=len(octets)),
        )
        return content, {"adaptations": [[str(each.code), each.detail] for each in plan.adaptations]}

    async def close(self) -> None:
        """End the workers; harmless when called twice."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def _build_content(found: Mapping[str, Any], files: int) -> Content:
    return Content(
        content_type=str(found["content_type"]),
        body=_read(files, *found["body"]).decode("utf-8", "replace"),
        text=_read(files, *found["text"]).decode("utf-8", "replace"),
        headers=tuple((str(name), str(value)) for name, value in found["headers"]),
        tree=_build_part(found["tree"]),
    )


def _build_part(found: Mapping[str, Any]) -> Part:
    return Part(
        content_type=str(found["content_type"]),
        size=int(found["size"]),
        name=str(found["name"]),
        disposition=str(found["disposition"]),
        parts=tuple(_build_part(each) for each in found["parts"]),
    )


def _read(files: int, offset: int, size: int) -> bytes:
    """The octets of one place of the file."""
    octets = bytearray()
    while len(octets) < size:
        chunk = os.pread(files, size - len(octets), offset + len(octets))
        if not chunk:
            break
        octets += chunk
    return bytes(octets)
