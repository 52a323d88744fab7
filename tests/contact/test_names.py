"""File names as Connect takes them."""

from __future__ import annotations

import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.characters import count_utf16
from relay.contact.limits import DEFAULT_EXTENSIONS
from relay.contact.names import clean_name, complete_extension, cut_name, get_extension, make_unique

ALLOWED = frozenset(DEFAULT_EXTENSIONS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("Größe 3.pdf", "Größe 3.pdf"),
        ("Gro\u0308ße.pdf", "Größe.pdf"),  # macOS sends decomposed names
        ("見積書.xlsx", "見積書.xlsx"),
        ("📎 note.txt", "📎 note.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\Jane\\scan.pdf", "scan.pdf"),
        ("/tmp/report.csv", "report.csv"),
        ("AC/DC.pdf", "AC_DC.pdf"),
        ("a\x00b.pdf", "ab.pdf"),
        ("two\r\nlines.pdf", "two lines.pdf"),
        ("exe.\u202efdp.pdf", "exe.fdp.pdf"),  # RIGHT-TO-LEFT OVERRIDE
        ("zero\u200bwidth\ufeff.pdf", "zerowidth.pdf"),
        ("👩\u200d💻.png", "👩💻.png"),
        ("private\ue000.pdf", "private_.pdf"),
        ("half\ud83d.pdf", "half_.pdf"),
        ("  spaced  .pdf  ", "spaced .pdf"),
        ("dots...", "dots"),
        ("CON", "_CON"),
        ("con.pdf", "_con.pdf"),
        ("conference.pdf", "conference.pdf"),
        ("..", ""),
        ("\u200b", ""),
        ("/", ""),
    ],
)
def test_clean_name(name, expected):
    """A name is freed of paths, controls and invisible characters, and otherwise left alone."""
    assert clean_name(name) == expected


@pytest.mark.parametrize(
    ("name", "declared", "detected", "expected"),
    [
        ("invoice.pdf", "application/octet-stream", None, "invoice.pdf"),
        ("photo.JPG", "image/jpeg", "image/jpeg", "photo.JPG"),
        ("photo.jpg", "image/jpeg", "image/png", "photo.jpg"),
        ("invoice", "application/pdf", None, "invoice.pdf"),
        ("invoice", "application/octet-stream", "application/pdf", "invoice.pdf"),
        ("scan.tmp", "application/octet-stream", "application/pdf", "scan.tmp.pdf"),
        ("setup.exe", "application/pdf", None, "setup.exe"),
        ("archive.zip", "application/zip", "application/zip", "archive.zip"),
        ("server.log", "text/plain", None, "server.log.txt"),
        ("page.html", "text/plain", None, "page.html"),
        ("photo.jpg", "application/applefile", None, "photo.jpg.rsrc"),
        ("thing", "application/octet-stream", None, "thing.bin"),
        ("v1.2 final", "application/msword", None, "v1.2 final.doc"),
        (".profile", "text/plain", None, ".profile.txt"),
    ],
)
def test_complete_extension(name, declared, detected, expected):
    """An extension is added where it is missing, or where the content says that an allowed one is right."""
    assert complete_extension(name, declared=declared, detected=detected, allowed=ALLOWED) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.pdf", "pdf"), ("A.PDF", "pdf"), ("a.tar.gz", "gz"), ("a", ""), (".x", ""), ("a. b", "")],
)
def test_get_extension(name, expected):
    """The extension is what stands after the last dot, if that looks like one."""
    assert get_extension(name) == expected


def test_long_names_keep_their_extension():
    """What is cut is the middle, never the extension."""
    cut = cut_name("x" * 400 + ".pdf")
    assert count_utf16(cut) == 256
    assert cut.endswith("….pdf")


def test_names_become_unique_without_case():
    """Equal names get a number before their extension, also when that name exists already."""
    taken: dict[str, int] = {}
    names = [make_unique(name, taken) for name in ("a.pdf", "A.pdf", "a-2.pdf", "a.pdf", "b", "b")]
    assert names == ["a.pdf", "A-2.pdf", "a-2-2.pdf", "a-3.pdf", "b", "b-2"]


def test_a_thousand_equal_long_names_are_unique_and_fast():
    """A mail of a thousand parts called the same costs no quadratic time, and each name stays within its
    limit.
    """
    taken: dict[str, int] = {}
    begun = time.process_time()
    names = [make_unique("x" * 252 + ".pdf", taken) for _ in range(1_000)]
    assert time.process_time() - begun < 1
    assert len(set(names)) == 1_000
    assert max(map(len, names)) == 256


def test_a_megabyte_of_accents_is_fast():
    """Normalisation is quadratic in a run of accents; a long name is shortened before it."""
    begun = time.process_time()
    clean_name("a" + "\u0327\u0301" * 500_000 + ".pdf")
    assert time.process_time() - begun < 1


@given(st.text(st.characters(codec=None, categories=None), max_size=300))
def test_any_name_fits_the_pattern(name):
    """Whatever was sent, what is left is within the service model's pattern, and cleaning it again changes
    nothing.
    """
    cleaned = cut_name(clean_name(name))
    assert regex.fullmatch(r"^\P{C}*$", cleaned)
    assert count_utf16(cleaned) <= 256
    assert not set(cleaned) & set("/\\")
