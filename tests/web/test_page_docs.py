"""docs/page.md says what the page does."""

from __future__ import annotations

import re
from pathlib import Path

from relay.spool.action import REASON_CHARACTERS
from relay.web import events, frame, mail_pages, pictures
from relay.web.rendering import PAGES

DOCS = (Path(__file__).parents[2] / "docs" / "page.md").read_text()


def test_each_key_is_told():
    """The keys of the module are those of the help and of the documentation."""
    module = (PAGES / "static" / "keys.js").read_text()
    actions = module[module.index("const actions = {") : module.index("document.addEventListener")]
    keys = {a or b for a, b in re.findall(r'^    (?:"(.)"|(\w)): ', actions, re.MULTILINE)}
    assert keys == set(re.findall(r"<kbd>(.)</kbd>", (PAGES / "base.html").read_text()))
    assert keys == set(re.findall(r"`(.)`[,  |]", DOCS[DOCS.index("## Keys") : DOCS.index("The page works")]))


def test_each_side_and_limit_is_told():
    """The sides of a mail and the limits of the page stand in the documentation as they are in the code."""
    table = re.findall(
        r"^\| (\w+) \| ", DOCS[DOCS.index("## The mail") : DOCS.index("Beside them")], re.MULTILINE
    )
    assert [each for each in table if each != "Side"] == list(mail_pages.SIDES.values())
    for number in (
        frame.MOST_TOKENS,
        frame.MOST_DEPTH,
        frame.MOST_CSS,
        mail_pages.TEXT_CHARACTERS,
        mail_pages.HEADER_FIELDS,
    ):
        assert f"{number:,}" in DOCS
    assert f"{events.MOST_LISTENERS} listeners" in DOCS
    assert f"{pictures.MOST_PIXELS // 1_000_000} million pixels" in DOCS
    assert f"{frame.MOST_PICTURES // 1_000_000} MB together" in DOCS
    assert frame.MOST_CHARACTERS == 1_000_000
    assert f'maxlength="{REASON_CHARACTERS}"' in (PAGES / "changes.html").read_text()
