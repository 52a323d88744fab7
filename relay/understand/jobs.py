"""The jobs of workers: to plan a mail's contact, to name the files that a route refuses, or to show a mail.

Owns the first two: the rules of `message` and `contact` applied to one mail, with plain data on both sides.
Never does more I/O than writing the planned files.
"""

from __future__ import annotations

import time
from typing import Any

from relay.contact.fit import fit
from relay.contact.plan import Context
from relay.contact.redact import has_cards
from relay.contact.refusal import refusals
from relay.message.model import Message
from relay.message.parse import parse_message
from relay.understand import wire
from relay.understand.ours import build_is_ours
from relay.understand.showing import show_file, show_mail
from relay.understand.worker import Mail
from relay.vocabulary import Rung


def plan_contact(mail: Mail) -> dict[str, Any]:
    """The plan of a contact, and where each of its files begins; the files are written in the order of the
    plan.
    """
    order = mail.order
    route = mail.routes.route(order["route"])
    if route is None:
        raise LookupError("no such route")
    message = parse_message(mail.raw, clock=time.process_time)
    related = mail.ask(_describe_thread(message))["contact_id"] if order["asks"] else None
    given = {"is_ours": build_is_ours(mail.config, mail.routes), "related_contact_id": related}
    context = wire.unpack(Context, order["context"] | given)
    plan = fit(
        message,
        context,
        route,
        mail.config,
        rung=Rung(order["rung"]),
        refused=frozenset(order["refused"]),
    )
    offsets = [mail.files.write(file.chunks(), file.size) for file in plan.files]
    return {"plan": wire.pack(plan), "offsets": offsets}


def find_objections(mail: Mail) -> dict[str, Any]:
    """The names of the files that are refused before 250, by route, and the routes that refuse the mail for
    a card number in its words.
    """
    routes = {name: mail.routes.route(name) for name in mail.order["routes"]}
    message = parse_message(mail.raw, clock=time.process_time)
    found = {
        name: list(refusals(message, route, mail.config)) if route else [] for name, route in routes.items()
    }
    objecting = [name for name, route in routes.items() if route is not None and route.sensitive.rejects]
    return {"refused": found, "words": objecting if objecting and has_cards(message) else []}


def _describe_thread(message: Message) -> dict[str, Any]:
    """The conversation that a mail belongs to, by its own header."""
    return {
        "in_reply_to": list(message.in_reply_to),
        "references": list(message.references),
        "authors": [mailbox.address for mailbox in message.author],
    }


JOBS = {"plan": plan_contact, "refused": find_objections, "show": show_mail, "file": show_file}
