"""Signatures checked as AWS checks them: Signature Version 4, in the header or in the query.

Owns the keys that the sandbox made up, and the errors for a wrong signature. The arithmetic is botocore's own
signer, run again over what arrived. Never does I/O; `now` is an argument.
"""

from __future__ import annotations

import hmac
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

#: AWS refuses a signature whose date is further than this from its own clock.
CLOCK_SKEW = timedelta(minutes=15)
MAX_EXPIRES_SECONDS = 604_800  # seven days: the longest lifetime of a presigned URL

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<credential>[^,\s]+),\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class SignatureError(Exception):
    """A signature that is not valid; `code` is S3's word for it (Connect has its own)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The made-up account of a sandbox."""

    access_key: str
    secret_key: str
    region: str
    token: str | None = None
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request as it arrived; `url` is absolute, its path and query exactly as sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


def read_credential(headers: Mapping[str, str]) -> tuple[str, str]:
    """The access key and the Region that the Authorization header of a request names, not checked yet.

    Raises:
        SignatureError: it names none.
    """
    found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    scope = found["credential"].split("/") if found else []
    if len(scope) != 5:
        raise SignatureError("AccessDenied", "the request carries no AWS4-HMAC-SHA256 signature")
    return scope[0], scope[2]


def verify(request: Signed, keys: Keys, *, service: str, now: datetime, region: str = "") -> None:
    """Check the signature of a request, in the header or in the URL; `region` where it is not that of the
    keys.

    Raises:
        SignatureError: there is none, or one that is not valid.
    """
    keys = replace(keys, region=region) if region else keys
    if "X-Amz-Signature=" in request.url:
        _verify_query(request, keys, service=service, now=now)
    else:
        _verify_header(request, keys, service=service, now=now)


def _verify_header(request: Signed, keys: Keys, *, service: str, now: datetime) -> None:
    """Check the signature in the Authorization header."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise SignatureError("AccessDenied", "the request carries no AWS4-HMAC-SHA256 signature")
    _check_credential(found["credential"], keys, service)
    signed_at = _parse_date(headers.get("x-amz-date", ""))
    if abs(now - signed_at) > CLOCK_SKEW:
        raise SignatureError("RequestTimeTooSkewed", f"signed at {signed_at}, it is {now}")
    if headers.get("x-amz-security-token") != keys.token:
        raise SignatureError("InvalidToken", "the session token is not the one of these credentials")
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(_credentials(keys), service, keys.region)
    named = found["headers"].split(";")
    if "host" not in named:
        raise SignatureError("SignatureDoesNotMatch", "the host is not signed")
    _compare(
        signer,
        request,
        request.url,
        {name: headers[name] for name in named if name in headers},
        headers["x-amz-date"],
        found["signature"],
    )


def _verify_query(request: Signed, keys: Keys, *, service: str, now: datetime) -> None:
    """Check the signature in a presigned URL."""
    parts = urllib.parse.urlsplit(request.url)
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    try:
        expires, date, signature = (
            int(query["X-Amz-Expires"]),
            query["X-Amz-Date"],
            query["X-Amz-Signature"],
        )
        credential, named = query["X-Amz-Credential"], query["X-Amz-SignedHeaders"].split(";")
    except (KeyError, ValueError) as exc:
        raise SignatureError("AuthorizationQueryParametersError", f"a parameter is missing: {exc}") from exc
    if query.get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" or not 0 < expires <= MAX_EXPIRES_SECONDS:
        raise SignatureError("AuthorizationQueryParametersError", "the algorithm or the life is not allowed")
    _check_credential(credential, keys, service)
    signed_at = _parse_date(date)
    if now > signed_at + timedelta(seconds=expires):
        raise SignatureError("AccessDenied", "Request has expired")
    if signed_at > now + CLOCK_SKEW:
        raise SignatureError("AccessDenied", "Request is not yet valid")
    if query.get("X-Amz-Security-Token") != keys.token:
        raise SignatureError("InvalidToken", "the session token is not the one of these credentials")
    rest = "&".join(pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-Signature="))
    headers = {name.lower(): value for name, value in request.headers.items() if name.lower() in named}
    signer = S3SigV4QueryAuth(_credentials(keys), service, keys.region, expires=expires)
    _compare(signer, request, urllib.parse.urlunsplit(parts._replace(query=rest)), headers, date, signature)


def _compare(
    signer: SigV4Auth, request: Signed, url: str, headers: Mapping[str, str], date: str, signature: str
) -> None:
    again = AWSRequest(method=request.method, url=url, headers=dict(headers), data=request.body)
    again.context["timestamp"] = date
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    if not hmac.compare_digest(expected, signature):
        raise SignatureError(
            "SignatureDoesNotMatch", "the signature is not what these credentials make of the request"
        )


def _check_credential(credential: str, keys: Keys, service: str) -> None:
    access_key, *scope = credential.split("/")
    if access_key != keys.access_key:
        raise SignatureError("InvalidAccessKeyId", f"{access_key} is no key of this sandbox")
    if scope[1:] != [keys.region, service, "aws4_request"]:
        raise SignatureError(
            "AuthorizationHeaderMalformed",
            f"the scope is {'/'.join(scope)}, expected …/{keys.region}/{service}/aws4_request",
        )


def _credentials(keys: Keys) -> Credentials:
    return Credentials(keys.access_key, keys.secret_key, keys.token)


def _parse_date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as exc:
        raise SignatureError("AccessDenied", f"{text!r} is no X-Amz-Date") from exc
