"""The note at the end of a body."""

from __future__ import annotations

import pytest
from factory import FOLDER

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.body import Body
from relay.contact.note import NOTE_LIMIT, append_note, build_note, count_bytes
from relay.contact.plan import PlannedFile


def stored(number=1, name="x.zip"):
    return PlannedFile(
        name=name,
        content_type="application/zip",
        size=1_234_567,
        sha256="",
        key=f"{FOLDER}{number}",
        attached=False,
        chunks=lambda: iter(()),
    )


def test_no_note_when_there_is_nothing_to_say():
    """A body that holds all is left alone, also when its original is kept."""
    assert build_note([], facts=(), original_key="k") == ()
    body = Body(text="hi", content_type="text/plain")
    assert append_note(body, ()) == ("hi", ())


def test_opened_container_is_not_worth_a_note():
    """An agent who sees the files of a winmail.dat need not hear of it, nor of a detached signature."""
    assert build_note([(stored(), Code.ATTACHMENT_UNPACKED)], facts=(), original_key="k") == ()
    assert build_note([(stored(), Code.ATTACHMENT_NOISE)], facts=(), original_key="k") == ()


def test_note_names_file_size_reason_and_key():
    """An agent reads what is missing, a person with access finds it."""
    lines = build_note(
        [(stored(), Code.ATTACHMENT_TYPE_NOT_ALLOWED)], facts=("A fact.",), original_key="o.eml"
    )
    assert lines == (
        "A fact.",
        "Not attached to this contact, but kept:",
        f"- x.zip (1.2 MB): files of this type are not passed on; {FOLDER}1",
        "The whole mail as it was received: o.eml",
    )


@pytest.mark.parametrize("code", [code for code in Code if code.startswith(("attachment.", "attachments."))])
def test_every_reason_has_words(code):
    """Whatever keeps a file back can be said in the note."""
    silent = (
        Code.ATTACHMENT_RENAMED, Code.ATTACHMENT_NAMED, Code.ATTACHMENT_UNPACKED, Code.ATTACHMENT_NOISE,
        Code.ATTACHMENTS_LEFT_INSIDE,
    )  # fmt: skip
    if code not in silent:
        assert len(build_note([(stored(), code)], facts=(), original_key=None)) == 2


def test_note_of_a_thousand_files_is_short():
    """The note names sixty, counts the rest, and stays within its own limit."""
    left = [(stored(n, "n" * 256), Code.ATTACHMENTS_TOO_MANY) for n in range(1_000)]
    lines = build_note(left, facts=("f" * 5_000,), original_key=None)
    assert lines[-1] == "- and 940 more"
    assert len("\n".join(lines).encode()) < NOTE_LIMIT


def test_note_of_wide_names_stays_within_its_limit():
    """Names and facts that HTML writes with five characters each fit too."""
    left = [(stored(n, "&" * 256), Code.ATTACHMENTS_TOO_MANY) for n in range(1_000)]
    lines = build_note(left, facts=("&" * 5_000, "&" * 5_000, "&" * 5_000), original_key="k" * 300)
    text, _ = append_note(Body(text="", content_type="text/html"), lines)
    assert len(text.encode()) <= NOTE_LIMIT


def test_note_in_text_follows_a_signature_mark():
    """In plain text the note stands below the line that mail programs know."""
    text, changes = append_note(Body(text="hello\n", content_type="text/plain"), ("One", "Two"))
    assert text == "hello\n\n-- \nOne\nTwo\n"
    assert append_note(Body(text="hello", content_type="text/plain"), ("One", "Two"))[0] == text
    assert [change.code for change in changes] == ["body.note"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>a</p>", "<p>a</p>{}"),
        ("<body><p>a</p></body></html>\n", "<body><p>a</p>{}</body></html>\n"),
        ("<p>a</BODY >", "<p>a{}</BODY >"),
        ("<p>a <!-- open", "<p>a <!-- open-->{}"),
        ("<p>a<style>p{", "<p>a<style>p{</style>{}"),
    ],
)
def test_note_in_html_can_be_seen(source, expected):
    """In HTML the note goes before the end of the document, and whatever was left open is closed."""
    text, _ = append_note(Body(text=source, content_type="text/html"), ("<One> & more",))
    note = "\n<hr>\n<p>&lt;One&gt; &amp; more</p>\n"
    assert text == expected.replace("{}", note)


def test_closing_is_recorded():
    """An agent who compares with the original finds what was added."""
    _, changes = append_note(Body(text="<!--", content_type="text/html"), ("x",))
    assert [change.code for change in changes] == ["body.note", "body.closed"]


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1 KB"), (2_340_000, "2.3 MB")],
)
def test_count_bytes(size, words):
    """Sizes are said as a person says them."""
    assert count_bytes(size) == words
