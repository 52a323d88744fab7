"""Address lists as they are written."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.message.addresses import MOST_TEXT, _read_plain, _Reader, parse_addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.com", [("", "ann@example.com")]),
        ("Ann <ann@example.com>", [("Ann", "ann@example.com")]),
        ('"Lee, Ann" <ann@example.com>', [("Lee, Ann", "ann@example.com")]),
        ("Lee, Ann <ann@example.com>", [("Lee, Ann", "ann@example.com")]),
        ("ann@example.com (Ann (the boss))", [("Ann (the boss)", "ann@example.com")]),
        ("a@b.example; c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        (
            "Team: a@b.example, C <c@d.example>;, e@f.example",
            [("", "a@b.example"), ("C", "c@d.example"), ("", "e@f.example")],
        ),
        ("undisclosed-recipients:;", []),
        ("(nobody)", []),
        ("<>", []),
        ("", []),
        ("<@relay.example,@two.example:ann@example.com>", [("", "ann@example.com")]),
        ("ann . lee @ example . com", [("", "ann.lee@example.com")]),
        ('"ann lee"@example.com', [("", '"ann lee"@example.com')]),
        ("Ann Lee ann@example.com", [("Ann Lee", "ann@example.com")]),
        ("Ann <ann@example.com", [("Ann", "ann@example.com")]),
        ("<<ann@example.com>>", [("", "ann@example.com")]),
        ("<mailto:ann@example.com>", [("", "ann@example.com")]),
        ("'ann@example.com' <ann@example.com>", [("ann@example.com", "ann@example.com")]),
        ("'ann@example.com'", [("", "ann@example.com")]),
        ('"Ann <ann@example.com>"', [("Ann", "ann@example.com")]),
        ("=?utf-8?q?Ann_=3Cann=40example=2Ecom=3E?=", [("Ann", "ann@example.com")]),
        ("=?utf-8?q?J=C3=B6rg?= <j@example.com>", [("Jörg", "j@example.com")]),
        ("=?utf-8?q?a=2C_b?= <c@example.com>", [("a, b", "c@example.com")]),
        ('"=?utf-8?q?J=C3=B6rg?=" <j@example.com>', [("Jörg", "j@example.com")]),
        ("a@b.example, , ,c@d.example,", [("", "a@b.example"), ("", "c@d.example")]),
        ("<a@b.example> <c@d.example>", [("", "a@b.example"), ("", "c@d.example")]),
        ("postmaster", [("", "postmaster")]),
        ("root, ann@example.com", [("", "root"), ("", "ann@example.com")]),
        ('"Q. \\"Quick\\" P" <q@example.com>', [('Q. "Quick" P', "q@example.com")]),
        ('Ann "the <ann@example.com>', [('Ann "the', "ann@example.com")]),
        ("Foo: Bar <a@b.example>", [("Foo: Bar", "a@b.example")]),
        ('"Ann Lee" ann@example.com', [("Ann Lee", "ann@example.com")]),
        ('ann@example.com "Ann Lee"', [("Ann Lee", "ann@example.com")]),
        (
            '"Lee, Ann" ann@example.com, "Bo" bo@example.com',
            [("Lee, Ann", "ann@example.com"), ("Bo", "bo@example.com")],
        ),
        ('"ann lee" @ example.com', [("", '"ann lee"@example.com')]),
        ('"a@b.example" c@d.example', [("a@b.example", "c@d.example")]),
        ("=?iso-8859-1?Q?A;_B?= <a@b.example>", [("A; B", "a@b.example")]),
        ("=?utf-8?Q?Doe,_John?= <a@b.example>", [("Doe, John", "a@b.example")]),
        (
            '=?utf-8?Q?"Doe,_John"?= <a@b.example>, c@d.example',
            [("Doe, John", "a@b.example"), ("", "c@d.example")],
        ),
        ("=?utf-8?Q?R_(x:y);?= =?utf-8?Q?_z?= <a@b.example>", [("R (x:y); z", "a@b.example")]),
        ("[ann@example.com]", [("", "ann@example.com")]),
        ("Ann [mailto:ann@example.com]", [("Ann", "ann@example.com")]),
        ("(ann@example.com)", [("", "ann@example.com")]),
        ("(nobody), Bo <bo@example.com>", [("Bo", "bo@example.com")]),
        (
            "Ann Lee (ann@example.com), Bo <bo@example.com>",
            [("Ann Lee", "ann@example.com"), ("Bo", "bo@example.com")],
        ),
        ("ann@example.com.", [("", "ann@example.com")]),
        ("Ann <ann@example.com.>", [("Ann", "ann@example.com")]),
        ("<ann@example.com>.", [("", "ann@example.com")]),
        ("<SMTP:ann@example.com>", [("", "ann@example.com")]),
        ('<"ann@example.com">', [("", "ann@example.com")]),
        ('ann@example.com"', [("", "ann@example.com")]),
        ("«ann@example.com»", [("", "ann@example.com")]),
        ("Ann \uff1cann@example.com\uff1e", [("Ann", "ann@example.com")]),
        ("Ann &lt;ann@example.com&gt;", [("Ann", "ann@example.com")]),
        (
            "Ann &lt;b@c.example&gt; <ann@example.com>",
            [("", "Ann &lt"), ("", "b@c.example&gt"), ("", "ann@example.com")],
        ),
        ("a@b.example c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("a@b.example a@b.example", [("", "a@b.example"), ("", "a@b.example")]),
        ("Lee, Ann ann@example.com", [("Lee, Ann", "ann@example.com")]),
        ("root, ann @ example.com", [("", "root"), ("", "ann@example.com")]),
        ('"ceo@bank.example" <x@evil.example>', [("ceo@bank.example", "x@evil.example")]),
    ],
)
def test_mailboxes_are_read_as_their_writer_meant(text, expected):
    """Each form gives its mailboxes in order, names decoded."""
    assert [(box.name, box.address) for box in parse_addresses(text)] == expected


@pytest.mark.parametrize(
    "piece", ["<", '("', "a:", "a@b,", "x,", "(", 'a"', '<"', '\\"', "@a,", "a . ", "=?x?q?a?=", "<a@b>"]
)
@pytest.mark.slow
def test_hostile_lists_are_read_in_linear_time(piece):
    """A quarter of a megabyte of any one mark takes no second."""
    begun = time.thread_time()
    parse_addresses(piece * (MOST_TEXT // len(piece)))
    assert time.thread_time() - begun < 5  # a fraction of it on an idle machine; quadratic would be hours


_ATOMS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
_NAMES = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters='"\\'), min_size=1, max_size=20
).filter(
    # A name of nothing but punctuation is none: a sentence ends so behind an address.
    lambda name: "=?" not in name and "@" not in name and name.strip("'") == name and name.strip(".,;:")
)


@settings(deadline=None)
@given(st.lists(st.tuples(_NAMES, _ATOMS, _ATOMS), min_size=1, max_size=8))
def test_what_is_written_well_is_read_exactly(boxes):
    """Quoted names and plain addresses come back as they were."""
    text = ", ".join(f'"{name}" <{local}@{domain}.example>' for name, local, domain in boxes)
    read = [(box.name, box.address) for box in parse_addresses(text)]
    assert read == [(name, f"{local}@{domain}.example") for name, local, domain in boxes]


PIECES = [
    *("ann@example.com", '"Lee, Ann" <ann@example.com>', "Ann Lee <ann@example.com>", "<ann@example.com>"),
    *(
        "=?utf-8?q?J=C3=B6rg?= <j@d.example>",
        '"',
        "<",
        ">",
        "Ann",
        "(x)",
        ";",
        ":",
        "@",
        " ",
        ",",
        ".",
        "'",
        "\u00e4",
    ),
]


@given(
    st.lists(st.one_of(st.sampled_from(PIECES[:5]), st.just(", "), st.sampled_from(PIECES)), max_size=6).map(
        "".join
    )
)
@settings(max_examples=300, deadline=None)
def test_plain_lists_are_read_as_any_other(text):
    """The short way for lists in the form of nearly all finds what the reader of every form finds."""
    short = _read_plain(text)
    assert short in ((), tuple(_Reader(text).read()))
    assert _read_plain(", ".join(PIECES[:5])), "the short way is taken"
