"""The commands in README and docs/: each stands in a block ```sh, which a test runs, or has a marker with the
reason why none does: `<!-- not run: reason -->` in the line before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands on a page, below a heading; `reason` says why no test runs it, where none does."""

    page: str
    section: str
    number: int
    commands: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def list_blocks() -> Iterator[Block]:
    """Every block of every page, in their order."""
    for path in PAGES:
        text = path.read_text()
        for number, found in enumerate(_BLOCK.finditer(text), start=1):
            heads = _HEADING.findall(text[: found.start()])
            yield Block(
                page=str(path.relative_to(ROOT)),
                section=heads[-1] if heads else "",
                number=number,
                commands=tuple(split_commands(found["text"])),
                reason=found["reason"] or "",
            )


def split_commands(text: str) -> Iterator[str]:
    """The commands of a block: one a line, or more lines where a backslash or a here-document joins them."""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        command = line
        while command.endswith("\\"):
            command += "\n" + next(lines)
        if end := re.search(r"<<'?(\w+)'?$", command.splitlines()[0]):
            for more in lines:
                command += "\n" + more
                if more == end[1]:
                    break
        yield command
