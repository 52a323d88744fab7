"""The jobs of workers for the page: a mail as an agent sees it with its original, and one of its files.

Owns what of a mail is shown, and how much. The words go the way of files, into the file without a name, so
that a body of megabytes is no packet. Never does more I/O than that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from relay.contact.body import HTML
from relay.contact.fit import fit
from relay.contact.html_text import make_text
from relay.contact.plan import Context, Plan
from relay.contact.record import record_plan
from relay.message.model import Message, Part
from relay.message.parse import parse_with_tree
from relay.message.tree import Node
from relay.understand import wire
from relay.understand.ours import build_is_ours
from relay.understand.worker import Mail
from relay.vocabulary import Rung

#: Header fields, characters of each, and characters of all.
_FIELDS: Final = 300
_VALUE: Final = 8_192
_HEADER: Final = 131_072
#: Characters of the text beside HTML.
_TEXT: Final = 500_000
#: Parts of the tree.
_PARTS: Final = 500
_NAME: Final = 300


def show_mail(mail: Mail) -> dict[str, Any]:
    """The mail as the present configuration would send it, its header, and the tree of its parts."""
    message, root = parse_with_tree(mail.raw, clock=time.process_time)
    plan = _plan(mail, message)
    body, content_type = (plan.body, plan.content_type) if plan else _own_body(message)
    text = ""
    if content_type == HTML:
        # The text that came beside the HTML, but where words are taken out of mails: it was left as it came.
        text = message.text if plan and not _is_redacted(mail) else ""
        text = text or make_text(body[: 4 * _TEXT])
    left = [_PARTS]
    return {
        "content_type": content_type,
        "body": _write(mail, body),
        "text": _write(mail, text[:_TEXT]),
        "headers": list(_list_headers(message)),
        "tree": _outline(root, message, left),
        "plan": record_plan(plan, prefix=mail.config.contact.attribute_prefix) if plan else None,
    }


def show_file(mail: Mail) -> dict[str, Any]:
    """One file of a mail, by its hash and its name: of several with that hash the one with that name, and
    the first of that name where no hash is known.
    """
    message, _ = parse_with_tree(mail.raw, clock=time.process_time)
    plan, wanted, name = _plan(mail, message), mail.order["sha256"], mail.order["name"]
    files = plan.files if plan else ()
    planned = [file for file in files if (file.sha256 == wanted if wanted else file.name == name)]
    for file in sorted(planned, key=lambda each: each.name != name):
        return {"place": [mail.files.write(file.chunks(), file.size), file.size]}
    for part in _list_parts(message):
        if part.sha256 == wanted:
            return {"place": [mail.files.write(part.chunks(), part.size), part.size]}
    return {"place": None}


def _plan(mail: Mail, message: Message) -> Plan | None:
    """The plan of the contact. Returns None where the configuration has no such route any more."""
    order = mail.order
    route = mail.routes.route(order["route"])
    if route is None:
        return None
    given = {"is_ours": build_is_ours(mail.config, mail.routes)}
    context = wire.unpack(Context, order["context"] | given)
    return fit(message, context, route, mail.config, rung=Rung(order["rung"]))


def _is_redacted(mail: Mail) -> bool:
    route = mail.routes.route(mail.order["route"])
    return route is not None and route.sensitive.redacts


def _own_body(message: Message) -> tuple[str, str]:
    return (message.html, HTML) if message.html else (message.text, "text/plain")


def _write(mail: Mail, text: str) -> list[int]:
    """Write a text to the file of this mail. Returns its offset and its size."""
    octets = text.encode("utf-8", "replace")
    return [mail.files.write([octets], len(octets)), len(octets)]


def _list_headers(message: Message) -> Iterator[list[str]]:
    left = _HEADER
    for name, value in message.headers[:_FIELDS]:
        shown = value[: min(_VALUE, left)]
        left -= len(name) + len(shown)
        yield [name[:_NAME], shown]
        if left <= 0:
            return


def _list_parts(message: Message) -> Iterator[Part]:
    yield from message.parts
    for one in message.embedded:
        yield from _list_parts(one.message)


def _outline(node: Node, message: Message, left: list[int]) -> dict[str, Any]:
    """A node with what stands below it, as far as there is room."""
    left[0] -= 1
    below = [_outline(each, message, left) for each in (*node.children, *node.inner) if left[0] > 0]
    part = node.part
    for one in message.embedded:
        if one.path == node.path and part is not None:
            below += _outline_parts(one.message, left)
    return {
        "content_type": node.content_type[:_NAME],
        "size": part.size if part else sum(each["size"] for each in below),
        "name": (part.name or "")[:_NAME] if part else "",
        "disposition": part.content_disposition if part else "",
        "parts": below,
    }


def _outline_parts(message: Message, left: list[int]) -> Sequence[dict[str, Any]]:
    """The leaves of a message within the mail."""
    found = []
    for part in message.parts:
        if left[0] <= 0:
            break
        left[0] -= 1
        found.append(
            {
                "content_type": part.content_type[:_NAME],
                "size": part.size,
                "name": (part.name or "")[:_NAME],
                "disposition": part.content_disposition,
                "parts": [],
            }
        )
    return found
