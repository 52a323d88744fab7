"""Words of a mail are text on the page: in no field can any of them become markup."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser

from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from page_extras import ValueExtras
from page_values import ValueView, content, file, mail_view, row, status

from relay.spool.model import State
from relay.web.access import OpenAccess
from relay.web.list_pages import ListPages
from relay.web.mail_pages import SIDES, MailPages
from relay.web.node_pages import NodePages
from relay.web.sandbox_pages import SandboxPages
from relay.web.shell import CALLER, Shell
from relay.web.view import Figure, Moment, Part, Result

EVIL = (
    "<script>alert('1')</script>\"><img src=x onerror=alert(1)>{{ 7*7 }}</textarea></title>&lt;b&gt;\u202e\0"
)


class Skeleton(HTMLParser):
    """The tags of a document with the names of their attributes, and the values that must be ours."""

    def __init__(self):
        super().__init__()
        self.tags, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [name for name, _ in attrs]))
        for name, value in attrs:
            if name in ("href", "src", "action", "data-rows"):
                assert re.fullmatch(r"/(?!/)[\w/?&=%.~+*:;-]*|#\w+", value, re.ASCII), (name, value)
            elif name in ("id", "class", "for", "name"):
                assert re.fullmatch(r"[a-z ._:-]*", value), (name, value)

    def handle_endtag(self, tag):
        self.tags.append(("/", tag))

    def handle_data(self, data):
        self.words.append(data)


def skeleton(document):
    reader = Skeleton()
    reader.feed(document)
    return reader.tags


def mail_of(word):
    """A mail each of whose fields holds a word, and never nothing."""
    word = f"x{word}"
    shown = row(
        state=State.HELD, reason=word, detail=word, subject=word, author_name=word, author=word, sender=word,
        recipient=word, route=word, classification=word, verdicts={word: word}, risks=(word,), adapted=1, files=1,
        contact_id=word, accepted_by=word, delivered_by=word,
    )  # fmt: skip
    part = Part(content_type=word, size=1, name=word, disposition=word)
    return mail_view(
        shown,
        to=(word,),
        cc=(word,),
        forward_paths=(word,),
        peer={word: word},
        results=(Result(kind=word, word=word, reason=word),),
        adaptations=((word, word),),
        files=(file(name=word, content_type=word, sha256=word, sent=False, why=word),),
        request={word: word},
        timeline=(Moment(at=shown.accepted_at, event=word, words=word, seconds=1.0),),
        related=(shown,),
        content=content(body=word, headers=((word, word),), tree=part),
    )


async def documents(word):
    """All pages that show a mail, a session and a fault of these words."""
    figure = Figure(number=1, reasons=((f"x{word}", 1),))
    view = ValueView(mail_of(word))
    view.status_value = status(
        waiting=figure, refused=figure, notices=(f"x{word}",), nodes=((word, "delivers"), ("x", f"x{word}"))
    )
    extras = ValueExtras(f"x{word}")
    shell = Shell(view=view, access=OpenAccess("127.0.0.1"), extras=extras)
    reference = next(iter(view.mails))
    sandbox = SandboxPages(shell, extras)

    def ask(path, **match):
        return make_mocked_request("GET", path, headers={"Host": "127.0.0.1"}, match_info=match)

    handlers = [
        (ListPages(shell).home, ask("/")),
        *((MailPages(shell).mail, ask(f"/?side={side}", reference=reference)) for side in SIDES),
        (sandbox.sessions, ask("/")),
        (sandbox.session, ask("/", session_id="1")),
        (sandbox.faults, ask("/")),
        (sandbox.try_form, ask("/")),
        (NodePages(shell, extras).nodes, ask("/")),
    ]
    found = []
    for handler, request in handlers:
        request[CALLER] = await shell.access.admit(request)
        found.append((await handler(request)).body.decode())
    return found


PLAIN = [skeleton(each) for each in asyncio.run(documents("plain"))]


@settings(max_examples=8, deadline=None)
@given(st.text(max_size=40) | st.lists(st.sampled_from([*"<>\"'&/={}%\\ \0", "script", "<!--", "-->", "onx=", "\u202e"])).map("".join))  # fmt: skip
@example(EVIL)
@example("\ud800")
def test_no_word_becomes_markup(word):
    """With any words in all fields of a mail, each page has the tags and attributes that it has with plain
    ones.
    """
    for plain, document in zip(PLAIN, asyncio.run(documents(word)), strict=True):
        assert skeleton(document) == plain
