"""moto's S3 as a function: a request in, an answer out, in a thread, without a socket of its own.

Owns the one place where moto is called. moto's state belongs to the process: sandboxes that run side by side
in one process see the same objects, and the last of them to end empties it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of moto's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


_open: list[MotoApp] = []
#: One call at a time: moto closes the octets of an object that is overwritten while others still read them.
_turn = threading.Lock()


class MotoApp:
    """moto's own S3 application (WSGI); opened by `load`, closed by `close`."""

    def __init__(self) -> None:
        self._app: Any = None
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="moto")

    async def load(self) -> None:
        """Import moto, off the event loop: it takes a second or two."""
        self._app = await asyncio.get_running_loop().run_in_executor(self._threads, _load)
        _open.append(self)

    async def call(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Have moto answer one request; `target` is path and query as sent."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, method, target, headers, body)

    def _call(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        from werkzeug.test import create_environ, run_wsgi_app  # noqa: PLC0415  # an extra, slow to import

        environ = create_environ(target, "http://127.0.0.1", method=method, headers=dict(headers), data=body)
        environ["RAW_URI"] = target
        chunks: Iterable[bytes]
        with _turn:
            chunks, status, answered = run_wsgi_app(self._app, environ, buffered=True)
        return Answer(status=int(status.split()[0]), headers=tuple(answered), body=b"".join(chunks))

    async def close(self) -> None:
        """End the threads; the last one to close forgets every bucket and object."""
        _open.remove(self)
        if not _open:
            await asyncio.get_running_loop().run_in_executor(self._threads, _forget)
        self._threads.shutdown(wait=False)


def _load() -> Any:
    from moto.moto_server.werkzeug_app import create_backend_app  # noqa: PLC0415  # an extra, slow to import

    return create_backend_app("s3")


def _forget() -> None:
    from moto.core.base_backend import BackendDict  # noqa: PLC0415  # an extra, slow to import

    BackendDict.reset()
