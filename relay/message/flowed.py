"""The paragraphs of text/plain; format=flowed, put together again.

Follows RFC 3676 §4: space-stuffing, quote depth, soft breaks, the signature line, DelSp.
"""

from __future__ import annotations


def unflow(text: str, *, delete_space: bool = False) -> str:
    """The text (lines ending in LF) with its soft line breaks taken out."""
    lines: list[str] = []
    paragraph: list[str] = []
    open_depth: int | None = None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:].removeprefix(" ")
        signature = content == "-- "
        if open_depth is not None and (depth != open_depth or signature):
            lines.append("".join(paragraph))  # RFC 3676 §4.5: a paragraph has one quote depth
            paragraph, open_depth = [], None
        if open_depth is None:
            paragraph.append(">" * depth + (" " if depth and content else ""))
        soft = content.endswith(" ") and not signature
        paragraph.append(content[:-1] if soft and delete_space else content)
        if soft:
            open_depth = depth
        else:
            lines.append("".join(paragraph))
            paragraph, open_depth = [], None
    if open_depth is not None:
        lines.append("".join(paragraph))
    return "\n".join(lines)
