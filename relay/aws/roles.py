"""Roles, assumed through STS, and the account that the daemon's own credentials are of.

Owns both questions to STS, AssumeRole and GetCallerIdentity. Never decides what a role that cannot be assumed
means for mail: `relay.aws.connect` does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession

from relay import PROGRAM
from relay.aws.credentials import ChainCredentials
from relay.aws.errors import readable_answer, remote_call
from relay.aws.transport import Transport
from relay.errors import RemoteError

#: Seconds for the question whose account it is: mail for instances with a role waits for the answer.
_PATIENCE_SECONDS = 5.0
#: Seconds after which STS is asked again, while the account is unknown.
_AGAIN_SECONDS = 60.0
_ACCOUNT = re.compile(r"[0-9]{12}")


def bare_session() -> AioSession:
    """A session of botocore without a profile, for it is given its credentials."""
    return AioSession(session_vars={"profile": (None, None, None, None)})


async def assume_role(role_arn: str, source: ChainCredentials, region: str) -> Any:
    """The credentials of a role, which renew themselves by STS in the Region."""
    await source.get_frozen_credentials()  # a fault of theirs is told as theirs
    session = bare_session()
    session.set_default_client_config(AioConfig(http_session_cls=Transport))
    fetcher = AioAssumeRoleCredentialFetcher(
        client_creator=partial(session.create_client, region_name=region),
        source_credentials=source,
        role_arn=role_arn,
        extra_args={"RoleSessionName": PROGRAM},
    )
    return AioDeferredRefreshableCredentials(
        refresh_using=fetcher.fetch_credentials,
        method="assume-role",
    )


class OwnAccount:
    """The account of the daemon's own credentials, asked of STS until it is known, and then kept."""

    def __init__(
        self, credentials: ChainCredentials, region: str, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._clock = clock
        self._known: str | None = None
        self._again_at = clock()
        self._asking = asyncio.Lock()

    async def find(self) -> str | None:
        """The account's twelve digits. Returns None while they are unknown: STS does not answer, or with
        something else.
        """
        async with self._asking:
            if self._known is None and self._clock() >= self._again_at:
                self._known = await self._ask()
                self._again_at = self._clock() + _AGAIN_SECONDS
            return self._known

    async def _ask(self) -> str | None:
        session = bare_session()
        session._credentials = self._credentials  # noqa: SLF001  # the only way to hand them in
        config = AioConfig(
            http_session_cls=Transport,
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=_PATIENCE_SECONDS,
            read_timeout=_PATIENCE_SECONDS,
        )
        try:
            async with remote_call("sts", timeout_seconds=_PATIENCE_SECONDS):
                with readable_answer("sts"):
                    async with session.create_client("sts", region_name=self._region, config=config) as sts:
                        account = str((await sts.get_caller_identity())["Account"])
        except RemoteError:
            return None  # asked again later; meanwhile a role of this account counts as one of another
        return account if _ACCOUNT.fullmatch(account) else None
