"""What an instance tells of itself, what the configuration makes of it, and what it never may."""

from __future__ import annotations

import pytest

from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.config.discovered import (
    Discovered,
    adopt_discovered,
    build_discovered_json,
    list_differences,
    parse_discovered_json,
    read_addresses,
    read_extensions,
    read_size,
)
from relay.config.model import Config
from relay.contact.limits import ATTACHMENT_BYTES, DEFAULT_EXTENSIONS

MEBIBYTE = 1 << 20
FAR = "11111111-2222-3333-4444-555555555555"


def adopted(found, **tables):
    """The limits of the built-in instance after it told this."""
    return adopt_discovered(builtin_config(**tables), {INSTANCE_ID: found}).of_instance(INSTANCE_ID).connect


def test_an_instance_replaces_the_defaults():
    """Its own types and size are used where the file gives none; the number of files stays the file's."""
    found = adopted(
        Discovered(extensions=("pdf", "zip"), max_attachment_bytes=5 * MEBIBYTE),
        connect={"max_attachments": 50},
    )
    assert (found.allowed_extensions, found.max_attachment_bytes) == (("pdf", "zip"), 5 * MEBIBYTE)
    assert found.max_attachments == 50


def test_a_limit_of_the_file_stays_the_most():
    """A type that the operator left out stays out, and a smaller size stays; a type that the instance does
    not take goes, too.
    """
    found = adopted(
        Discovered(extensions=("pdf", "zip"), max_attachment_bytes=20 * MEBIBYTE),
        connect={"allowed_extensions": ["pdf", "png"], "max_attachment_bytes": 7},
    )
    assert (found.allowed_extensions, found.max_attachment_bytes) == (("pdf",), 7)


def test_each_instance_has_its_own():
    """Another instance keeps its limits, and a table keeps the rest of its keys."""
    config = builtin_config(connect={"instances": {FAR: {"region": "us-west-2", "burst": 9}}})
    config = adopt_discovered(config, {FAR: Discovered(extensions=("zip",))})
    assert config.of_instance(FAR).connect.allowed_extensions == ("zip",)
    assert (config.connect.find(FAR).region, config.of_instance(FAR).connect.burst) == ("us-west-2", 9)
    assert config.of_instance(INSTANCE_ID).connect.allowed_extensions == DEFAULT_EXTENSIONS


def test_an_instance_that_tells_nothing_new_changes_nothing():
    """The same types and size, and none at all, leave the very configuration: no worker has to learn it."""
    config = builtin_config()
    same = Discovered(
        extensions=tuple(sorted(DEFAULT_EXTENSIONS)),
        max_attachment_bytes=ATTACHMENT_BYTES,
        addresses=frozenset(),
    )
    assert adopt_discovered(config, {INSTANCE_ID: same}) is config
    assert adopt_discovered(config, {INSTANCE_ID: Discovered()}) is config


def test_a_worker_learns_the_same():
    """What was adopted outlives the way to another process."""
    config = adopt_discovered(builtin_config(), {INSTANCE_ID: Discovered(extensions=("zip",))})
    assert Config.model_validate(config.pack()).of_instance(INSTANCE_ID) == config.of_instance(INSTANCE_ID)


def test_differences_are_told_in_words():
    """Each difference is one sentence; none is one of none."""
    config = builtin_config(connect={"allowed_extensions": ["pdf", "heic"]})
    found = Discovered(extensions=("pdf", "zip"), max_attachment_bytes=MEBIBYTE)
    assert list(list_differences(config, INSTANCE_ID, found)) == [
        "it takes zip, which the configuration does not have",
        "it does not take heic",
        "it takes files of 1,048,576 bytes, and the configuration says 20,971,520",
    ]
    assert list(list_differences(config, INSTANCE_ID, Discovered())) == []


def test_what_was_discovered_is_remembered():
    """It is read back as it was written."""
    found = {
        INSTANCE_ID: Discovered(
            extensions=("zip",), max_attachment_bytes=MEBIBYTE, addresses=frozenset({"a@b.example"})
        ),
        FAR: Discovered(gone=frozenset({"c@b.example"})),
    }
    assert parse_discovered_json(build_discovered_json(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nil",
        "{",
        '{"x": 1}',
        '{"x": {"extensions": []}}',
        "[" * 100_000,
        '{"x": {"extensions": [1]}}',
    ],
)
def test_a_memory_that_cannot_be_read_is_none(text):
    """Whatever stands in the file, nothing is adopted and nothing is raised."""
    assert parse_discovered_json(text) == {}


@pytest.mark.parametrize(
    "found", [None, "pdf", [], ["pdf"] * 10**6, [1], [None], ["p df"], ["x" * 11], [["pdf"]], {}]
)
def test_file_types_that_none_can_have_are_refused(found):
    """No list, an empty one, one without end, and words that are no extension."""
    with pytest.raises(ValueError, match="file type"):
        read_extensions(found)


def test_file_types_have_one_spelling():
    """A dot and capitals are taken away, doubles are one."""
    assert read_extensions([".PDF", "pdf", "Zip"]) == ("pdf", "zip")


@pytest.mark.parametrize("found", [None, "20", 0, -1, 1, 1.5e7, True, 10**30, 104_857_601, [], float("nan")])
def test_sizes_that_none_can_have_are_refused(found):
    """A size below a megabyte would keep every file from the agents."""
    with pytest.raises(ValueError, match="no size"):
        read_size(found)


def test_a_size_is_at_most_that_of_an_email():
    """Up to 100 MB may be told, and an e-mail takes 20."""
    assert (read_size(104_857_600), read_size(2 * MEBIBYTE)) == (ATTACHMENT_BYTES, 2 * MEBIBYTE)


@pytest.mark.parametrize(
    "found", [None, "a@b.example", [1], ["a"], ["a@" + "b" * 300], ["a@b.example"] * 10_001]
)
def test_addresses_that_are_none_are_refused(found):
    """No list, a list without end, and what is no address."""
    with pytest.raises(ValueError, match="address"):
        read_addresses(found)
