"""The pictures of the benches: drawn from the tables of bench/README.md, and from what was just measured."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench import picture
from bench.picture import (
    CHARTS,
    PICTURES,
    Bar,
    draw_bars,
    draw_measured,
    draw_readme,
    read_number,
    read_tables,
)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", [chart.name for chart in CHARTS])
def test_picture_shows_the_table_of_its_page(name):
    """Each picture that is kept is what the table says now: whoever changes figures draws them again."""
    assert (PICTURES / f"{name}.svg").read_text() == draw_readme()[name]
    assert f"(pictures/{name}.svg)" in (picture.HERE / "README.md").read_text()


def test_no_picture_is_left_over():
    """Pictures of tables that are gone are gone."""
    assert {path.stem for path in PICTURES.iterdir()} == {chart.name for chart in CHARTS}


def test_bar_is_as_long_as_its_ratio():
    """Lengths are to each other as the ratios; what falls short of its target is of another colour."""
    root = ET.fromstring(draw_bars("a <b>", [Bar("one & two", 2.0, 1.0), Bar("short", 0.5, 4.0)]))
    first, second = root.findall(f"{SVG}rect")
    assert float(first.get("width")) == 4 * float(second.get("width"))
    assert (first.get("class"), second.get("class")) == ("bar", "short")
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert texts == ["a <b>", "1x", "one & two", "2x, target 1x", "short", "0.5x, target 4x"]
    right = max(float(line.get("x2")) for line in root.findall(f"{SVG}line"))
    assert right < float(root.get("width"))


@pytest.mark.parametrize(
    ("cell", "number"),
    [("**1.1x**", 1.1), ("2.1 (2.0), missed", 2.1), ("12", 12.0), ("", None), ("none", None)],
)
def test_number_of_a_cell(cell, number):
    """Figures stand in cells with marks and words around them."""
    assert read_number(cell) == number


def test_what_was_measured_is_drawn(tmp_path, monkeypatch):
    """A table with ratios in the output of a program has its picture; one without has none."""
    monkeypatch.setattr(picture, "MEASURED", tmp_path / "measured")
    output = "text\n| load | relay/s | ratio | target |\n| --- | --- | --- | --- |\n| 2 KB | 900 | 2.1 | 3 |\n\n| a | b |\n| - | - |\n| 1 | 2 |\n"
    (path,) = draw_measured("smtp", output)
    assert path.read_text() == draw_bars("smtp: ratio", [Bar("2 KB", 2.1, 3.0)])
    assert draw_measured("edge", "| what | measured |\n| --- | --- |\n| a | 1 |\n") == []


def test_tables_have_their_headings():
    """A table stands below the last heading above it."""
    page = "# A\n| x |\n|---|\n| 1 |\n## B\ntext\n| y |\n|:-:|\n| 2 |"
    assert list(read_tables(page)) == [("A", [["x"], ["1"]]), ("B", [["y"], ["2"]])]
