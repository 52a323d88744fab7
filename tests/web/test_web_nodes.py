"""The nodes of a fleet as the strip tells of them."""

from __future__ import annotations

from datetime import timedelta

from page_values import AT, ValueView, mail_view, status
from test_application import text_of

from relay.spool.nodes import DELIVERER, Beat
from relay.web.nodes import describe_nodes, list_silent


def beat(node, process, *, ago=0.0, **more):
    given = {"version": "1", "started_at": AT - timedelta(days=9), "at": AT - timedelta(seconds=ago)}
    return Beat(node=node, process=process, **given, **more)


def test_each_node_is_told_by_its_last_words():
    """Who delivers, stands by, takes mail or is silent is told; a node with one living process lives."""
    beats = [
        beat("c", DELIVERER, ago=3_600, leads=True),
        beat("b", DELIVERER, leads=True),
        beat("b", "receiver-0", accepted=300, seconds=60.0),
        beat("a", DELIVERER),
        beat("a", "receiver-0", ago=7_200, accepted=300, seconds=60.0),
        beat("d", "receiver-0", accepted=1, seconds=300.0),
        beat("e", DELIVERER, ago=60, leads=True),
    ]
    silent = AT - timedelta(hours=1)
    assert dict(describe_nodes(beats, AT)) == {
        "a": "stands by",
        "b": "delivers, 300 mails a minute",
        "c": f"silent since {silent:%Y-%m-%d %H:%M} UTC",
        "d": "takes mail",
        "e": "has lost the lead",
    }
    (sentence,) = list_silent(beats, AT)
    assert sentence.startswith("The node c is silent since")
    assert list(list_silent(beats, AT + timedelta(days=3))) == []
    assert list(describe_nodes([], AT)) == []


async def test_the_strip_has_the_nodes(serve):
    """The strip counts the nodes and names the one that delivers; one machine has no such figure."""
    view = ValueView(mail_view())
    view.status_value = status(nodes=(("one", "stands by"), ("two", "delivers, 9 mails a minute")))
    client = await serve(view)
    text, _ = await text_of(client, "/")
    assert "<b>2</b> nodes" in text
    assert "<bdi>two</bdi> delivers</summary>" in text
    view.status_value = status(nodes=(("one", "stands by"),))
    assert "none delivers" in (await text_of(client, "/"))[0]
    view.status_value = status()
    assert 'data-figure="nodes"' not in (await text_of(client, "/"))[0]
