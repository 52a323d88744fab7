"""The records of a journal: read as they were written, or not at all."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.spool.local.journal.record import (
    MOST_FACTS_BYTES,
    SECTOR_BYTES,
    Kind,
    Record,
    build_record,
    build_segment_head,
    draw_generation,
    read_generation,
    read_records,
)

GENERATION = 0x0123456789ABCDEF


def a_record(facts=b"{}", trace=b"Received: x\r\n", mail=b"Subject: y\r\n\r\nz\r\n", kind=Kind.MAIL):
    return Record(kind, facts, trace, mail, hashlib.sha256(mail).digest())


RECORDS = st.builds(
    a_record,
    st.binary(max_size=700),
    st.binary(max_size=100),
    st.binary(max_size=1_200),
    st.sampled_from(Kind),
)


def segment_of(*records, generation=GENERATION):
    """The octets of a segment with these records, and room behind them."""
    octets = build_segment_head(generation)
    for record in records:
        octets += b"".join(build_record(record, generation))
    return octets + bytes(2 * SECTOR_BYTES)


def part_of(octets, at, size):
    """What a file with these octets gives."""
    return octets[at : at + size]


def read_all(octets, generation=GENERATION):
    """The records that a segment shows."""
    read = read_records(partial(part_of, octets), size=len(octets), generation=generation)
    return [found.record for found in read]


@given(st.lists(RECORDS, max_size=4))
def test_records_are_read_as_they_were_written(records):
    """Each begins at a sector of its own."""
    octets = segment_of(*records)
    assert read_all(octets) == records
    assert len(octets) == SECTOR_BYTES * 3 + sum(record.size for record in records)
    assert all(record.size % SECTOR_BYTES == 0 for record in records)


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_flipped_bit_ends_the_records_there(records, data):
    """Whichever bit of a record is wrong: those before it are read, it and those behind it are not."""
    number = data.draw(st.integers(0, len(records) - 1))
    begin = SECTOR_BYTES + sum(record.size for record in records[:number])
    written = len(b"".join(build_record(records[number], GENERATION)[:4]))
    bit = data.draw(st.integers(0, written * 8 - 1))
    octets = bytearray(segment_of(*records))
    octets[begin + bit // 8] ^= 1 << bit % 8
    assert read_all(bytes(octets)) == records[:number]


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_torn_tail_ends_the_records_there(records, data):
    """The sectors of the last record came to the disk in part: it is nothing."""
    begin = SECTOR_BYTES + sum(record.size for record in records[:-1])
    octets = bytearray(segment_of(*records))
    count = records[-1].size // SECTOR_BYTES
    there = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    for sector, is_there in enumerate(there):
        if not is_there:
            at = begin + sector * SECTOR_BYTES
            assume(octets[at : at + SECTOR_BYTES] != bytes(SECTOR_BYTES))
            octets[at : at + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    assert read_all(bytes(octets)) == (records if all(there) else records[:-1])


@given(st.binary(max_size=3_000), st.integers(0, 2_000))
def test_any_octets_are_read_without_an_error(octets, at):
    """No octets of a disk stop a start."""
    assert read_generation(octets) in (None, GENERATION)
    for begin in (b"", build_segment_head(GENERATION)):
        read = partial(part_of, begin + octets)
        list(read_records(read, size=len(begin + octets), generation=GENERATION, at=at))


@given(st.binary(min_size=56, max_size=600))
def test_heads_of_any_numbers_are_read_without_an_error(octets):
    """Sizes that lie lead nowhere, with the magic of a record in front."""
    begin = build_record(a_record(), GENERATION)[0][:16]
    assert read_all(build_segment_head(GENERATION) + begin + octets) == []


def test_facts_of_no_end_are_not_read():
    """What a damaged head asks for is bounded before it is read."""
    asked = []

    def read(at, size):
        asked.append(size)
        return octets[at : at + size]

    octets = b"".join(build_record(a_record(facts=b"x" * (MOST_FACTS_BYTES + 1)), GENERATION))
    assert list(read_records(read, size=1 << 40, generation=GENERATION, at=0)) == []
    assert max(asked) < 1_000


def test_record_of_another_generation_is_none():
    """What a segment held before, a mail that was made to look like a record among it, is not read again."""
    octets = build_segment_head(GENERATION) + segment_of(a_record(), generation=1)[SECTOR_BYTES:]
    assert read_all(octets) == []
    assert read_all(octets, generation=1) == [a_record()]


def test_generations_cannot_be_guessed():
    """Each is drawn anew, of 64 bits."""
    assert len({draw_generation() for _ in range(100)}) == 100


@pytest.mark.parametrize("bit", range(20 * 8))
def test_first_sector_with_a_flipped_bit_names_no_generation(bit):
    """Nothing in such a segment was acknowledged, since its first sector was synced before."""
    sector = bytearray(build_segment_head(GENERATION))
    assert read_generation(bytes(sector)) == GENERATION
    sector[bit // 8] ^= 1 << bit % 8
    assert read_generation(bytes(sector)) is None


def test_first_sector_that_is_cut_names_no_generation():
    """A segment of a few octets is none."""
    assert read_generation(build_segment_head(GENERATION)[:10]) is None
