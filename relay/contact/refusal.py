"""What a route refuses at the door because of its file type, instead of storing it.

Owns that one decision (`disallowed_types = "reject"`). Never does I/O. The peer is answered 554 before 250, so
its user learns at once that the file must come in another form.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.config.model import Config, Route
from relay.contact.candidates import Role, collect_candidates
from relay.contact.files import fit_name
from relay.contact.inline import find_shown, image_type
from relay.contact.names import get_extension
from relay.message.model import Message

#: The reason of an entry that is held because its route refuses the file types, and another takes the mail.
TYPE_HOLD = "policy.disallowed_types"


def refusals(message: Message, route: Route, config: Config) -> tuple[str, ...]:
    """The names of the files for which this route refuses the mail; empty when it is taken.

    A picture that goes into the HTML, an attached message that is shown as text and a container that was opened
    reach the agent, so their types refuse nothing.
    """
    if route.disallowed_types != "reject":
        return ()
    allowed = frozenset(config.connect.allowed_extensions)
    shown = set()
    if route.prefer == "html":
        shown = {id(one.part) for one in find_shown(message, message.html) if image_type(one.part)}
    refused = []
    for candidate in collect_candidates(message):
        if (
            candidate.part is None
            or candidate.role in (Role.MESSAGE, Role.CONTAINER)
            or id(candidate.part) in shown
        ):
            continue
        name = fit_name(candidate, allowed)
        if get_extension(name) not in allowed:
            refused.append(name)
    return tuple(refused)


def tell_refused(files: Sequence[str]) -> str:
    """The files that a route refuses, in words."""
    return f"file types not allowed: {', '.join(files)}"
