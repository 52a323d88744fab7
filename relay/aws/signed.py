"""Calls to Connect that the pinned botocore does not know, signed here and sent by a client's transport.

Owns the signature (SigV4) and the reading of refusals. No redirect is followed, and an answer has a bound.
Never retries, and never decides what an answer means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from relay.aws.errors import readable_answer

_SERVICE = "connect"


async def call(
    client: Any, operation: str, path: str, *, method: str = "GET", document: Mapping[str, Any] | None = None
) -> bytes:
    """The body of the answer to a signed call at the client's endpoint.

    Raises:
        ClientError: the answer is none of 200.
    """
    headers = {"User-Agent": client.meta.config.user_agent_extra}
    if document is not None:
        headers["Content-Type"] = "application/json"
    request = AWSRequest(
        method=method,
        url=client.meta.endpoint_url.rstrip("/") + path,
        headers=headers,
        data=None if document is None else json.dumps(document).encode(),
    )
    credentials = await client._request_signer._credentials.get_frozen_credentials()  # noqa: SLF001 # botocore's only way
    SigV4Auth(credentials, _SERVICE, client.meta.region_name).add_auth(request)
    answer = await client._endpoint.http_session.send(request.prepare())  # noqa: SLF001 # see above
    body: bytes = await answer.content
    if answer.status_code >= 300:  # what botocore's clients do with such an answer
        with readable_answer(_SERVICE):
            found = create_parser("rest-json").parse(
                {"headers": answer.headers, "status_code": max(answer.status_code, 301), "body": body}, None
            )
        raise ClientError(found, operation)
    return body
