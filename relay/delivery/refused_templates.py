"""The routes whose templates Connect refuses: their contacts go without these fields, and a person is told.

Owns which refusal is put down to a template. Never does I/O; what it knows ends with the process, and the
next contact of the route tells it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from relay.contact.limits import EXPIRY_KEY
from relay.errors import FailureClass, RemoteError

#: Members of the request that only templates fill, as a refusal may name them.
_NAMED = re.compile(r"(?i)\b(?:description|references?|segment ?attributes?)\b")


def is_templated(request: Mapping[str, Any]) -> bool:
    """Returns whether a request has fields of templates, beside a name that is the subject."""
    name = request.get("Name", "")
    return bool(
        (name and name != request["EmailMessage"]["RawMessage"]["Subject"])
        or request.get("Description")
        or request.get("References")
        or request.get("SegmentAttributes", {}).keys() - {EXPIRY_KEY}
    )


def suspect_template(error: RemoteError, request: Mapping[str, Any]) -> str:
    """The words of a refusal that may be a template's fault; "" where it names a file, or may be a file's."""
    if error.failure is not FailureClass.PAYLOAD or not request or not is_templated(request):
        return ""
    may_be_files = bool(error.named or request.get("Attachments")) and not _NAMED.search(error.detail)
    return "" if may_be_files else error.detail or error.code


class RefusedTemplates:
    """The routes whose contacts were last taken without what their templates made, each with the reason."""

    def __init__(self) -> None:
        self._routes: dict[str, str] = {}

    def note(self, route: str, *, why: str, request: Mapping[str, Any]) -> None:
        """A contact of the route was taken: after a refusal (`why`) without the fields, else with them."""
        if why:
            self._routes[route] = why
        elif is_templated(request):
            self._routes.pop(route, None)

    def clear(self) -> None:
        """Forget all: the templates may be others now."""
        self._routes.clear()

    @property
    def known(self) -> Mapping[str, str]:
        """The routes, each with the words of the refusal."""
        return self._routes
