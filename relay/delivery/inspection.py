"""Our own look at a request before it is stored, and its octets: beside the loop's thread where that pays.

Owns where the work is done. The rules are those of `relay.aws.request_limits`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from relay.aws.request_limits import check_request

#: Largest body, in characters, for which waking a thread costs more than the work itself.
_SMALL_BODY = 30_000


class Inspection:
    """The look at requests; the first is made in a thread, because the service model is read for it."""

    def __init__(self) -> None:
        self._is_warm = False

    async def inspect(
        self, request: Mapping[str, Any], *, body_size: int, max_attachments: int
    ) -> tuple[Sequence[str], bytes]:
        """The problems that Connect would have with a request, one sentence each; and its JSON."""
        if self._is_warm and body_size <= _SMALL_BODY:
            return self._look(request, max_attachments)
        found = await asyncio.to_thread(self._look, request, max_attachments)
        self._is_warm = True
        return found

    def _look(self, request: Mapping[str, Any], max_attachments: int) -> tuple[Sequence[str], bytes]:
        problems = check_request(request, max_attachments=max_attachments)
        return problems, json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
