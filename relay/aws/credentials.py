"""Credentials of the standard AWS chain: looked up when something is signed, and asked for again until they
are there.

Owns which source is asked, for how long, and how long a signature will be valid. A metadata service that is
not up yet, a role that STS does not give and a file that is not mounted may all pass by themselves, so none
is a mistake of the configuration, at a start or later. Each is one condition, `CredentialRetrievalError`,
which `relay.aws.errors` turns into ours. Never signs anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import CredentialRetrievalError

#: Credentials that end sooner than this are renewed before a URL is signed: a URL dies with its token.
SIGNING_LIFE_SECONDS = 3_600
#: Least time between two renewals: a role whose sessions last an hour would otherwise be asked before every
#: URL.
RENEWAL_PAUSE_SECONDS = 300
#: Time-out of one look: botocore asks STS for up to a minute, three times, while calls that wait to be signed
#: run out of time.
_PATIENCE_SECONDS = 20.0
_CHAIN = "the AWS chain"
#: Characters of a reason: some of them quote the whole answer of a metadata service.
_WHY_LIMIT = 300

NOT_FOUND = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in "
    "AWS_PROFILE, or run where a role is attached"
)


class ChainCredentials:
    """The credentials of every client, in place of botocore's own, which are looked up only once."""

    #: The source, as botocore's clients ask for it.
    method = "relay"

    def __init__(
        self, find: Callable[[], Awaitable[Any]], *, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        """`find` asks the whole chain. It returns botocore's credentials, or None."""
        self._find = find
        self._patience_seconds = patience_seconds
        self._found: Any = None
        self._asking: asyncio.Task[Any] | None = None
        #: True while those of a role cannot be had because the credentials that ask for it cannot.
        self.lacks_source = False

    @property
    def found(self) -> Any:
        """The credentials of the chain, which may renew themselves; None before they were found."""
        return self._found

    async def get_frozen_credentials(self) -> Any:
        """The key, secret and token to sign with now. Callers at the same time share one answer.

        Raises:
            CredentialRetrievalError: they cannot be had now.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        answer = await asyncio.shield(self._asking)
        if isinstance(answer, str):
            raise CredentialRetrievalError(provider=_CHAIN, error_msg=answer)
        return answer

    def forget(self) -> None:
        """Look for credentials anew at the next question: those that were found are refused."""
        self._found = None

    async def get_account_id(self) -> None:
        """Returns None: no endpoint that the relay uses depends on the account id."""

    def get_deferred_property(self, _name: str) -> Callable[[], Awaitable[None]]:
        """The function by which botocore's clients ask for the account id when they are made."""
        return self.get_account_id

    async def _ask(self) -> Any:
        """Ask for the credentials to sign with. Returns them, or one sentence about why there are none."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                if self._found is None:
                    self._found = await self._find()
                if self._found is None:
                    return NOT_FOUND
                frozen = await self._found.get_frozen_credentials()
        except TimeoutError:
            return f"no answer within {self._patience_seconds:g} seconds"
        except Exception as exc:  # noqa: BLE001 - each source of credentials raises its own
            about = exc.kwargs if isinstance(exc, CredentialRetrievalError) else {}
            self.lacks_source = about.get("provider") == _CHAIN
            return f"{type(exc).__name__}: {exc}"[:_WHY_LIMIT]
        is_whole = frozen is not None and frozen.access_key and frozen.secret_key
        return frozen if is_whole else "what was found has no key, or no secret"


class SigningCredentials:
    """The lifetime of a client's signatures."""

    def __init__(self, client: Any) -> None:
        self._credentials: Any = client._request_signer._credentials  # noqa: SLF001 # botocore's only way
        self._renewed_at: datetime | None = None

    async def renew(self, *, now: datetime) -> datetime | None:
        """Renew credentials that end within the hour, where they can be renewed.

        Returns when they end, None for never.

        Raises:
            CredentialRetrievalError: they cannot be had now, or have ended.
        """
        credentials = self._credentials
        if isinstance(credentials, ChainCredentials):
            await credentials.get_frozen_credentials()
            credentials = credentials.found
        if not hasattr(credentials, "refresh_needed"):
            return None
        if self._renewed_at is None or (now - self._renewed_at).total_seconds() >= RENEWAL_PAUSE_SECONDS:
            usual = credentials._advisory_refresh_timeout  # noqa: SLF001 # 15 minutes
            credentials._advisory_refresh_timeout = SIGNING_LIFE_SECONDS  # noqa: SLF001
            try:
                await self._credentials.get_frozen_credentials()
            finally:
                credentials._advisory_refresh_timeout = usual  # noqa: SLF001
            self._renewed_at = now
        else:
            await self._credentials.get_frozen_credentials()
        ends_at: datetime = credentials._expiry_time.astimezone(UTC)  # noqa: SLF001
        if ends_at <= now:
            raise CredentialRetrievalError(
                provider=_CHAIN, error_msg=f"what was found ended {ends_at:%FT%TZ}"
            )
        return ends_at
