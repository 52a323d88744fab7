"""Changes by the page: from a form of its own only, by whom it may, and told."""

from __future__ import annotations

import html
import re

import pytest
from page_values import ValueView, mail_view, row
from test_application import MAIL, text_of

from relay.spool.model import State


async def change(client, *, headers=None, **fields):
    """Send the form of a mail. Returns the status, the text and the way that the answer leads."""
    text, _ = await text_of(client, MAIL)
    token = re.search(r'name="form_token" value="([^"]+)"', text)
    form = {"form_token": token[1] if token else "", "action": "retry"} | fields
    async with client.post(f"{MAIL}/change", data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, html.unescape(await answer.text()), answer.headers.get("Location", "")


def held():
    return ValueView(mail_view(row(state=State.HELD)))


async def test_a_change_is_made_and_told_once(serve):
    """The entry is changed with the reason that the person gave, and the next page says it, once."""
    view = held()
    client = await serve(view)
    status, _, way = await change(
        client, action="release", reason="  looked\n at it ", asked="state=held&q=Order"
    )
    assert status == 303
    assert way.startswith(f"{MAIL}?q=Order&state=held&said=")
    assert view.acts == [("release", ("01JX000001.1",), "", "looked at it")]
    assert "It goes on." in (await text_of(client, way))[0]
    assert "It goes on." not in (await text_of(client, way))[0]


@pytest.mark.parametrize(
    ("fields", "headers", "status", "sentence"),
    [
        ({"form_token": "guessed"}, None, 403, "not from here"),
        ({"form_token": ""}, None, 403, "not from here"),
        ({"form_token": "\ud800"}, None, 403, "not from here"),
        ({}, {"Sec-Fetch-Site": "cross-site"}, 403, "Another page sent this form"),
        ({}, {"Sec-Fetch-Site": "same-site"}, 403, "Another page sent this form"),
        ({"action": "explode"}, None, 400, "action is one of"),
        ({"action": "drop"}, None, 400, "Confirm the drop"),
        ({"reason": "x" * 201}, None, 400, "The reason has 201 characters; 200 are the most."),
        ({"reason": "a\x1b[2Jb"}, None, 400, "The reason has a line end, a control character"),
    ],
)
async def test_a_wrong_form_changes_nothing(serve, fields, headers, status, sentence):
    """A form of another page, an unknown change and an unconfirmed drop are refused in a sentence."""
    view = held()
    fields = {
        name: value.encode("utf-8", "surrogatepass").decode("latin-1") for name, value in fields.items()
    }
    got = await change(await serve(view), headers=headers, **fields)
    assert got[0] == status
    assert sentence in got[1]
    assert view.acts == []


async def test_a_confirmed_drop_is_done(serve):
    """A drop with its confirmation drops."""
    view = held()
    assert (await change(await serve(view), action="drop", confirm="yes"))[0] == 303
    assert view.acts[0][0] == "drop"


async def test_a_page_that_only_reads_changes_nothing(serve):
    """Without the right to act a form is refused."""
    view = held()
    client = await serve(view, actions=False)
    assert (await change(client))[0] == 403
    assert view.acts == []


async def test_an_address_around_the_mail_leads_nowhere_else(serve):
    """The list that a form comes from is read anew: nothing else can stand in the way it leads."""
    _, _, way = await change(await serve(held()), asked="//evil.example/?state=lost&x=\r\nSet-Cookie: a=b")
    assert re.fullmatch(rf"{MAIL}\?said=[\w-]+", way)


async def test_too_large_a_form_is_refused(serve):
    """A form is read up to 64 KiB."""
    status, text, _ = await change(await serve(held()), reason="x" * 70_000)
    assert status == 413
    assert "more than a form may hold" in text


async def choose(client, *references, **fields):
    """Send the form of the list. Returns the status and the text of the page that follows."""
    text, _ = await text_of(client, "/?state=held")
    form = {"form_token": re.search(r'name="form_token" value="([^"]+)"', text)[1], "asked": "state=held"}
    fields = [*(form | {"action": "release"} | fields).items(), *(("reference", each) for each in references)]
    async with client.post("/change", data=fields) as answer:
        return answer.status, html.unescape(await answer.text())


async def test_chosen_mails_are_changed_together(serve):
    """Several mails are changed by one form; those that were left are told with the reason, on that list."""
    view = ValueView(*(mail_view(row(number, state=State.HELD)) for number in (1, 2, 3)))
    view.left = {"01JX000003.3": "01JX000003.3 is on its way."}
    client = await serve(view)
    text, _ = await text_of(client, "/?state=held")
    picks = re.findall(r'name="reference" value="([^"]+)"', text)
    assert sorted(picks) == sorted(view.mails)
    status, text = await choose(client, *picks, picks[0], reason="all of them")
    assert status == 200
    assert "2 mails were released. 1 left as before: 01JX000003.3 is on its way." in text
    assert 'data-asked="state=held"' in text
    assert view.acts == [("release", tuple(picks), "", "all of them")]


@pytest.mark.parametrize(
    ("number", "fields", "sentence"),
    [
        (0, {}, "Choose from 1 to 500 mails"),
        (501, {}, "Choose from 1 to 500 mails"),
        (1, {"action": "drop"}, "Confirm the drop"),
        (1, {"action": "reroute"}, "action is one of"),
    ],
)
async def test_a_wrong_choice_changes_nothing(serve, number, fields, sentence):
    """No mail, too many of them, and an unconfirmed drop are refused in a sentence."""
    view = held()
    status, text = await choose(await serve(view), *(f"a.{each}" for each in range(number)), **fields)
    assert status == 400
    assert sentence in text
    assert view.acts == []


async def test_a_page_that_only_reads_offers_no_choice(serve):
    """Without the right to act the list has no boxes, and neither have the rows that are asked for anew."""
    client = await serve(held(), actions=False)
    for path in ("/", "/rows"):
        assert "pick" not in (await text_of(client, path))[0]
