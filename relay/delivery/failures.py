"""The failures that delivery itself finds, before S3 or Connect is asked.

Owns their words: the code, and the sentence for an operator.
"""

from __future__ import annotations

from relay.errors import FailureClass, NotYetError, RemoteError
from relay.spool.model import Entry


def no_route(entry: Entry) -> RemoteError:
    """The failure of an entry that no route of the configuration matches."""
    return RemoteError(
        service="connect",
        failure=FailureClass.CONFIGURATION,
        code="no_route",
        detail=f"no route matches {entry.destination.forward_paths[0]} any more",
    )


def dead_urls() -> RemoteError:
    """The failure of a request whose new URLs are not valid."""
    return RemoteError(
        service="s3",
        failure=FailureClass.TEMPORARY,
        code="dead_urls",
        detail="presigned URLs are not valid now; look at the clock, and at how long the credentials live",
    )


def busy(exc: NotYetError) -> RemoteError:
    """The failure of a mail that waits for others to be read, after a payload of it was refused."""
    return RemoteError(service="relay", failure=FailureClass.THROTTLED, code="busy", detail=str(exc))
