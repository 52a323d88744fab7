"""A page over values: every field of every value can be set, hostile ones too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from relay.errors import SpoolSickError
from relay.spool.model import State
from relay.web.view import (
    Acted,
    Content,
    Figure,
    File,
    MailView,
    Moment,
    Part,
    Result,
    Row,
    RowPage,
    Status,
)

AT = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)
#: One white pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe"
    "02fea735810000000049454e44ae426082"
)
NONE = Figure(number=0)


def status(**changes):
    values = {
        "received": NONE,
        "waiting": NONE,
        "held": NONE,
        "dead": NONE,
        "done": NONE,
        "refused": NONE,
        "oldest_seconds": None,
        "pace": 0.0,
        "quota": 2.0,
    }
    return Status(**(values | changes))


def row(number=1, **changes):
    values = {
        "reference": f"01JX{number:06}.{number}",
        "accepted_at": AT + timedelta(seconds=number),
        "state": State.DONE,
        "reason": "",
        "detail": "",
        "subject": f"Order {number}",
        "author_name": "Anna",
        "author": "anna@kunde.example",
        "sender": "bounce@kunde.example",
        "recipient": "support@example.com",
        "route": "support",
        "classification": "human",
        "verdicts": {"dmarc": "pass"},
        "risks": (),
        "adapted": 0,
        "files": 0,
        "size": 12_345,
        "contact_id": "6f1c",
    }
    return Row(**(values | changes))


def content(**changes):
    values = {
        "content_type": "text/plain",
        "body": "Where is it?",
        "text": "",
        "headers": (("Subject", "Order"), ("From", "Anna <anna@kunde.example>")),
        "tree": Part(content_type="text/plain", size=100),
    }
    return Content(**(values | changes))


def file(number=0, **changes):
    values = {
        "number": number,
        "name": "invoice.pdf",
        "content_type": "application/pdf",
        "size": 5,
        "sha256": "a" * 64,
        "sent": True,
    }
    return File(**(values | changes))


def mail_view(shown=None, **changes):
    values = {
        "row": shown or row(),
        "peer": {"address": "192.0.2.7", "helo": "mx.kunde.example"},
        "results": (Result(kind="dmarc", word="pass", reason="aligned by DKIM"),),
        "timeline": (
            Moment(at=AT, event="accepted", words="250 to 192.0.2.7", seconds=0.0),
            Moment(at=AT + timedelta(seconds=2), event="done", words="contact 6f1c", seconds=2.0),
        ),
        "request": {"InstanceId": "x"},
        "content": content(),
    }
    return MailView(**(values | changes))


class ValueView:
    """The interface of the page, answered with values that a test sets."""

    def __init__(self, *mails, files=(), raw=b"Subject: Order\r\n\r\nWhere is it?\r\n"):
        self.mails = {each.row.reference: each for each in mails}
        self.status_value = status(received=Figure(number=len(mails)))
        self.files = dict(enumerate(files))
        self.raw = raw
        self.sick = ""
        self.queries = []
        self.acts = []
        #: The entries that no change takes, with the reason.
        self.left = {}
        self.readings = []
        self.mark = 0
        #: Set when a watch asks for the change after a mark, and the number of watches.
        self.asked = asyncio.Event()
        self.watches = 0
        self.page_size = 100

    def _look(self):
        if self.sick:
            raise SpoolSickError(self.sick)

    async def status(self):
        self._look()
        return self.status_value

    async def list(self, query):
        self._look()
        self.queries.append(query)
        rows = sorted((each.row for each in self.mails.values()), key=lambda each: each.accepted_at)[::-1]
        rows = [each for each in rows if not query.states or each.state in query.states]
        rows = [each for each in rows if query.text.lower() in each.subject.lower()]
        start = int(query.before or 0)
        end = start + self.page_size
        return RowPage(rows=tuple(rows[start:end]), more=str(end) if end < len(rows) else "")

    async def routes(self):
        return ("support", "sales")

    async def mail(self, reference, *, content):
        self._look()
        found = self.mails.get(reference)
        if found is None or content:
            return found
        return MailView(**{name: getattr(found, name) for name in found.__slots__} | {"content": None})

    async def original(self, reference):
        return self.raw if reference in self.mails else None

    async def file(self, reference, number):
        return self.files.get(number) if reference in self.mails else None

    async def note_reading(self, reference, part, *, reader):
        self._look()
        self.readings.append((reference, part, reader))

    async def wait(self, seen):
        self._look()
        self.watches += not seen
        self.asked.set()
        seen = seen or str(self.mark)
        while str(self.mark) == seen:
            self._look()
            await asyncio.sleep(0.01)
        return str(self.mark)

    async def act(self, action, references, *, actor, reason):
        self.acts.append((action, tuple(references), actor, reason))
        left = tuple((each, self.left[each]) for each in references if each in self.left)
        return Acted(changed=tuple(each for each in references if each not in self.left), left=left)
