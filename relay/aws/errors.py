"""The errors of AWS by code and status (403, 404, 429, …), and the one table of what they mean to the relay.

Owns that table, and the time-out around a call. An error that stands in no row is temporary. Never calls an
operation itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # botocore's, which is not the built-in one
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from relay.errors import Blame, FailureClass, RemoteError

# The meaning of a service's own error code, whatever its status (S3 says ExpiredToken with 400, SlowDown with
# 503).
_BY_CODE = {
    # The errors of StartEmailContact in the service model; InternalServiceException, the seventh, is
    # temporary.
    "AccessDeniedException": FailureClass.CONFIGURATION,
    "IdempotencyException": FailureClass.CONFLICT,
    "InvalidRequestException": FailureClass.PAYLOAD,
    "ResourceNotFoundException": FailureClass.CONFIGURATION,
    "ServiceQuotaExceededException": FailureClass.CAPACITY,
    "ThrottlingException": FailureClass.THROTTLED,
    # The errors of every service, and of S3.
    "SerializationException": FailureClass.PAYLOAD,  # of the protocol: the service cannot read these octets
    "TooManyRequestsException": FailureClass.THROTTLED,
    "AccessDenied": FailureClass.CONFIGURATION,
    "AuthorizationHeaderMalformed": FailureClass.CONFIGURATION,  # the bucket is in another Region
    "ExpiredToken": FailureClass.CONFIGURATION,
    "ExpiredTokenException": FailureClass.CONFIGURATION,
    "IllegalLocationConstraintException": FailureClass.CONFIGURATION,
    "IncompleteSignature": FailureClass.CONFIGURATION,
    "InvalidAccessKeyId": FailureClass.CONFIGURATION,
    "InvalidBucketName": FailureClass.CONFIGURATION,
    "InvalidClientTokenId": FailureClass.CONFIGURATION,
    "InvalidSignatureException": FailureClass.CONFIGURATION,
    "InvalidToken": FailureClass.CONFIGURATION,
    "KMS.DisabledException": FailureClass.CONFIGURATION,
    "KMS.NotFoundException": FailureClass.CONFIGURATION,
    "MissingAuthenticationTokenException": FailureClass.CONFIGURATION,
    "NotAuthorized": FailureClass.CONFIGURATION,
    "OptInRequired": FailureClass.CONFIGURATION,
    "PermanentRedirect": FailureClass.CONFIGURATION,
    "RequestExpired": FailureClass.CONFIGURATION,
    "SignatureDoesNotMatch": FailureClass.CONFIGURATION,
    "TokenRefreshRequired": FailureClass.CONFIGURATION,
    "UnrecognizedClientException": FailureClass.CONFIGURATION,
    "EntityTooLarge": FailureClass.PAYLOAD,
    # The errors of DynamoDB.
    "ProvisionedThroughputExceededException": FailureClass.THROTTLED,
    "RequestLimitExceeded": FailureClass.THROTTLED,
}
# The meaning of a status that comes with an unknown code, or with none. 400 is left out: a new code may mean
# anything. A mail that is put off can still be delivered; one that is buried waits for a person.
_BY_STATUS = {
    "s3": {
        301: FailureClass.CONFIGURATION,
        307: FailureClass.CONFIGURATION,
        403: FailureClass.CONFIGURATION,
        404: FailureClass.CONFIGURATION,
        429: FailureClass.THROTTLED,
    },
    "connect": {
        402: FailureClass.CAPACITY,
        403: FailureClass.CONFIGURATION,
        404: FailureClass.CONFIGURATION,
        413: FailureClass.PAYLOAD,
        429: FailureClass.THROTTLED,
    },
}
# The meaning of an exception in place of an answer; the first row that fits. Any other is temporary, code
# "unknown".
_BY_EXCEPTION: tuple[tuple[type[BaseException], FailureClass, str], ...] = (
    (TimeoutError, FailureClass.TEMPORARY, "timeout"),
    (ConnectTimeoutError, FailureClass.TEMPORARY, "timeout"),
    (ReadTimeoutError, FailureClass.TEMPORARY, "timeout"),
    (NoCredentialsError, FailureClass.CONFIGURATION, "credentials"),
    (PartialCredentialsError, FailureClass.CONFIGURATION, "credentials"),
    (CredentialRetrievalError, FailureClass.CONFIGURATION, "credentials"),
    (ProxyConnectionError, FailureClass.TEMPORARY, "unreachable"),
    (SSLError, FailureClass.TEMPORARY, "tls"),
    (HTTPClientError, FailureClass.TEMPORARY, "unreachable"),
    (ConnectionError, FailureClass.TEMPORARY, "unreachable"),
    (aiohttp.ClientError, FailureClass.TEMPORARY, "unreachable"),
    (OSError, FailureClass.TEMPORARY, "unreachable"),
    (ResponseParserError, FailureClass.TEMPORARY, "unknown"),  # a proxy's page in place of an answer
    (BotoCoreError, FailureClass.TEMPORARY, "unknown"),
)
_FOREIGN = (ClientError, *(kind for kind, _, _ in _BY_EXCEPTION))
_WORD = re.compile(r"[A-Za-z0-9.]{1,64}")


@asynccontextmanager
async def remote_call(service: str, *, timeout_seconds: float) -> AsyncIterator[None]:
    """Run a call to AWS with a time-out around all of it, and turn what it raises into a RemoteError.

    The time-out also covers the wait for a connection of the pool, which has none of its own.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except _FOREIGN as exc:
        raise map_error(service, exc) from exc


@contextmanager
def readable_answer(service: str) -> Iterator[None]:
    """Turn an answer that botocore's parsers cannot read into a temporary failure; for the call alone.

    The parsers raise whatever comes of such an answer (a list where an object should be, octets that are not
    UTF-8, brackets without end).
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as exc:
        raise RemoteError(
            service=service,
            failure=FailureClass.TEMPORARY,
            code="unknown",
            detail=f"the answer cannot be read ({type(exc).__name__})",
            blame=Blame.SERVICE,
        ) from exc


def map_error(service: str, exc: BaseException) -> RemoteError:
    """Translate a foreign error into a RemoteError (docs/flow.md, "Delivery")."""
    if isinstance(exc, ClientError):
        return _map_answer(service, exc.response)
    if isinstance(exc, ParamValidationError):  # the client's own check refused it: it never left
        failure = FailureClass.PAYLOAD if service == "connect" else FailureClass.CONFIGURATION
        return RemoteError(service=service, failure=failure, code="ParamValidationError", detail=_line(exc))
    for kind, failure, code in _BY_EXCEPTION:
        if isinstance(exc, kind):
            return RemoteError(
                service=service, failure=failure, code=code, detail=_tell(exc), blame=Blame.SERVICE
            )
    return RemoteError(service=service, failure=FailureClass.TEMPORARY, code="unknown", detail=_line(exc))


def _tell(exc: BaseException) -> str:
    """The words of an exception, and the reason below it, which botocore keeps to itself ("Failed to connect
    to proxy URL"): the proxy's answer, the name that does not resolve, the port that is closed.
    """
    below = getattr(exc, "kwargs", {}).get("error") or exc.__cause__
    if isinstance(below, aiohttp.ClientResponseError):  # its own text has the URL, with the proxy's password
        reason = f"the answer was {below.status} {below.message}"
    else:
        reason = str(below or "")
    return _line(exc) if reason in str(exc) else _line(f"{exc}: {reason}")


def _map_answer(service: str, response: Any) -> RemoteError:
    error = response.get("Error", {})
    about = response.get("ResponseMetadata", {})
    status, code = about.get("HTTPStatusCode", 0), str(error.get("Code", ""))
    if not _WORD.fullmatch(code):
        code = str(status)  # botocore gives the status as the code of an answer without one
    failure = _classify(service, status, code)
    reason = next(iter((response.get("Reason") or {}).values()), "")
    if failure is FailureClass.CAPACITY and reason:  # a 402 with a reason is about this payload
        failure = FailureClass.PAYLOAD
    request_id = about.get("RequestId", "")
    return RemoteError(
        service=service,
        failure=failure,
        code=code,
        detail=_line(error.get("Message", "")) + (f" (request {request_id})" if request_id else ""),
        reason=str(reason)[:64],
        # A redirect is no word on one mail: a portal or a filter answers everyone so.
        blame=Blame.REQUEST if 400 <= status < 500 else Blame.SERVICE,
    )


def _classify(service: str, status: int, code: str) -> FailureClass:
    """The class of a failure by its code, else by its status. What stands in no table is temporary.

    So is a 409 with another code than Connect's IdempotencyException: a proxy's page is no proof of a
    contact.
    """
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_STATUS.get(service, {}).get(status, FailureClass.TEMPORARY)


def _line(text: object) -> str:
    """A text as one line of at most 500 characters, without halves of surrogate pairs (JSON may have
    some).
    """
    return " ".join(str(text).split())[:500].encode("utf-8", "replace").decode("utf-8")
