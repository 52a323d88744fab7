"""The words of a mail added to what is known of it (`MailView`).

Owns what the page says where there are no words, and which files a mail has: those that its last outcome
told of, else those that the present configuration makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relay.errors import SpoolCorruptError
from relay.spool.desk import Desk
from relay.spool.page import Listed
from relay.web.contents import Contents, NoContentError
from relay.web.desks import Desks
from relay.web.documents import Document, parse_record
from relay.web.mail import add_document
from relay.web.view import File, MailView

NOT_HERE = "The page may not show the words of mails here."
_GONE = "The mail itself is not there any more."


async def add_words(desks: Desks, contents: Contents, listed: Listed, found: MailView) -> MailView:
    """The mail with its words, or with the reason why it has none."""
    raw = await desks.ask(lambda desk: read_raw(desk, listed.entry.reference))
    if not isinstance(raw, bytes):
        return replace(found, no_content=raw)
    try:
        content, plan = await contents.read(listed.entry, raw)
    except NoContentError as exc:
        return replace(found, no_content=str(exc))
    if not listed.shown:
        found = add_document(found, read_plan(plan))
    return replace(found, content=content)


def read_plan(plan: Mapping[str, Any]) -> Document:
    """The plan of a mail without an outcome, in the form of an outcome's document."""
    return parse_record(dict(plan))


def read_raw(desk: Desk, reference: str) -> bytes | str:
    """The raw mail, or the sentence that says why there is none. Blocks."""
    try:
        return desk.export(reference) or _GONE
    except SpoolCorruptError as exc:
        return f"The mail cannot be shown: {exc}."


async def find_file(
    desks: Desks, contents: Contents, listed: Listed, files: tuple[File, ...], number: int
) -> tuple[File, bytes] | None:
    """A file of a mail with its octets. Returns None if it has none of this number, or not any more."""
    raw = await desks.ask(lambda desk: read_raw(desk, listed.entry.reference))
    if not isinstance(raw, bytes):
        return None
    try:
        if not listed.shown:
            _, plan = await contents.read(listed.entry, raw)
            files = read_plan(plan).files
        if not 0 <= number < len(files):
            return None
        octets = await contents.decode(
            listed.entry, raw, sha256=files[number].sha256, name=files[number].name
        )
    except NoContentError:
        return None
    return None if octets is None else (files[number], octets)
