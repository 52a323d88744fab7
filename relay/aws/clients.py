"""Sessions, clients and credentials of AWS: the one module that makes them.

Owns how the relay talks to AWS: Region, endpoints, signature, addressing, retries, pools, time-outs. Of the
session only `client(...)` is used, so another maker of clients is one line. Never calls an operation itself;
what the errors of AWS mean is in `errors`. Credentials, Region and endpoints come from the standard chain
(environment, shared files, container, instance).
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.utils import AioContainerMetadataFetcher, AioIMDSFetcher
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.loaders import create_loader

from relay import PROGRAM, __version__
from relay.aws.credentials import ChainCredentials
from relay.aws.roles import OwnAccount, assume_role, bare_session
from relay.aws.transport import ReadsObjects, SendsOnce, Transport, bounded
from relay.config.connect import Instance
from relay.config.model import Config
from relay.errors import ConfigError

#: Size from which aiohttp warns that a request body holds up the event loop.
_LARGE_REQUEST_BYTES = 1_048_576

#: Calls of a process for the spool of a fleet that are under way at once; the others wait for a connection.
_SPOOL_CALLS = 100

_NO_REGION = (
    "no AWS Region is set: set AWS_DEFAULT_REGION (or AWS_REGION), or region in the AWS profile, "
    'to the Region of the Connect instance, like "eu-central-1"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The clients of the delivering half, made once and kept for the life of the process."""

    s3: Any
    connect: Any
    #: The clients for other Regions and roles.
    abroad: ClientsAbroad
    #: Made even where no alarm goes to a topic: a reload may name one.
    sns: Any
    #: The credentials that all clients sign with.
    credentials: ChainCredentials


@asynccontextmanager
async def open_clients(config: Config) -> AsyncIterator[Clients]:
    """Open the clients for S3, Connect and SNS, and close them at the end.

    Credentials are first asked for by the first call.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    async with AsyncExitStack() as stack:
        with _operators_mistakes():
            session, credentials = await _begin_session("s3", "connect", "sns")
            s3 = await _open_s3(session, stack, partial(_s3_config, config))
            connect = await _open_connect(session, stack, _connect_config(config))
            sns = await stack.enter_async_context(session.client("sns", config=_connect_config(config)))
            abroad = ClientsAbroad(connect, s3, credentials, config, stack)
        yield Clients(s3=s3, connect=connect, abroad=abroad, sns=sns, credentials=credentials)


class ClientsAbroad:
    """The clients of Connect by Region and role, and of S3 by Region, each made when it is first wanted and
    kept.
    """

    def __init__(
        self, connect: Any, s3: Any, credentials: ChainCredentials, config: Config, stack: AsyncExitStack
    ) -> None:
        self._credentials = credentials
        self._config = config
        self._stack = stack
        self._made: dict[tuple[str | None, str | None], Any] = {(None, None): connect}
        self._roles: dict[tuple[str | None, str | None], ChainCredentials] = {}
        self._buckets: dict[str, Any] = {str(s3.meta.region_name): s3}
        self._home = str(s3.meta.region_name)
        self._making = asyncio.Lock()
        #: The account of the daemon's own credentials; asked only where an instance has a role.
        self.own_account = OwnAccount(credentials, self._home)

    async def find(self, instance: Instance) -> Any:
        """The client for an instance's Region, which signs as its role.

        The role is assumed by the first call, and again before its session ends.

        Raises:
            ConfigError: the Region or an endpoint is not usable.
        """
        key = (instance.region, instance.role_arn)
        async with self._making:
            if key not in self._made:
                with _operators_mistakes():
                    self._made[key] = await self._make(*key)
            return self._made[key]

    def find_role(self, instance: Instance) -> ChainCredentials | None:
        """The credentials of an instance's role, once its client is made. Returns None without a role."""
        return self._roles.get((instance.region, instance.role_arn))

    async def find_s3(self, region: str | None) -> Any:
        """The client for buckets of a Region, None for that of the environment. It signs with the daemon's
        own credentials.

        Raises:
            ConfigError: the Region or an endpoint is not usable.
        """
        region = region or self._home
        async with self._making:
            if region not in self._buckets:
                with _operators_mistakes():
                    session = await self._begin(region, "s3", self._credentials)
                    self._buckets[region] = await _open_s3(
                        session, self._stack, partial(_s3_config, self._config)
                    )
            return self._buckets[region]

    async def _make(self, region: str | None, role_arn: str | None) -> Any:
        asked, region = region, region or self._home
        credentials = self._credentials
        if role_arn is not None:
            credentials = ChainCredentials(partial(assume_role, role_arn, self._credentials, region))
            self._roles[asked, role_arn] = credentials
        session = await self._begin(region, "connect", credentials)
        return await _open_connect(session, self._stack, _connect_config(self._config))

    async def _begin(self, region: str, service: str, credentials: ChainCredentials) -> Any:
        """A session for clients of a service in a Region, which sign with these credentials."""
        session = aioboto3.Session(region_name=region, botocore_session=bare_session())
        await asyncio.to_thread(_warm, session, (service,))
        session._session._credentials = credentials  # noqa: SLF001  # the only way to hand them in
        return session


async def _open_connect(session: Any, stack: AsyncExitStack, config: AioConfig) -> Any:
    client = await stack.enter_async_context(session.client("connect", config=config))
    client.meta.events.register("before-send.connect", _send_in_pieces)
    return client


@asynccontextmanager
async def open_service(service: str) -> AsyncIterator[Any]:
    """The client of DynamoDB ("dynamodb"), for lists of senders, or of EventBridge ("events").

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    async with AsyncExitStack() as stack:
        with _operators_mistakes():
            session, _ = await _begin_session(service)
            client = await stack.enter_async_context(session.client(service, config=_service_config()))
        yield client


def _service_config() -> AioConfig:
    return AioConfig(
        # A mail waits for the answer: a second try would come too late.
        retries={"mode": "standard", "total_max_attempts": 1},
        http_session_cls=Transport,
        connect_timeout=2,
        read_timeout=10,
        max_pool_connections=50,
        user_agent_extra=f"{PROGRAM}/{__version__}",
    )


@asynccontextmanager
async def open_fleet(config: Config) -> AsyncIterator[tuple[Any, Any]]:
    """The clients of DynamoDB and S3, for the spool of a fleet.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    async with AsyncExitStack() as stack:
        with _operators_mistakes():
            session, _ = await _begin_session("dynamodb", "s3", region=config.fleet.region)
            tables = await stack.enter_async_context(session.client("dynamodb", config=_spool_config()))
            objects = await _open_s3(session, stack, _objects_config)
        yield tables, objects


def _spool_config() -> AioConfig:
    return AioConfig(
        # An answer takes milliseconds; after some seconds without one it is lost, and asked for again.
        retries={"mode": "standard", "total_max_attempts": 3},
        http_session_cls=Transport,
        connect_timeout=2,
        read_timeout=4,
        max_pool_connections=_SPOOL_CALLS,
        user_agent_extra=f"{PROGRAM}/{__version__}",
    )


async def _find_credentials() -> Any:
    """Ask the whole chain in a new session, which reads every file and variable again.

    Returns None when there are none.
    """
    session = aioboto3.Session(region_name=_region())
    # botocore asks STS and SSO by clients of this session: they use our transport, too.
    session._session.set_default_client_config(AioConfig(http_session_cls=Transport))  # noqa: SLF001
    _bound_metadata(session._session.get_component("credential_provider"))  # noqa: SLF001
    return await session.get_credentials()


def _bound_metadata(resolver: Any) -> None:
    """Let the metadata services of instances and containers be asked by a transport of ours.

    botocore's own reads an answer of any length, and follows redirects.
    """
    for provider in resolver.providers:
        for name in ("_role_fetcher", "_fetcher"):  # of the instance; of the container
            fetcher = getattr(provider, name, None)
            if isinstance(fetcher, AioIMDSFetcher | AioContainerMetadataFetcher):
                fetcher._session = bounded(fetcher._session)  # noqa: SLF001


async def _begin_session(*services: str, region: str | None = None) -> tuple[Any, ChainCredentials]:
    """A session for clients of these services, and the credentials that they sign with.

    Raises:
        ConfigError: no Region is set.
    """
    session = _open_session(region or _region())
    if not session.region_name:
        raise ConfigError(_NO_REGION)
    await asyncio.to_thread(_warm, session, services)
    # botocore's clients take its own credentials when they are made, and would never look for others.
    credentials = ChainCredentials(_find_credentials)
    session._session._credentials = credentials  # noqa: SLF001  # the only way to hand them in
    return session, credentials


def _open_session(region: str | None) -> Any:
    """Open a session with the profile of AWS_PROFILE, or without it while the file that has the profile is
    missing.

    A profile that the files do not have is an operator's mistake; a file may still be mounted later.
    """
    try:
        return aioboto3.Session(region_name=region)
    except ProfileNotFound:
        if not _awaits_file():
            raise
        return aioboto3.Session(region_name=region, botocore_session=bare_session())


def _awaits_file() -> bool:
    """Returns whether a file of profiles may still come: one named by the environment is missing, or both
    usual ones are.
    """
    named = [os.environ.get(name) for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")]
    if any(named):
        return any(name and not Path(name).expanduser().exists() for name in named)
    return not any(Path(name).expanduser().exists() for name in ("~/.aws/config", "~/.aws/credentials"))


def _region() -> str | None:
    """The Region of AWS_REGION, which containers and other SDKs set and botocore does not read.

    None leaves it to botocore.
    """
    return None if os.environ.get("AWS_DEFAULT_REGION") else os.environ.get("AWS_REGION") or None


@contextmanager
def _operators_mistakes() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ValueError) as exc:  # ValueError: an AWS_ENDPOINT_URL that is no URL
        raise ConfigError(f"the AWS set-up cannot be used: {exc}") from exc


def _warm(session: Any, services: tuple[str, ...]) -> None:
    """Load the service models in a thread: 80 ms of JSON that would otherwise hold up the event loop."""
    loader = session._session.get_component("data_loader")  # noqa: SLF001  # the clients ask it, too
    for service in services:
        loader.load_service_model(service, "service-2")
        loader.load_service_model(service, "endpoint-rule-set-1")
        loader.load_service_model(service, "paginators-1")
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)


async def _open_s3(session: Any, stack: AsyncExitStack, configure: Callable[[bool], AioConfig]) -> Any:
    """The S3 client: `bucket.s3.<region>.amazonaws.com` at Amazon, `endpoint/bucket` where an endpoint is
    set.

    One client of each kind is made and their URLs are compared, since only botocore knows every place that
    can set an endpoint.
    """
    own = await stack.enter_async_context(session.client("s3", config=configure(False)))
    custom = await stack.enter_async_context(session.client("s3", config=configure(True)))
    client = own if own.meta.endpoint_url == custom.meta.endpoint_url else custom
    client.meta.events.register_last("before-call.s3", _do_not_ask_first)
    return client


def _do_not_ask_first(params: dict[str, Any], **_: object) -> None:
    """Send the body at once.

    "Expect: 100-continue" costs a round trip, and with a server that ignores it the whole time-out.
    """
    params["headers"].pop("Expect", None)


def _send_in_pieces(request: Any, **_: object) -> None:
    """Hand over a large request as a file, which is sent in pieces.

    As octets it would be written at once, on the loop.
    """
    if isinstance(request.body, bytes) and len(request.body) > _LARGE_REQUEST_BYTES:
        request.body = io.BytesIO(request.body)


def _s3_config(config: Config, custom: bool) -> AioConfig:
    return _any_s3_config(
        custom,
        read_timeout=60,
        # Waiting for a connection of the pool has no time-out, so there is one for every call that can be
        # under way.
        max_pool_connections=config.deliver.concurrency * config.s3.uploads + 4,
        http_session_cls=Transport,
    )


def _objects_config(custom: bool) -> AioConfig:
    return _any_s3_config(
        custom, read_timeout=20, max_pool_connections=_SPOOL_CALLS, http_session_cls=ReadsObjects
    )


def _any_s3_config(custom: bool, **more: Any) -> AioConfig:
    return AioConfig(
        signature_version="s3v4",  # presigning falls back to SigV2 in us-east-1 otherwise
        s3={
            # Explicit "virtual" gives presigned URLs the regional host. Otherwise they carry the global one,
            # which redirects and then fails the signature.
            "addressing_style": "path" if custom else "virtual",
            "us_east_1_regional_endpoint": "regional",
            # The body is bound by a signed x-amz-checksum-sha256 instead: see relay.aws.s3.
            "payload_signing_enabled": False,
        },
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=not custom,
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=5,
        user_agent_extra=f"{PROGRAM}/{__version__}",
        **more,
    )


def _connect_config(config: Config) -> AioConfig:
    return AioConfig(
        retries={"mode": "standard", "total_max_attempts": 1},  # the spool retries, at its own pace
        http_session_cls=SendsOnce,
        connect_timeout=5,
        read_timeout=config.connect.timeout_seconds,
        max_pool_connections=config.deliver.concurrency + 4,
        user_agent_extra=f"{PROGRAM}/{__version__}",
    )


def is_amazons(client: Any) -> bool:
    """Returns whether a client asks AWS itself, at any of its endpoints, and not a compatible server."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return any(host.endswith(f".{suffix}") for suffix in _dns_suffixes())


@cache
def _dns_suffixes() -> frozenset[str]:
    """The domains that the endpoints of every AWS partition end with, as botocore knows them."""
    partitions = create_loader().load_data("partitions")["partitions"]
    return frozenset(
        suffix
        for partition in partitions
        for suffix in (partition["outputs"]["dnsSuffix"], partition["outputs"]["dualStackDnsSuffix"])
    )
