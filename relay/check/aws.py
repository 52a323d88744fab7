"""AWS as `relay check` meets it: Region, credentials, clock, bucket, URLs, and the addresses in Connect.

Owns those examinations, made with the same clients as the daemon's. Looks at the addresses of each
instance, and at the files that it takes. Stores one small object under a key that
is always the same. Starts no contact: whether StartEmailContact is allowed shows with the first mail.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from botocore.exceptions import BotoCoreError, ClientError

from relay.aws.clients import Clients, open_clients
from relay.aws.credentials import SigningCredentials
from relay.aws.errors import map_error, readable_answer, remote_call
from relay.aws.instance import describe_files, find_flow, list_addresses
from relay.aws.proof import UNPROVEN
from relay.aws.s3 import MAX_URL_LENGTH, prove_stored
from relay.check.accounts import examine_quotas, examine_role
from relay.check.clock import advise, ask_date, compare, is_of_the_clock, measure
from relay.check.finding import Finding, Level, fail, ok, warn
from relay.check.rules import name_flow
from relay.config import Config
from relay.config.discovered import find_destinations, list_differences
from relay.config.model import S3
from relay.config.words import place_of_instance
from relay.errors import ConfigError, FailureClass, RemoteError

_PATIENCE_SECONDS = 20
#: The part of a key that the sample adds to the prefix. A real key has a spool id of up to 32 characters, "/"
#: and a number.
_KEY = "relay-check"
_LONGEST_KEY = 32 + 4

_REMEDIES = {
    "AccessDenied": "allow s3:PutObject and s3:GetObject on the prefix (s3:PutObjectTagging with routes[].s3_tags), and kms:GenerateDataKey and kms:Decrypt",
    "NoSuchBucket": "make it, or mend s3.bucket",
    "AuthorizationHeaderMalformed": "the bucket is in another Region; set the Region to it",
    "PermanentRedirect": "the bucket is in another Region; set the Region to it",
    "SignatureDoesNotMatch": "mend the secret access key",
    "InvalidAccessKeyId": "mend the access key",
    "ExpiredToken": "renew the credentials",
    "ExpiredTokenException": "renew the credentials",
    "InvalidSignatureException": "mend the secret access key",
    "UnrecognizedClientException": "mend the access key",
    "unreachable": "look at the network, a proxy, or AWS_ENDPOINT_URL_S3",
    "timeout": "look at the network, a proxy, or AWS_ENDPOINT_URL_S3",
    UNPROVEN: "something between here and S3 answers in its place, or AWS_ENDPOINT_URL_S3 is no S3",
}

#: The answers of Connect that tell of a permission that lacks, with a code of their own or without.
_FORBIDDEN_CODES = frozenset({"AccessDeniedException", "AccessDenied", "403"})
_FORBIDDEN = "HTTP 403"


def examine_aws(config: Config, *, now: datetime) -> Iterator[Finding]:
    """Examine AWS, and give every finding."""
    yield from asyncio.run(_gather(config, now))


async def _gather(config: Config, now: datetime) -> list[Finding]:
    return [finding async for finding in _examine(config, now)]


async def _examine(config: Config, now: datetime) -> AsyncIterator[Finding]:
    try:
        async with open_clients(config) as clients:
            yield ok("region", clients.s3.meta.region_name)
            found = await _credentials(clients, now)
            yield found
            if found.level is Level.FAIL:
                return  # all that follows needs a signature
            async for finding in _bucket(clients.s3, config.s3, tags=_find_tags(config)):
                yield finding
            async for finding in _buckets_abroad(clients, config):
                yield finding
            async for finding in examine_quotas(clients, config):
                yield finding
            for instance_id in config.list_instances():
                async for finding in _examine_instance(clients, config, instance_id):
                    yield finding
    except ConfigError as exc:
        for sentence in exc.sentences:
            yield fail("aws", sentence)


async def _examine_instance(clients: Clients, config: Config, instance_id: str) -> AsyncIterator[Finding]:
    """Examine an instance: its role, its addresses, and the files that it takes."""
    client = await clients.abroad.find(config.connect.find(instance_id))
    role = await examine_role(clients, config.connect.find(instance_id))
    if role is not None:
        yield role
        if role.level is Level.FAIL:
            return  # what follows needs its signature
    yield (instance := await _instance(client, config, instance_id))
    if instance.level is Level.FAIL:
        return
    if files := await _files(client, config, instance_id):
        yield files
    async for finding in _flows(client, config, instance_id):
        yield finding


async def _flows(connect: Any, config: Config, instance_id: str) -> AsyncIterator[Finding]:
    """Examine the flows of the routes that have this instance for their own or for their standby."""
    subject = f"flows of instance {instance_id}"
    wanted = sorted(_list_flows(config, instance_id))
    for flow in wanted:
        try:
            await find_flow(connect, instance_id, flow)
        except RemoteError as exc:
            if exc.code in _FORBIDDEN_CODES:
                advice = "allow connect:DescribeContactFlow to have them checked"
                yield warn(subject, f"cannot be looked at ({exc.code}); {advice}")
                return
            is_missing = exc.code == "ResourceNotFoundException"
            told = f"has no flow {flow}; mend contact_flow_id or standby_flows" if is_missing else str(exc)
            yield (fail if is_missing else warn)(subject, told)
            return
    if wanted:
        yield ok(subject, f"are there ({len(wanted)})")


def _list_flows(config: Config, instance_id: str) -> Iterator[str]:
    """The flows that routes with a standby ask for at this instance."""
    for route in config.routes:
        if route.standby is None:
            continue
        flows = [route.contact_flow_id, *(name_flow(rule.action) for rule in route.policy.values())]
        named = [flow for flow in flows if flow]
        if instance_id == route.standby:
            yield from (route.standby_flows.get(flow, flow) for flow in named)
        elif instance_id == (route.instance_id or config.connect.instance_id):
            yield from named


async def _credentials(clients: Clients, now: datetime) -> Finding:
    """Examine the credentials: which kind signs, and how long its URLs live."""
    try:
        async with remote_call("aws", timeout_seconds=2 * _PATIENCE_SECONDS):
            ends_at = await SigningCredentials(clients.s3).renew(now=now)
    except RemoteError as exc:
        return fail("credentials", f"{exc.detail}; the daemon receives, and delivers when they can be had")
    if ends_at is None:
        return ok("credentials", "found; they have no end of their own")
    minutes = int((ends_at - now).total_seconds() // 60)
    return ok("credentials", f"found; good for {minutes} minutes, and so are URLs signed now")


async def _buckets_abroad(clients: Clients, config: Config) -> AsyncIterator[Finding]:
    """Examine the buckets that instances have of their own, each once."""
    seen: set[tuple[str, str, str | None]] = {(config.s3.bucket, config.s3.prefix, None)}
    for instance_id in config.connect.instances:
        place, region = config.of_instance(instance_id).s3, config.connect.find(instance_id).bucket_region
        if (key := (place.bucket, place.prefix, region)) not in seen:
            seen.add(key)
            async for finding in _bucket(
                await clients.abroad.find_s3(region), place, tags=_find_tags(config)
            ):
                if finding.level is not Level.OK or finding.subject.startswith("bucket"):
                    yield finding


def _find_tags(config: Config) -> Mapping[str, str]:
    """The tags of the first route that has any; with none nothing is tagged."""
    return next((route.s3_tags for route in config.routes if route.s3_tags), {})


async def _bucket(s3: Any, place: S3, *, tags: Mapping[str, str]) -> AsyncIterator[Finding]:
    """Examine a bucket: upload a small object with these tags, and fetch it by its URL as Connect would."""
    subject, key, octets = f"bucket {place.bucket}", place.prefix + _KEY, secrets.token_bytes(16)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            checksum = base64.b64encode(hashlib.sha256(octets).digest()).decode("ascii")
            with readable_answer("s3"):
                answer = await s3.put_object(
                    Bucket=place.bucket,
                    Key=key,
                    Body=octets,
                    ChecksumSHA256=checksum,
                    **({"Tagging": urlencode(tags, quote_via=quote)} if tags else {}),
                )
            await prove_stored(s3, answer, bucket=place.bucket, key=key, checksum=checksum, size=len(octets))
            url = await s3.generate_presigned_url(
                "get_object", Params={"Bucket": place.bucket, "Key": key}, ExpiresIn=60
            )
            came_back = await asyncio.to_thread(_fetch, url)
    except (BotoCoreError, ClientError, OSError, TimeoutError, RemoteError) as exc:
        error = exc if isinstance(exc, RemoteError) else map_error("s3", exc)
        yield fail(subject, f"{error}; {await _remedy(error, s3)}")
        return
    yield compare(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""), datetime.now(UTC))
    if came_back != octets:
        advice = "allow s3:GetObject" if came_back == _FORBIDDEN else "look at what stands before the bucket"
        yield fail(subject, f"{key} went up, and its presigned URL answers {came_back!r:.80}; {advice}")
        return
    yield ok(subject, f"{key} went up and came back by its presigned URL")
    longest = len(url) - len(_KEY) + _LONGEST_KEY
    if longest > MAX_URL_LENGTH:
        yield fail(
            "presigned URL",
            f"{longest} characters, and Connect takes {MAX_URL_LENGTH}: sign with credentials that have a shorter token",
        )
    else:
        yield ok("presigned URL", f"{longest} characters at most; Connect takes {MAX_URL_LENGTH}")


async def _remedy(error: RemoteError, client: Any) -> str:
    """The advice for an error of S3 or Connect, which have one clock."""
    if is_of_the_clock(error):
        date = await asyncio.to_thread(ask_date, client.meta.endpoint_url)
        return advise(measure(date, datetime.now(UTC)))
    return _REMEDIES.get(error.code, "the daemon would wait and try again")


def _fetch(url: str) -> bytes | str:
    """Fetch a URL. Returns the octets, or the status of the answer in words."""
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310 - S3's URL
            octets: bytes = answer.read(64)
            return octets
    except urllib.error.HTTPError as exc:
        return f"HTTP {exc.code}"


async def _instance(connect: Any, config: Config, instance_id: str) -> Finding:
    """Examine whether the instance has the addresses that its routes deliver to.

    Without permission that stays unknown.
    """
    subject = f"instance {instance_id}"
    region, asked = place_of_instance(instance_id)[0], connect.meta.region_name
    if region and region != asked:
        return fail(
            subject,
            f"is in {region}, and {asked} would be asked; set the Region of the environment, or "
            f'region = "{region}" in its table under [connect.instances]',
        )
    wanted = sorted(find_destinations(config, instance_id))
    try:
        known = await list_addresses(connect, instance_id)
    except RemoteError as exc:
        if is_of_the_clock(exc):
            return fail(subject, f"{exc}; {await _remedy(exc, connect)}")
        return _untold(subject, exc)
    if missing := [address for address in wanted if address not in known]:
        return fail(subject, f"has no address {', '.join(missing)}; make it in Connect, or mend the route")
    return ok(subject, f"has the addresses of our routes ({len(wanted)} of its {len(known)})")


async def _files(connect: Any, config: Config, instance_id: str) -> Finding | None:
    """Examine whether the instance takes the files that the configuration says.

    Returns None where it does not tell, and nobody wants to know (`connect.discover`).
    """
    subject, discover = f"files of instance {instance_id}", config.connect.discover
    try:
        found = await describe_files(connect, instance_id)
    except RemoteError as exc:
        if not discover:
            return None
        if exc.code in _FORBIDDEN_CODES:
            advice = "allow connect:DescribeAttachedFilesConfiguration, or set connect.discover to false"
            return warn(subject, f"cannot be looked at ({exc.code}); {advice}")
        return warn(
            subject, f"cannot be looked at ({exc.code}: {exc.detail}); the daemon goes by what it knew"
        )
    if differences := "; ".join(list_differences(config, instance_id, found)):
        done = (
            "the daemon goes by the instance"
            if discover
            else "set connect.discover, or mend the configuration"
        )
        return warn(subject, f"{differences}; {done}")
    return ok(subject, "are those that the configuration says")


def _untold(subject: str, error: RemoteError) -> Finding:
    if error.code == "credentials":
        advice = "allow sts:AssumeRole and trust us" if "AccessDenied" in error.detail else "look at STS"
        return fail(subject, f"its role cannot be assumed: {error.detail}; {advice}")
    if error.code == "ResourceNotFoundException":
        return fail(subject, "does not exist in this Region, or not for this account")
    if error.failure is FailureClass.TEMPORARY and error.code in ("unreachable", "timeout", "tls"):
        return fail(subject, f"cannot be reached: {error.detail}")
    if error.code in _FORBIDDEN_CODES:
        return warn(
            subject,
            f"cannot be looked at ({error.code}); allow connect:SearchEmailAddresses to have it checked",
        )
    advice = _REMEDIES.get(error.code, "try again")
    found = fail if error.failure is FailureClass.CONFIGURATION else warn
    return found(subject, f"cannot be looked at ({error.code}: {error.detail}); {advice}")
