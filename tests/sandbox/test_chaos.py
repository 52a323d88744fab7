"""The document of /api/chaos: what it sets, what it leaves, what it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sandbox.chaos import Chaos, Dice

CALM = {
    "connect": {"throttle": 0.0, "error": 0.0, "latency_seconds": 0.0, "lose_reply": 0.0, "deny": 0.0},
    "s3": {"error": 0.0, "latency_seconds": 0.0, "refuse": 0.0, "lose_reply": 0.0},
}


def test_nothing_goes_wrong_unless_told():
    """A new sandbox is well."""
    assert Chaos().document() == CALM


def test_a_table_is_replaced_whole_and_the_other_stays():
    """What a named table leaves out ends; a table that is not named goes on."""
    chaos = Chaos().updated({"connect": {"throttle": 0.2, "lose_reply": 0.1}, "s3": {"refuse": True}})
    chaos = chaos.updated({"connect": {"throttle": 0.5, "latency_seconds": 1}})
    assert chaos.document()["connect"] == CALM["connect"] | {"throttle": 0.5, "latency_seconds": 1.0}
    assert chaos.document()["s3"]["refuse"] == 1.0


def test_an_empty_document_ends_all_faults():
    """One call makes all well again."""
    assert Chaos().updated({"s3": {"error": 1}}).updated({}).document() == CALM


def test_a_document_that_was_read_can_be_set():
    """What GET answers, POST takes."""
    chaos = Chaos().updated({"s3": {"error": 0.25}})
    assert Chaos().updated(json.loads(json.dumps(chaos.document()))) == chaos


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "the document must be a JSON object"),
        ("calm", "the document must be a JSON object"),
        ({"sqs": {}}, '"sqs" is no table of faults; there are "connect", "s3"'),
        ({"s3": []}, "s3 must be a JSON object"),
        (
            {"connect": {"throtle": 0.1}},
            '"connect.throtle" is no fault; connect has "throttle", "error", "latency_seconds", "lose_reply", "deny"',
        ),
        ({"connect": {"throttle": 1.1}}, '"connect.throttle" must be a number from 0 to 1'),
        ({"connect": {"throttle": -0.1}}, '"connect.throttle" must be a number from 0 to 1'),
        ({"connect": {"throttle": "half"}}, '"connect.throttle" must be a number from 0 to 1'),
        ({"connect": {"throttle": None}}, '"connect.throttle" must be a number from 0 to 1'),
        ({"s3": {"latency_seconds": 601}}, '"s3.latency_seconds" must be a number from 0 to 600'),
        ({"s3": {"error": float("nan")}}, '"s3.error" must be a number from 0 to 1'),
    ],
)
def test_a_mistake_is_a_sentence(document, sentence):
    """The sentence names the key and says what would be right."""
    with pytest.raises(ValueError, match="^" + sentence.replace("(", r"\(") + "$"):
        Chaos().updated(document)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(["connect", "s3", "error", "refuse", "x"]), inner, max_size=3
    ),
    max_leaves=6,
)


@given(document=_VALUES)
def test_any_document_is_taken_or_refused_in_a_sentence(document):
    """Whatever JSON holds, it is faults within their limits or a ValueError."""
    try:
        chaos = Chaos().updated(document)
    except ValueError:
        return
    assert all(0 <= value <= 600 for table in chaos.document().values() for value in table.values())


def test_dice_fall_as_often_as_told():
    """Never at 0, always at 1, and in between about as often as the share says."""
    dice = Dice(seed=1)
    assert not any(dice.roll(0.0) for _ in range(1_000))
    assert all(dice.roll(1.0) for _ in range(1_000))
    assert 250 < sum(dice.roll(0.3) for _ in range(1_000)) < 350


def test_a_seed_makes_a_run_repeatable():
    """The same seed, the same faults."""
    first, second = Dice(seed=7), Dice(seed=7)
    assert [first.roll(0.5) for _ in range(50)] == [second.roll(0.5) for _ in range(50)]
