"""The styles of HTML as far as they hide words.

Owns the reading of declarations, of simple rules in style sheets, and what each hides. Never lays out a
page: a rule with a compound selector, or one that holds for some screens only, is left out. Follows CSS 2.1
and CSS Color 4 where mail programs do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

#: Declarations of one element, rules of one mail, and characters of one rule that are read.
_MOST_DECLARATIONS = 60
_MOST_RULES = 2_000
_LONGEST = 2_000
_BRACE = re.compile(r"[{}]")
_SELECTOR = re.compile(r"(?:[a-z][a-z0-9]*)?[.#]?[\w-]+", re.ASCII)
_LENGTH = re.compile(r"(-?\d{0,6}(?:\.\d{0,6})?)(px|pt|em|rem|ex|ch|%|vw|vh|in|cm|mm|pc|)")
_FONT = re.compile(r"(?:^|\s)(0(?:\.0+)?(?:px|pt|em|rem|%)?)(?=[\s/])")
_RGB = re.compile(
    r"rgba?\((\d{1,3})[,\s]\s?(\d{1,3})[,\s]\s?(\d{1,3})(?:\s?[,/]\s?(\d{0,3}(?:\.\d{0,6})?)(%?))?\)"
)
_HEX = re.compile(r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")
_CLIP = re.compile(r"rect\(0[a-z]*,?\s?0[a-z]*,?\s?0[a-z]*,?\s?0[a-z]*\)|inset\((?:50|100)%")
_NAMED = {
    "white": (255, 255, 255), "black": (0, 0, 0), "red": (255, 0, 0), "blue": (0, 0, 255),
    "green": (0, 128, 0), "yellow": (255, 255, 0), "gray": (128, 128, 128), "grey": (128, 128, 128),
    "silver": (192, 192, 192), "snow": (255, 250, 250), "ivory": (255, 255, 240),
    "whitesmoke": (245, 245, 245), "ghostwhite": (248, 248, 255),
}  # fmt: skip
#: The distance of two colours, each part of 255, below which nobody reads one on the other.
_NEAR = 24
#: Pixels beyond the edge from which on nothing is seen.
_FAR = -500.0
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Look:
    """The look of words inside an element, with what it inherits."""

    #: The way in which the element is hidden with all in it; "" where it is not.
    gone: str = ""
    #: Hidden in ways that an element inside can undo.
    tiny: bool = False
    invisible: bool = False
    colour: Colour | None = None
    transparent: bool = False
    #: None where it is not known.
    background: Colour | None = None

    @property
    def hides(self) -> str:
        """The way in which words are hidden; "" where they are seen."""
        if self.gone:
            return self.gone
        if self.tiny:
            return "of no size"
        if self.invisible:
            return "not displayed"
        if self.transparent:
            return "transparent"
        if self.colour is not None and self.background is not None and _is_near(self.colour, self.background):
            return "in the colour of the background"
        return ""


def read_declarations(style: str) -> dict[str, str]:
    """The declarations of a style, by property, in lower case; the last of two alike."""
    style = style[:_LONGEST].lower()
    style = _strip_comments(style)
    found = {}
    for piece in style.split(";", _MOST_DECLARATIONS)[:_MOST_DECLARATIONS]:
        name, _, value = piece.partition(":")
        found[name.strip()] = " ".join(value.replace("!important", "").split())
    return found


def read_sheet(sheet: str) -> Iterator[tuple[str, str]]:
    """The selectors and declarations of the simple rules of a style sheet, in order."""
    depth, start, selector, count = 0, 0, "", 0
    sheet = _strip_comments(sheet)
    for piece in _BRACE.finditer(sheet):
        if piece[0] == "{":
            if depth == 0:
                selector, start = sheet[start : piece.end() - 1][-_LONGEST:], piece.end()
            depth += 1
            continue
        depth = max(depth - 1, 0)
        if depth == 0:
            for one in selector.lower().replace("<!--", "").split(",")[:50]:
                if _SELECTOR.fullmatch(one.strip()) and count < _MOST_RULES:
                    count += 1
                    yield one.strip(), sheet[start : piece.end() - 1][:_LONGEST]
            start = piece.end()


def _strip_comments(text: str) -> str:
    """The text with a blank for each comment; one without an end reaches to the end."""
    pieces, place = [], 0
    while (start := text.find("/*", place)) >= 0:
        pieces.append(text[place:start])
        stop = text.find("*/", start + 2)
        place = stop + 2 if stop >= 0 else len(text)
    return " ".join((*pieces, text[place:]))


def apply(look: Look, style: Mapping[str, str]) -> Look:
    """The look inside an element with these declarations, inside one of another look."""
    if not style or look.gone:
        return look
    changes: dict[str, object] = {}
    if gone := _find_gone(style):
        return replace(look, gone=gone)
    size = style.get("font-size") or _font_size(style.get("font", ""))
    if size:
        changes["tiny"] = _is_tiny(size, inherited=look.tiny)
    if "visibility" in style:
        changes["invisible"] = style["visibility"] in ("hidden", "collapse")
    if colour := style.get("color"):
        changes["transparent"] = colour == "transparent" or _is_clear(colour)
        changes["colour"] = parse_colour(colour)
    if background := style.get("background-color") or style.get("background"):
        changes["background"] = parse_colour(
            background.split(" ")[0] if "(" not in background else background
        )
        if background == "transparent" or background.startswith("none"):
            changes["background"] = look.background
    return replace(look, **changes)  # type: ignore[arg-type]  # each is of its field's type


def _find_gone(style: Mapping[str, str]) -> str:
    """The way in which an element is hidden so that none inside it is seen."""
    if style.get("display") == "none" or style.get("content-visibility") == "hidden":
        return "not displayed"
    if "opacity" in style and (opacity := _measure(style["opacity"])) is not None and opacity <= 0.05:
        return "transparent"
    sides = ("height", "width", "max-height", "max-width")
    clips = style.get("overflow", "") in ("hidden", "clip")
    if clips and any((size := _measure(style.get(side, ""))) is not None and size <= 1 for side in sides):
        return "of no size"
    if style.get("transform", "").replace(" ", "") in ("scale(0)", "scale(0,0)", "scale3d(0,0,0)"):
        return "of no size"
    if _CLIP.match(style.get("clip", "")) or _CLIP.match(style.get("clip-path", "")):
        return "of no size"
    placed = style.get("position") in ("absolute", "fixed", "relative")
    far = ["text-indent", "margin-left", "margin-top", *(("left", "top") if placed else ())]
    if any((at := _measure(style.get(name, ""))) is not None and at <= _FAR for name in far):
        return "off the page"
    return ""


def _font_size(font: str) -> str:
    found = _FONT.search(font)
    return found[1] if found else ""


def _measure(value: str) -> float | None:
    """The number of a length, a hundredth of it for "%"; None for what is none."""
    found = _LENGTH.fullmatch(value)
    if found is None:
        return None
    try:
        number = float(found[1])
    except ValueError:
        return None
    return number / 100 if found[2] == "%" else number


def _is_tiny(size: str, *, inherited: bool) -> bool:
    """Returns whether letters of this size are not seen; relative ones depend on what is around them."""
    found = _LENGTH.fullmatch(size)
    number = _measure(size)
    if found is None or number is None:
        return False
    if found[2] in ("em", "%", "ex", "ch"):
        return inherited or number < 0.1
    return number <= (1 if found[2] in ("px", "pt", "") else 0.1)


def _is_clear(colour: str) -> bool:
    found = _RGB.fullmatch(colour)
    if found is not None and found[4]:
        return (_measure(f"{found[4]}{found[5]}") or 0.0) <= 0.05
    digits = _HEX.fullmatch(colour)
    return digits is not None and len(digits[1]) in (4, 8) and set(digits[1][3::4] or "1") <= {"0"}


def parse_colour(value: str) -> Colour | None:
    """The colour that a value names. Returns None for one that is not known."""
    value = value.strip().lower()
    if value in _NAMED:
        return _NAMED[value]
    if found := _HEX.fullmatch(value):
        digits = found[1] if len(found[1]) >= 6 else "".join(one * 2 for one in found[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    if (rgb := _RGB.fullmatch(value)) is not None:
        return min(int(rgb[1]), 255), min(int(rgb[2]), 255), min(int(rgb[3]), 255)
    return None


def _is_near(one: Colour, other: Colour) -> bool:
    return all(abs(left - right) < _NEAR for left, right in zip(one, other, strict=True))
