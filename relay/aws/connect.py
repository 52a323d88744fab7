"""The edge to Connect: StartEmailContact, and the meaning of its refusals.

Owns `StartEmailContact` as an operation on the wire. Never builds a request, never retries, never decides
what becomes of the entry. Foreign errors become RemoteError here (the table is in `relay.aws.errors`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from relay.aws.credentials import ChainCredentials
from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import check_contact_id
from relay.errors import Blame, FailureClass, RemoteError

#: The service's ways to name a member of a list: "attachments.3.member.fileName" counts from 1,
#: "Attachments[2]" from 0.
_MEMBER = re.compile(r"\battachments\.(\d{1,3})\.member\b", re.IGNORECASE)
_INDEX = re.compile(r"\battachments\[(\d{1,3})\]", re.IGNORECASE)
#: Refusals of a session that is over (AWS's common errors), with 403 and before anything is done.
_SESSION_ENDED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)


class ConnectClient:
    """StartEmailContact, by a client that `relay.aws.clients` makes once."""

    def __init__(
        self, client: Any, *, timeout_seconds: float = 60.0, role: ChainCredentials | None = None
    ) -> None:
        """`role` has the credentials of a role that the client signs as, and nobody else."""
        self._role = role
        self._client = client
        self._timeout_seconds = timeout_seconds

    async def start_email_contact(self, request: Mapping[str, Any]) -> str:
        """Start a contact. Returns its id, also where the same token and payload had started it before.

        Raises:
            RemoteError: with `reason` and `named` where the refusal speaks of attachments.
        """
        try:
            answer = await self._call(request)
        except RemoteError as exc:
            if self._role is not None and exc.code == "credentials" and not self._role.lacks_source:
                # Of one role alone: its route is held and probed, and the credentials of others are well.
                exc.code, exc.blame = "role", Blame.OURS
            if exc.failure is FailureClass.PAYLOAD:
                exc.named = named_attachments(exc.detail, request.get("Attachments", ()))
            raise
        return check_contact_id(answer)

    async def _call(self, request: Mapping[str, Any]) -> Any:
        """Send the request, and once more with a new session of the role where the last has ended.

        A session may end before its time: revoked, or by a slow clock of ours. Connect has done nothing then.
        """
        try:
            return await self._send(request)
        except RemoteError as exc:
            if self._role is None or exc.code not in _SESSION_ENDED:
                raise
            self._role.forget()
        return await self._send(request)

    async def _send(self, request: Mapping[str, Any]) -> Any:
        async with remote_call("connect", timeout_seconds=self._timeout_seconds):
            with readable_answer("connect"):
                return await self._client.start_email_contact(**request)


def named_attachments(message: str, attachments: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The file names that a refusal speaks of, by name or by position, in the order of the request."""
    positions = {int(number) - 1 for number in _MEMBER.findall(message)}
    positions |= {int(number) for number in _INDEX.findall(message)}
    return tuple(
        str(attachment.get("FileName"))
        for position, attachment in enumerate(attachments)
        if position in positions or _speaks_of(message, str(attachment.get("FileName", "")))
    )


def _speaks_of(message: str, name: str) -> bool:
    """Returns whether a name stands in a sentence as a word of its own ("a.pdf" does not stand in
    "data.pdf").
    """
    return bool(name) and re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", message) is not None
