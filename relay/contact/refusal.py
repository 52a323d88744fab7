"""The refusal of a mail before 250 because of its file types, by routes that ask for it.

Owns that one decision (`disallowed_types = "reject"`). Never does I/O. The peer is answered 554 before 250,
so its user learns at once that the file must come in another form.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.config.model import Config, Route
from relay.contact.candidates import Role, collect_candidates
from relay.contact.files import fit_name
from relay.contact.inline import find_shown, image_type
from relay.contact.names import get_extension
from relay.message.model import Message

#: The reason of a held entry whose route refuses the file types while another route takes the mail.
TYPE_HOLD = "policy.disallowed_types"


def refusals(message: Message, route: Route, config: Config) -> tuple[str, ...]:
    """The names of the files for which this route refuses the mail; none when it is taken.

    A picture that goes into the HTML, an attached message or HTML that is shown as text, a container that was
    opened and what tells nobody anything (a signature) are no files that an agent would miss.
    """
    if route.disallowed_types != "reject":
        return ()
    connect = config.connect
    allowed = frozenset(connect.adopt(route.instance_id or connect.instance_id).allowed_extensions)
    shown = set()
    if route.prefer == "html":
        shown = {id(one.part) for one in find_shown(message, message.html) if image_type(one.part)}
    refused = []
    for candidate in collect_candidates(message):
        if (
            candidate.part is None
            or candidate.role in (Role.MESSAGE, Role.PAGE, Role.CONTAINER, Role.NOISE)
            or id(candidate.part) in shown
        ):
            continue
        name = fit_name(candidate, allowed)
        if get_extension(name) not in allowed:
            refused.append(name)
    return tuple(refused)


def tell_refused(files: Sequence[str]) -> str:
    """The sentence that names the files that a route refuses."""
    return f"file types not allowed: {', '.join(files)}"
