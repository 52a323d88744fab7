"""Plain data there and back, and nothing that is not what it should be."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.plan import Adaptation, Context, Plan, PlannedFile
from relay.envelope import Destination, Envelope, ForwardPath, Peer, SpoolId
from relay.understand.wire import WireError, dump, load, pack, unpack
from relay.vocabulary import Classification, Rung

TEXTS = st.text(max_size=20) | st.just("\udc80 lone")
PAIRS = st.tuples(TEXTS, TEXTS)
FILES = st.builds(
    PlannedFile,
    name=TEXTS,
    content_type=TEXTS,
    size=st.integers(0, 1 << 40),
    sha256=TEXTS,
    key=TEXTS,
    attached=st.booleans(),
    chunks=st.just(list),
)
PLANS = st.builds(
    Plan,
    rung=st.sampled_from(Rung),
    instance_id=TEXTS,
    destination=TEXTS,
    from_address=TEXTS,
    from_name=TEXTS,
    subject=TEXTS,
    body=TEXTS,
    content_type=TEXTS,
    headers=st.dictionaries(TEXTS, TEXTS, max_size=3),
    to=st.lists(PAIRS, max_size=2).map(tuple),
    cc=st.lists(PAIRS, max_size=2).map(tuple),
    files=st.lists(FILES, max_size=2).map(tuple),
    original_key=st.none() | TEXTS,
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
    contact_flow_id=st.none() | TEXTS,
    related_contact_id=st.none() | TEXTS,
    classification=st.sampled_from(Classification),
    adaptations=st.lists(
        st.builds(Adaptation, code=TEXTS, detail=TEXTS, before=TEXTS, after=TEXTS), max_size=2
    ).map(tuple),
)


def context():
    """The surroundings of a mail, every field with a value."""
    path = "support@example.com"
    return Context(
        spool_id=SpoolId("0TEST00000000000"),
        envelope=Envelope(
            reverse_path=None,
            forward_paths=(ForwardPath(address=path, orcpt="rfc822;x", notify=None),),
            peer=Peer(address="192.0.2.1", port=25, helo="x", tls=None),
            received_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            repairs=("date",),
            attributes=(("customer", "4711"),),
        ),
        destination=Destination(instance_id="i", address=path, forward_paths=(path,), route="r"),
        results={"relay_spf": "pass"},
        raw_size=7,
        is_ours=str.islower,
    )


@given(PLANS)
def test_a_plan_survives(plan):
    """Any plan that can be, lone surrogates included, is the same on the other side."""
    data = load(dump(pack(plan)))
    data["files"] = [file | {"chunks": list} for file in data["files"]]
    assert unpack(Plan, data) == plan


def test_a_context_survives():
    """The surroundings of a mail are the same on the other side, with the functions that are given there."""
    sent = context()
    assert unpack(Context, load(dump(pack(sent))) | {"is_ours": str.islower}) == sent


@pytest.mark.parametrize(
    "change",
    [
        {"raw_size": "7"},
        {"raw_size": True},
        {"raw_size": None},
        {"surprise": 1},
        {"envelope": None},
        {"envelope": []},
        {"results": {"a": 1}},
        {"results": []},
        {"destination": {"instance_id": "i"}},
    ],
    ids=str,
)
def test_what_has_another_type_is_refused(change):
    """A field that is missing, unknown or of another type is an error of one kind."""
    with pytest.raises(WireError):
        unpack(Context, load(dump(pack(context()))) | {"is_ours": str.islower} | change)


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(octets):
    """Octets that are no JSON object are an error of one kind."""
    with pytest.raises(WireError):
        load(octets)


def test_what_is_no_plain_data_is_not_sent():
    """A value without a form on the wire is found by whoever sends it."""
    with pytest.raises(TypeError, match="SimpleNamespace"):
        pack(SimpleNamespace())
