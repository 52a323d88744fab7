"""`relay trace`: the one screen that says where a mail is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from spool_helpers import build_destination
from test_cli_queue import SALES, Spool

from relay.spool.opening import open_outbox


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path)


def test_trace_tells_the_whole_story(spool):
    """From the peer's address to the contact id, on one screen."""
    spool_id = spool.put(message_id="<story@x>")
    spool.deliver(outcome="defer", until=datetime.now(UTC), reason="s3.timeout", detail="slow")
    spool.deliver(contact_id="contact-1")
    printed = spool.run("trace", "story@x").stdout
    for words in (
        spool_id,
        "<story@x>",
        "ann@customer.example",
        "support@example.com",
        "192.0.2.7 (mail.customer.example) by ESMTPS",
        "spf=pass",
        "attempt 1 deferred: s3.timeout: slow",
        "attempt 2 done",
        "done: contact contact-1",
    ):
        assert words in printed, words
    assert len(printed.splitlines()) < 24


def test_last_rung_is_shown_with_its_cause(spool):
    """A mail that goes out as its original says so, and why, wherever an operator looks."""
    spool_id = spool.put()
    spool.deliver(outcome="begin_original", reason="exception", detail="KeyError: 'x'")
    assert "attempt 1 original: exception: KeyError: 'x'" in spool.run("trace", spool_id).stdout
    shown = spool.run("queue", "show", spool_id).stdout
    assert "original  exception: KeyError: 'x'" in shown
    assert spool.json("queue", "list")[0]["rung"] == "original"


@pytest.mark.parametrize(
    "word",
    [
        "<m@x>",
        "m@x",
        " m@x ",
        "contact-1",
        "Ann@customer.example",
        "<ann@customer.example>",
        "@customer.example",
        "support@example.com",
    ],
)
def test_trace_by_any_word(spool, word):
    """Message-ID, contact id, sender or recipient: all lead to the mail."""
    spool_id = spool.put(message_id="<m@x>")
    spool.deliver(contact_id="contact-1")
    spool.put(message_id="<other@x>", reverse_path="zoe@x.example", destinations=SALES)
    assert [record["spool_id"] for record in spool.json("trace", word)] == [spool_id]


@pytest.mark.parametrize(
    ("outcome", "words", "printed"),
    [
        ("nothing", {}, "is being delivered (attempt 1)"),
        ("hold", {"reason": "spool_corrupt", "detail": "x"}, "relay queue release"),
        ("bury", {"reason": "too_old", "detail": "x"}, "relay queue retry"),
        (
            "defer",
            {"until": datetime(2100, 1, 1, tzinfo=UTC), "reason": "r", "detail": ""},
            "2100-01-01 00:00:00",
        ),
        ("finish", {"contact_id": None, "reason": "already_there"}, "already_there"),
    ],
)
def test_trace_says_where_it_stands(spool, outcome, words, printed):
    """Whatever state the mail is in, the last line says so, and what a person may do."""
    spool.put()
    spool.deliver(outcome=outcome, **words)
    assert printed in spool.run("trace", "ann@customer.example").stdout


def test_trace_remembers_what_is_no_longer_kept(spool):
    """After retention the ledger still knows the contact."""
    spool_id = spool.put(message_id="<m@x>")
    spool.deliver(contact_id="contact-1")

    async def expire():
        outbox = open_outbox(spool.config)
        await outbox.expire(now=datetime.now(UTC) + timedelta(days=30))
        await outbox.close()

    asyncio.run(expire())
    assert "contact contact-1 (the mail itself is no longer kept)" in spool.run("trace", "<m@x>").stdout
    (record,) = spool.json("trace", spool_id)
    assert (record["state"], record["contact_id"]) == ("forgotten", "contact-1")


def test_trace_of_the_unknown(spool):
    """Nothing known is exit code 1, and an empty list for programs."""
    spool.put()
    for word in ("nobody@example.org", "nn@customer.example", "ann", '"', "%", f"{spool.put()}."):
        assert "nothing is known of" in spool.run("trace", word, code=1).stderr
    assert spool.json("trace", "nobody@example.org", code=1) == []


def test_trace_says_why_it_stands_still(spool):
    """What keeps a mail is said with the way out, not that it is due since yesterday."""
    spool_id = spool.put(at=datetime.now(UTC) - timedelta(hours=1))

    def now():
        return spool.run("trace", spool_id).stdout.partition("  now       ")[2].strip()

    with spool.attended():
        assert now() == "is due"
        spool.run("pause", "delivery")
        assert now() == "waits: the delivery is paused (relay resume delivery)"
        spool.run("pause", "route", "support")
        assert now() == (
            "waits: the delivery is paused (relay resume delivery); "
            "the route support is paused (relay resume route support)"
        )
        spool.run("resume", "delivery")
        spool.run("resume", "route", "support")
    assert now() == "waits: no daemon runs that delivers"
    spool.hold_route("support")
    with spool.attended():
        assert now() == (
            "is held: the route support is held by connect.AccessDenied: no right (relay resume route support)"
        )
    spool.run("pause", "delivery")
    with spool.attended():
        assert now().startswith("is held: the route support is held by ")
        assert now().endswith("; the delivery is paused (relay resume delivery)")
    assert f"now:                {now()}" in spool.run("queue", "show", spool_id).stdout


def test_trace_says_what_will_keep_the_next_attempt(spool):
    """A deferred mail has its hour, and what stands in its way then."""
    spool_id = spool.put()
    until = datetime(2100, 1, 1, tzinfo=UTC)
    spool.deliver(outcome="defer", until=until, reason="r", detail="")
    spool.run("pause", "delivery")
    with spool.attended():
        printed = spool.run("trace", spool_id).stdout
    assert (
        "now       waits for its next attempt at 2100-01-01 00:00:00 UTC, and for this: "
        "the delivery is paused (relay resume delivery)"
    ) in printed


def test_name_of_a_route_is_safe_in_a_shell(spool):
    """A route without a name of its own has that of its pattern; the command that is shown can be copied."""
    spool_id = spool.put(destinations=(build_destination("x@example.com", route="sup*@example.com"),))
    spool.run("pause", "route", "sup*@example.com")
    assert "(relay resume route 'sup*@example.com')" in spool.run("trace", spool_id).stdout


def test_trace_shows_the_newest_of_many(spool):
    """A busy address fills one screen or two, and says how much more there is and how to see it."""
    ids = [spool.put() for _ in range(22)]
    printed = spool.run("trace", "support@example.com").stdout
    assert "(2 older entries are not shown; --limit 22 shows them)" in printed
    assert printed.count("  now ") == 20
    printed = spool.run("trace", "support@example.com", "--limit", "22").stdout
    assert printed.count("  now ") == 22
    assert "not shown" not in printed
    printed = spool.run("trace", "support@example.com", "--limit", "2").stdout
    assert printed.startswith("(there are older entries; --limit N shows the newest N)\n")
    assert [word in printed for word in ids[19:]] == [False, True, True]


def test_trace_for_programs_says_when_it_is_cut(spool, monkeypatch):
    """Who gets a part is told so, beside the list; the default is a thousand."""
    ids = [spool.put(message_id="<same@x>") for _ in range(3)]
    monkeypatch.setattr("relay.cli.trace._LIMIT", 2)
    result = spool.run("trace", "support@example.com", "--json")
    assert [record["spool_id"] for record in json.loads(result.stdout)] == ids[1:]
    assert result.stderr == "relay: only the newest 2 are listed; --limit N lists more\n"
    assert "more than" not in spool.run("trace", "support@example.com", "--limit", "3").stdout
    assert len(spool.json("trace", "support@example.com", "--limit", "3")) == 3
    for spool_id in ids:
        spool.run("queue", "drop", spool_id)
    result = spool.run("trace", "same@x", "--json")
    assert [record["spool_id"] for record in json.loads(result.stdout)] == ids[1:]
    assert "only the newest 2" in result.stderr
    monkeypatch.setattr("relay.cli.trace._SHOWN", 1)
    for _ in range(3):
        spool.put()
    printed = spool.run("trace", "support@example.com").stdout
    assert "(more than 1 older entries are not shown; --limit N shows the newest N)" in printed


def test_dropped_mail_is_told_as_such(spool):
    """Where is my mail? An operator dropped it, and when: found by its ids, though nothing of it is left."""
    spool_id = spool.put(message_id="<gone@x>")
    spool.run("queue", "drop", spool_id)
    for word in (spool_id, "gone@x"):
        assert "dropped by an operator" in spool.run("trace", word).stdout
        (record,) = spool.json("trace", word)
        assert (record["spool_id"], record["state"]) == (spool_id, "dropped")
        assert record["dropped_at"]
