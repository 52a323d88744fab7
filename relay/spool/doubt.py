"""Doubt: whether a request that went out may have become a contact of which we do not know.

Owns what counts as a definite answer of Connect, and how long a doubtful request may be sent again by itself
(docs/spool.md, "Tokens, and doubt"). Never does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from relay.contact.limits import TOKEN_DAYS
from relay.errors import FailureClass, RemoteError

#: Connect forgets a client token; a request that is older may make a second contact, so we stop a day before.
DOUBT_LIMIT = timedelta(days=TOKEN_DAYS - 1)
#: The reason of an entry that is held because of it.
FATE_UNKNOWN = "fate_unknown"
#: Connect's own words for a payload that it refuses. A bare status, a proxy's page or a look of ours is no
#: such word.
_REFUSALS = frozenset({"InvalidRequestException", "SerializationException", "ServiceQuotaExceededException"})
#: What the request names does not exist: instance, e-mail address or flow.
_NOT_THERE = frozenset({"ResourceNotFoundException", "404"})
#: Answers that say that this request made nothing, though an earlier one may have.
_WITHOUT_EFFECT = frozenset({FailureClass.THROTTLED, FailureClass.CAPACITY, FailureClass.CONFIGURATION})


def is_too_old(in_doubt_since: datetime | None, *, now: datetime) -> bool:
    """Whether only a person may have a request sent again that is in doubt since then."""
    return in_doubt_since is not None and now - in_doubt_since > DOUBT_LIMIT


def tell_doubt(in_doubt_since: datetime) -> str:
    """What a person must know who may have it sent again."""
    return (
        f"a request went out on {in_doubt_since:%Y-%m-%d %H:%M} UTC, and nobody knows whether it became a contact: "
        "look in Connect before this is delivered, or a second contact may come"
    )


def is_refusal(error: RemoteError) -> bool:
    """Whether Connect itself has refused the payload: the one answer that ends a client token."""
    return error.service == "connect" and error.failure is FailureClass.PAYLOAD and error.code in _REFUSALS


def is_settled(error: RemoteError) -> bool:
    """Whether a request that was answered so is certainly no contact."""
    return error.service == "connect" and (
        error.failure in _WITHOUT_EFFECT or error.failure is FailureClass.PAYLOAD
    )


def is_void(error: RemoteError, *, stored: bool) -> bool:
    """Whether the stored request can be no contact and never will be: the next one is made by the mended
    configuration.

    One that was stored before this attempt, with a fate unknown, is void only where what it names does not
    exist.
    """
    if error.failure is not FailureClass.CONFIGURATION or error.service != "connect":
        return False
    return not stored or error.code in _NOT_THERE


def refuses_file(error: RemoteError, request: Mapping[str, Any]) -> bool:
    """Whether Connect refuses a request for a file that is attached to it."""
    return "Attachments" in request and bool(error.named or error.reason)
