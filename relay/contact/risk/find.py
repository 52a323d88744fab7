"""The risks of one mail, all of them in the order of the table.

Owns the order in which the mail is looked at. Never does I/O beyond reading the octets of the mail's files.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.config.model import Config
from relay.contact.risk.codes import Risk
from relay.contact.risk.files import find_file_risks
from relay.contact.risk.links import find_link_risks
from relay.contact.risk.lookalikes import read_own_domains
from relay.contact.risk.page import read_page
from relay.contact.risk.people import find_people_risks
from relay.contact.risk.unseen import find_unseen_risks
from relay.message.model import Message


def find_risks(message: Message, config: Config, *, reverse_path: str | None) -> tuple[Risk, ...]:
    """The risks of a mail for its reader; empty where nothing was found."""
    return tuple(_find(message, config, reverse_path))


def _find(message: Message, config: Config, reverse_path: str | None) -> Iterator[Risk]:
    own = read_own_domains(config)
    yield from find_people_risks(message, reverse_path, own)
    page = read_page(message.html) if message.html else None
    if page is not None:
        yield from find_link_risks(page.links, own)
    yield from find_unseen_risks(message.subject, message.text, page)
    yield from find_file_risks(message)
