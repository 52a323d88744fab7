"""Ratios as pictures: the bars of a table's rows, as plain SVG.

    python -m bench.picture

draws the tables of bench/README.md again into bench/pictures, as they were measured; `make bench` draws what
it has just measured into bench/measured. The same figures give the same octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
MEASURED = HERE / "measured"

#: In pixels; a letter of 12 px takes about 6.5.
_LABEL, _BARS, _VALUE = 170, 420, 150
_ROW, _BAR, _TOP, _MARGIN = 26, 16, 46, 10
_STYLE = (
    "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.bar{fill:#2f6fb2}.short{fill:#b5562a}"
    ".line{stroke:#57606a;stroke-dasharray:3 3}.goal{stroke:#24292f;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6cb0f2}.short{fill:#e8905f}"
    ".line{stroke:#9198a1}.goal{stroke:#e6edf3}}"
)


class Bar(NamedTuple):
    """A row: what was measured, the ratio, and its target."""

    label: str
    ratio: float
    goal: float | None = None


class Chart(NamedTuple):
    """A table of bench/README.md that has a picture, and its columns, counted from 0."""

    name: str
    heading: str
    title: str
    ratio: int
    goal: int | None = None


CHARTS = (
    Chart("parse", "Time and memory", "Understanding a mail: times as fast as the standard library", 4, 6),
    Chart("smtp", "Speed", "Receiving: mails a second, times those of Postfix (run 3)", 4, 1),
)


def draw_bars(title: str, bars: Sequence[Bar], *, unit: str = "x") -> str:
    """The picture of some ratios: a bar for each, a line at 1, and a mark at the target. A bar that
    falls short of its target has another colour, and says so.
    """
    most = max([1.0, *(bar.ratio for bar in bars), *(bar.goal or 0.0 for bar in bars)])
    width, height = _LABEL + _BARS + _VALUE, _TOP + _ROW * len(bars) + _MARGIN

    def place(ratio: float) -> str:
        return f"{_LABEL + _BARS * ratio / most:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_MARGIN}" y="20">{escape(title)}</text>',
        f'<line class="line" x1="{place(1)}" y1="{_TOP - 8}" x2="{place(1)}" y2="{height - _MARGIN}"/>',
        f'<text x="{place(1)}" y="{_TOP - 10}" text-anchor="middle">1{unit}</text>',
    ]
    for number, bar in enumerate(bars):
        top = _TOP + _ROW * number
        is_short = bar.goal is not None and bar.ratio < bar.goal
        told = f"{bar.ratio:g}{unit}" + (f", target {bar.goal:g}{unit}" if bar.goal is not None else "")
        length = f"{_BARS * bar.ratio / most:.1f}"
        lines += [
            f'<text x="{_LABEL - 8}" y="{top + 13}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{"short" if is_short else "bar"}" x="{_LABEL}" y="{top}" width="{length}" height="{_BAR}"/>',
            f'<text x="{place(max(bar.ratio, bar.goal or 0.0))}" dx="6" y="{top + 13}">{told}</text>',
        ]
        if bar.goal is not None:
            at = place(bar.goal)
            lines.append(f'<line class="goal" x1="{at}" y1="{top - 2}" x2="{at}" y2="{top + _BAR + 2}"/>')
    return "\n".join([*lines, "</svg>", ""])


def read_tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Each table of a page in Markdown: the heading above it, and its rows, the one with the names first."""
    heading, rows = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows:
            yield heading, [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
            rows = []
        if line.startswith("#"):
            heading = line.lstrip("# ")


def read_number(cell: str) -> float | None:
    """The first number of a cell, as in "**1.1x**" or "2.1 (2.0), missed". Returns None if there is none."""
    found = re.search(r"\d+(?:\.\d+)?", cell)
    return float(found[0]) if found else None


def read_bars(rows: Sequence[Sequence[str]], *, ratio: int, goal: int | None) -> list[Bar]:
    """The bars of a table's rows; a row without a ratio has none."""
    return [
        Bar(row[0], found, read_number(row[goal]) if goal is not None else None)
        for row in rows
        if len(row) > ratio and (found := read_number(row[ratio])) is not None
    ]


def draw_readme() -> dict[str, str]:
    """The pictures of the tables of bench/README.md, by name."""
    tables = dict(reversed(list(read_tables((HERE / "README.md").read_text()))))  # the first below a heading
    return {
        chart.name: draw_bars(
            chart.title, read_bars(tables[chart.heading][1:], ratio=chart.ratio, goal=chart.goal)
        )
        for chart in CHARTS
    }


def draw_measured(name: str, output: str) -> list[Path]:
    """Draw the tables with a column "ratio" or "faster" that a program has printed. Returns the files."""
    drawn = []
    for _, (names, *rows) in read_tables(output):
        ratio = next((at for at, each in enumerate(names) if each in ("ratio", "faster")), None)
        goal = next((at for at, each in enumerate(names) if each in ("target", "promised")), None)
        bars = read_bars(rows, ratio=ratio, goal=goal) if ratio is not None else []
        if bars:
            MEASURED.mkdir(exist_ok=True)
            path = MEASURED / f"{name}{'' if not drawn else f'-{len(drawn) + 1}'}.svg"
            path.write_text(draw_bars(f"{name}: {names[ratio or 0]}", bars))
            drawn.append(path)
    return drawn


def main() -> None:
    """Draw the pictures of bench/README.md."""
    PICTURES.mkdir(exist_ok=True)
    for name, picture in draw_readme().items():
        (PICTURES / f"{name}.svg").write_text(picture)


if __name__ == "__main__":
    main()
