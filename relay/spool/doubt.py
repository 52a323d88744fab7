"""Doubt: may a request that went out have become a contact of which we do not know?

Owns what counts as a definite answer of Connect, and how long a doubtful request may be sent again
automatically (docs/spool.md, "Tokens, and doubt"). Never does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from relay.contact.limits import TOKEN_DAYS
from relay.errors import FailureClass, RemoteError

#: Connect forgets a client token; a request that is older may make a second contact, so we stop a day before.
DOUBT_LIMIT = timedelta(days=TOKEN_DAYS - 1)
#: The reason of an entry that is held because its request has been in doubt for too long.
FATE_UNKNOWN = "fate_unknown"
#: Connect's own error codes for a payload that it refuses. A bare status, a proxy's page and our own check of
#: the request are no such codes.
_REFUSALS = frozenset({"InvalidRequestException", "SerializationException", "ServiceQuotaExceededException"})
#: The instance, e-mail address or flow that the request names does not exist.
_NOT_THERE = frozenset({"ResourceNotFoundException", "404"})
#: Failures that prove that this request made no contact, though an earlier one may have.
_WITHOUT_EFFECT = frozenset({FailureClass.THROTTLED, FailureClass.CAPACITY, FailureClass.CONFIGURATION})


def is_too_old(in_doubt_since: datetime | None, *, now: datetime) -> bool:
    """The age of a doubt against `DOUBT_LIMIT`. Returns whether only a person may have the request sent
    again.
    """
    return in_doubt_since is not None and now - in_doubt_since > DOUBT_LIMIT


def tell_doubt(in_doubt_since: datetime) -> str:
    """The warning for a person who is about to have such a request sent again."""
    return (
        f"a request went out on {in_doubt_since:%Y-%m-%d %H:%M} UTC, and nobody knows whether it became a contact: "
        "look in Connect before this is delivered, or a second contact may come"
    )


def is_refusal(error: RemoteError) -> bool:
    """Connect's refusal of the payload, the only answer that replaces a client token. Returns whether the
    error is one.
    """
    return error.service == "connect" and error.failure is FailureClass.PAYLOAD and error.code in _REFUSALS


def is_settled(error: RemoteError) -> bool:
    """An answer that proves that the request made no contact. Returns whether the error is one."""
    return error.service == "connect" and (
        error.failure in _WITHOUT_EFFECT or error.failure is FailureClass.PAYLOAD
    )


def is_void(error: RemoteError, *, stored: bool) -> bool:
    """A stored request that is no contact and never will be, so that the mended configuration makes the next
    one. Returns whether the error shows that.

    If the request was stored before this attempt, its fate is unknown: then it is void only if something that
    it names does not exist.
    """
    if error.failure is not FailureClass.CONFIGURATION or error.service != "connect":
        return False
    return not stored or error.code in _NOT_THERE


def refuses_file(error: RemoteError, request: Mapping[str, Any]) -> bool:
    """Connect's refusal of an attached file. Returns whether the error is one, for this request."""
    return "Attachments" in request and bool(error.named or error.reason)
