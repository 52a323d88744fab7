"""The rows of the list, made of what the spool gives.

Owns which fact of an entry stands where. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final

from relay.contact.cards import redact
from relay.spool.page import EntryPage, EntryQuery, Listed, split_words
from relay.web.documents import NAME_CHARACTERS, Document, parse_document
from relay.web.view import ROWS, SEARCH_CHARACTERS, Query, Row, RowPage, Verdict

#: Characters of the sentence of a reason.
_DETAIL_CHARACTERS: Final = 2_000


def build_query(query: Query) -> EntryQuery:
    """The question to the spool that a query of the page means."""
    return EntryQuery(
        words=split_words(query.text[:SEARCH_CHARACTERS]),
        states=query.states,
        route=query.route,
        reason=query.reason,
        classification=query.classification,
        risk=query.risk,
        verdicts=tuple((str(verdict), word) for verdict, word in query.verdicts),
        before=query.before,
        limit=max(1, min(query.limit, ROWS)),
    )


def build_page(page: EntryPage, *, since: date | None = None) -> RowPage:
    """The rows of a page, and in words what was left out of the search; with mail accepted before the day
    `since` (UTC) it ends.
    """
    first = datetime.combine(since, datetime.min.time(), UTC) if since else None
    if first is not None:
        newer = tuple(listed for listed in page.rows if listed.entry.accepted_at >= first)
        if len(newer) < len(page.rows) or (page.stopped_at is not None and page.stopped_at < first):
            page = replace(page, rows=newer, more="", stopped_at=None)
    notes = []
    if page.stopped_at is not None:
        notes.append(
            f"The search has come to mail of {page.stopped_at:%Y-%m-%d %H:%M} UTC; older mail is on the next page."
        )
    if page.unread:
        notes.append(
            f"Of {page.unread:,} older mails that wait for their first attempt, only addresses and ids were searched."
        )
    rows = tuple(build_row(listed, parse_document(listed.shown)) for listed in page.rows)
    return RowPage(rows=rows, more=page.more, note=" ".join(notes))


def build_row(listed: Listed, document: Document) -> Row:
    """One entry in the list."""
    entry, head = listed.entry, listed.head
    reason, detail = entry.shown_reason
    return Row(
        reference=entry.reference,
        accepted_at=entry.accepted_at,
        state=entry.shown_state,
        reason=reason,
        detail=detail[:_DETAIL_CHARACTERS],
        # A look at a header is one at the mail itself: what its route asks about card numbers was not done.
        subject=(redact(head.subject) if head else document.subject)[:NAME_CHARACTERS],
        author_name=(redact(head.author_name) if head else document.author_name)[:NAME_CHARACTERS],
        author=(redact(head.author) if head else document.author)[:NAME_CHARACTERS],
        sender=entry.envelope.reverse_path or "",
        recipient=entry.destination.address,
        route=entry.destination.route,
        classification=document.classification,
        verdicts=find_verdicts(entry.results),
        risks=tuple(dict.fromkeys(code for code, _ in document.risks)),
        adapted=document.adaptation_count,
        files=document.file_count,
        size=entry.size,
        contact_id=entry.contact_id,
        accepted_by=listed.accepted_by,
        delivered_by=listed.delivered_by,
    )


def find_verdicts(results: Mapping[str, str]) -> dict[str, str]:
    """The results of a mail by their kind, as far as they were asked for."""
    found = {str(verdict): results.get(f"relay_{verdict}", "") for verdict in Verdict}
    return {name: word for name, word in found.items() if word}
