"""The page as an application: each address answers, each mistake has a sentence, each response its policy."""

from __future__ import annotations

import html

import pytest
from page_values import PNG, ValueView, content, file, mail_view, row, status

from relay.spool.model import State
from relay.web.view import Figure

MAIL = "/mails/01JX000001.1"


async def text_of(client, path, status=200, **arguments):
    async with client.get(path, allow_redirects=False, **arguments) as answer:
        text = html.unescape(await answer.text())
        assert answer.status == status, text
        return text, answer.headers


async def test_each_mail_is_in_the_list_in_any_state(serve):
    """A mail that waits, is held or was given up stands beside those that became contacts."""
    rows = [row(number, state=state) for number, state in enumerate(State, 1)]
    client = await serve(ValueView(*(mail_view(each) for each in rows)))
    text, _ = await text_of(client, "/")
    assert all(f'href="/mails/{each.reference}"' in text for each in rows)
    held, _ = await text_of(client, "/?state=held")
    assert "Order 3" in held
    assert "Order 1<" not in held


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/?state=lost", 400, "state is one of"),
        ("/?class=robot", 400, "class is one of"),
        ("/?verdict=dmarc", 400, "verdict is a kind and a word"),
        ("/?risk=none", 400, "risk is a code"),
        (f"/?route={'x' * 301}", 400, "route is longer"),
        ("/rows?state=lost", 400, "state is one of"),
        ("/mails/nobody", 404, "no such mail"),
        ("/mails/%00%ff/body", 404, "no such mail"),
        (f"{MAIL}?side=inside", 400, "side is one of"),
        (f"{MAIL}/files/7", 404, "no such file"),
        (f"{MAIL}/files/x", 404, "no such page"),
        (f"{MAIL}/files/{'9' * 7}", 404, "no such page"),
        (f"{MAIL}/body", 404, "shown as text"),
        ("/mails/nobody/original", 404, "not in the spool"),
        ("/try", 404, "no such page"),
        ("/static/../view.py", 404, "no such page"),
        ("/static/none.js", 404, "no such page"),
        (f"{MAIL}/change", 405, "not asked in this way"),
    ],
)
async def test_a_mistake_is_answered_with_a_sentence(serve, path, status, sentence):
    """An address that means nothing gets its status, a sentence, and the policy of a page."""
    client = await serve(ValueView(mail_view()))
    text, headers = await text_of(client, path, status)
    assert sentence in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/rows", "/strip", MAIL, f"/?q={'ü' * 1_000}"])
async def test_a_spool_that_cannot_be_read_leaves_a_page(serve, path):
    """A sick spool is told in a sentence with 503, and the page asks again by itself."""
    view = ValueView(mail_view())
    view.sick = "disk I/O error"
    text, _ = await text_of(await serve(view), path, 503)
    assert "The spool cannot be read now: disk I/O error" in text
    assert "/static/again.js" in text


async def test_another_host_is_refused(serve):
    """A page of a foreign name that DNS leads here gets nothing."""
    client = await serve(ValueView(mail_view(row(subject="secret"))))
    text, _ = await text_of(client, "/", 403, headers={"Host": "evil.example"})
    assert "Host names another server" in text
    assert "secret" not in text


@pytest.mark.parametrize("path", [f"{MAIL}/body", f"{MAIL}/original", f"{MAIL}/files/0"])
async def test_words_are_shown_only_where_they_may_be(serve, path):
    """A page without content gives no body, no original and no file, and does not offer them."""
    view = ValueView(mail_view(content=content(body="secret words"), files=(file(),)), files=[(file(), PNG)])
    client = await serve(view, content=False)
    text, _ = await text_of(client, path, 403)
    assert "web.content" in text
    shown, _ = await text_of(client, MAIL)
    assert "secret words" not in shown
    assert "/original" not in shown
    assert "/files/" not in shown


async def test_figures_are_counted_as_a_person_counts(serve):
    """A single contact and a single dead letter are named so; thousands are parted."""
    view = ValueView()
    view.status_value = status(done=Figure(number=1), dead=Figure(number=1), received=Figure(number=12_345))
    text, _ = await text_of(await serve(view), "/strip")
    for words in ("<b>1</b> contact</a>", "<b>1</b> dead letter</a>", "<b>12,345</b> received today</a>"):
        assert words in text
