"""Every reader of outside octets takes time that grows with them as a line does, never as a square."""

from __future__ import annotations

import random

import pytest
from hostile.growth import grows_too_fast, runs
from hostile.readers import READERS

pytestmark = pytest.mark.slow

#: Of the mixed runs of a reader, so many in `make test`; `make fuzz` has them all.
_SAMPLE = 12


@pytest.mark.parametrize("name", READERS)
def test_time_grows_as_the_octets_do(name):
    """Twice the octets of any kind that a reader knows take it less than three times as long."""
    reader = READERS[name]
    single = [grows_too_fast(reader.read, make, 3_000) and label for label, make in runs(reader, mixed=False)]
    mixed = list(runs(reader, mixed=True))
    sample = random.Random(name).sample(mixed, min(_SAMPLE, len(mixed)))
    pairs = [grows_too_fast(reader.read, make, 2_000) and label for label, make in sample]
    assert [label for label in (*single, *pairs) if label] == []


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", READERS)
def test_time_of_all_mixtures_grows_as_the_octets_do(name):
    """The same for all mixtures of two, and for runs that are ten times as long."""
    reader = READERS[name]
    found = [(label, grows_too_fast(reader.read, make, 30_000)) for label, make in runs(reader, mixed=False)]
    found += [(label, grows_too_fast(reader.read, make, 6_000)) for label, make in runs(reader, mixed=True)]
    assert [one for one in found if one[1]] == []
