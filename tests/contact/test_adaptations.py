"""The closed list of adaptations, and its document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.contact.adaptations import AdaptationCode

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", AdaptationCode)
def test_code_is_a_dotted_word_with_one_sentence(code):
    """A code fits a metric's label and an attribute's list, and its sentence ends as a sentence does."""
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", code)
    assert code.sentence.endswith(".")
    assert "|" not in code.sentence


@pytest.mark.parametrize("code", AdaptationCode)
def test_code_is_used(code):
    """No code is documented that the fit never gives."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "relay/contact").glob("*.py"))
    assert f"Code.{code.name}" in sources.replace("AdaptationCode.", "Code.")


def test_code_prints_as_its_value():
    """A code in a log line or a label is its dotted word."""
    assert f"{AdaptationCode.BODY_EMPTY}" == "body.empty"
    assert AdaptationCode("body.empty") is AdaptationCode.BODY_EMPTY
