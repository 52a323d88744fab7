"""The page as `relay check` meets it."""

from __future__ import annotations

import pytest

from relay.check.finding import Level
from relay.check.page import examine_page
from relay.config.builtin import builtin_config


def findings(**keys):
    return [(each.level, each.detail) for each in examine_page(builtin_config(web=keys))]


def test_page_that_is_off_has_no_line():
    """What is off cannot be wrong."""
    assert findings() == []


@pytest.mark.parametrize(
    ("users", "keys", "level", "words"),
    [
        ("", {}, Level.FAIL, "names nobody; run relay passwd --file"),
        ("a:$argon2id$x\n", {}, Level.OK, "read-only, without words of mails, for 1 person of"),
        (
            "a:$argon2id$x\nb:$argon2id$y\n",
            {"content": True, "actions": True},
            Level.OK,
            "with words of mails and changes, for 2 people of",
        ),
    ],
)
def test_users_of_the_page(tmp_path, users, keys, level, words):
    """The line says who gets in and what is shown; a page for nobody fails."""
    path = tmp_path / "users"
    path.write_text(users)
    ((found, detail),) = findings(bind="127.0.0.1:8028", users_file=str(path), **keys)
    assert found is level
    assert words in detail


def test_page_behind_a_proxy_that_is_not_named(tmp_path):
    """All who guess have the proxy's address: a warning beside the line."""
    path = tmp_path / "users"
    path.write_text("a:$argon2id$x\n")
    found = findings(bind="10.0.0.5:8028", tls="proxy", users_file=str(path))
    assert [level for level, _ in found] == [Level.OK, Level.WARN]
    assert "web.proxies is empty" in found[1][1]


def test_proxies_that_are_everybody():
    """A network of proxies that holds half the internet lets everybody in under any name."""
    ((level, detail),) = findings(bind="127.0.0.1:8028", auth="proxy", proxies=["0.0.0.0/1"])
    assert level is Level.WARN
    assert 'web.proxies has "0.0.0.0/1"' in detail
    ((level, detail),) = findings(bind="127.0.0.1:8028", auth="proxy", proxies=["127.0.0.1/32"])
    assert level is Level.OK
    assert "X-Forwarded-User of 127.0.0.1/32" in detail
