"""The simulated instance's own settings: DescribeAttachedFilesConfiguration,
DescribeContactFlow and SearchEmailAddresses.

Owns the form of these answers (API reference of Amazon Connect). Never looks at signatures and faults: that
is `connect`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from relay.sandbox.limits import Refusal, Settings, check_instance

#: A call that reads: the answer's document, or the refusal. The caller is an account and a Region (`limits`).
Caller = tuple[str, str]
Read = Callable[[web.Request, bytes, Caller], dict[str, Any] | Refusal]
#: The most addresses of one page (API reference, `MaxResults`).
_PAGE = 100


def list_reads(settings: Callable[[], Settings]) -> Iterator[tuple[str, str, str, Read]]:
    """The calls that read settings: method, path, action, and the work."""
    yield (
        "GET",
        "/attached-files-configurations/{instance_id}/{scope}",
        "DescribeAttachedFilesConfiguration",
        lambda request, _, caller: _describe_files(request, settings(), caller),
    )
    yield (
        "GET",
        "/contact-flows/{instance_id}/{flow_id}",
        "DescribeContactFlow",
        lambda request, _, caller: _describe_flow(request, settings(), caller),
    )
    yield (
        "POST",
        "/search-email-addresses",
        "SearchEmailAddresses",
        lambda _, body, caller: _search_addresses(body, settings(), caller),
    )


def _describe_files(request: web.Request, settings: Settings, caller: Caller) -> dict[str, Any] | Refusal:
    instance_id, scope = request.match_info["instance_id"], request.match_info["scope"]
    if (missing := check_instance(instance_id, settings, caller)) is not None:
        return missing
    if scope != "EMAIL":
        return Refusal(code="InvalidRequestException", message="only the scope EMAIL is simulated")
    settings = settings.find(instance_id)
    return {
        "AttachedFilesConfiguration": {
            "InstanceId": instance_id,
            "AttachmentScope": scope,
            "ExtensionConfiguration": {
                "AllowedExtensions": [{"Extension": each} for each in settings.extensions]
            },
            "MaximumSizeLimitInBytes": settings.max_file_bytes,
        }
    }


def _describe_flow(request: web.Request, settings: Settings, caller: Caller) -> dict[str, Any] | Refusal:
    """A flow: the simulated instance has each that it is asked for."""
    if (missing := check_instance(request.match_info["instance_id"], settings, caller)) is not None:
        return missing
    return {"ContactFlow": {"Id": request.match_info["flow_id"], "State": "ACTIVE"}}


def _search_addresses(body: bytes, settings: Settings, caller: Caller) -> dict[str, Any] | Refusal:
    try:
        asked = json.loads(body)
        instance_id, size = str(asked["InstanceId"]), int(asked.get("MaxResults", _PAGE))
        start = int(asked.get("NextToken", 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Refusal(code="InvalidRequestException", message="the arguments are no search for addresses")
    if not 1 <= size <= _PAGE:
        return Refusal(code="InvalidRequestException", message=f"MaxResults must be from 1 to {_PAGE}")
    if (missing := check_instance(instance_id, settings, caller)) is not None:
        return missing
    known = settings.find(instance_id).addresses(instance_id)
    page = [{"EmailAddress": address} for address in known[start : start + size]]
    more = {"NextToken": str(start + size)} if start + size < len(known) else {}
    return {"EmailAddresses": page, "ApproximateTotalCount": len(known), **more}
