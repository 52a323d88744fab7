"""The plain text of HTML, as a person would copy it out of a browser.

Owns the look of the text: paragraphs, lists, quotations, links, descriptions of pictures. Never does I/O,
never takes more than linear time.
"""

from __future__ import annotations

import re

from relay.message.markup import TOKENS, Kind, Scanner, Token, read_attributes, unescape

_BLOCKS = frozenset({
    "address", "article", "aside", "body", "center", "dd", "details", "dir", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "header", "hr", "html", "li", "main", "menu", "nav", "section", "summary",
    "table", "tbody", "tfoot", "thead", "tr", "caption", "option",
})  # fmt: skip
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre"})
_SPACES = re.compile(r"[ \t\r\n\f\u00a0]+")
_BLANK_LINES = re.compile(r"\n{3,}")
# The most ">" before a line of a quotation.
_QUOTE_LIMIT = 10


class _Writer:
    """The text so far, and the elements of the HTML that are open."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._space = False
        self._quotes = 0
        self._pre = 0
        self._link = ""
        self._link_text: list[str] = []

    def take(self, token: Token) -> None:
        if token.kind is Kind.TEXT:
            self._text(unescape(token.value))
        elif token.kind is Kind.OPEN:
            self._open(token)
        elif token.kind is Kind.CLOSE:
            self._close(token.name)

    @property
    def keeps_lines(self) -> bool:
        """Returns whether the lines of the source are kept, as in `pre`."""
        return self._pre > 0

    def finish(self) -> str:
        self._break()
        return _BLANK_LINES.sub("\n\n", "\n".join(self._lines)).strip("\n")

    def _text(self, text: str) -> None:
        if self._pre:
            first, *rest = text.replace("\r\n", "\n").split("\n")
            self._put(first)
            for line in rest:
                self._break(keep=True)
                self._put(line)
            return
        words = _SPACES.sub(" ", text)
        if self._link:
            self._link_text.append(words)
        if words == " ":
            self._space = True
            return
        if self._line and (self._space or words[0:1] == " "):
            self._line.append(" ")
        self._space = words.endswith(" ")
        self._put(words.strip(" "))

    def _put(self, text: str) -> None:
        if text:
            self._line.append(text)

    def _break(self, *, keep: bool = False) -> None:
        """End the line; an empty line only counts with `keep`."""
        text = "".join(self._line).rstrip()
        self._line, self._space = [], False
        if text or keep:
            self._lines.append(("> " * min(self._quotes, _QUOTE_LIMIT) + text).rstrip())

    def _gap(self) -> None:
        self._break()
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def _open(self, token: Token) -> None:
        name = token.name
        if name == "br":
            self._break(keep=True)
        elif name in _PARAGRAPHS:
            self._gap()
            self._quotes += name == "blockquote"
            self._pre += name == "pre"
        elif name in _BLOCKS:
            self._break()
            if name == "li":
                self._put("- ")
            elif name == "hr":
                self._put("----")
                self._break()
        elif name in ("td", "th"):
            self._space = bool(self._line)
        elif name == "a":
            self._end_link()
            target = read_attributes(token.value).get("href", "").strip()
            self._link = (
                target if target.lower().startswith(("http://", "https://", "mailto:", "tel:")) else ""
            )
        elif name == "img":
            alt = read_attributes(token.value).get("alt", "").strip()
            if alt:
                self._text(f"[{alt}]")

    def _close(self, name: str) -> None:
        if name == "a":
            self._end_link()
        elif name in _PARAGRAPHS:
            self._gap()
            if name == "blockquote":
                self._quotes = max(0, self._quotes - 1)
            elif name == "pre":
                self._pre = max(0, self._pre - 1)
        elif name in _BLOCKS:
            self._break()

    def _end_link(self) -> None:
        """Write the target of a link after its text, unless the text is the target."""
        target, shown = self._link, "".join(self._link_text).strip()
        self._link, self._link_text = "", []
        bare = target.removeprefix("mailto:").removeprefix("tel:")
        if target and shown and bare.rstrip("/") not in (shown, shown.rstrip("/")):
            self._line.append(f" <{bare}>")


class Effort:
    """The amount of HTML that may still be read; one for everything that one mail makes us read."""

    def __init__(self, tokens: int = TOKENS) -> None:
        self.tokens = tokens

    @property
    def spent(self) -> bool:
        """Returns whether HTML was left unread."""
        return self.tokens <= 0


def make_text(source: str, effort: Effort | None = None) -> str:
    """The text of a piece of HTML, lines ended by LF; "" when it shows none.

    It ends in "…" where `effort` was spent before the HTML was read.
    """
    effort = effort or Effort()
    writer = _Writer()
    for token in Scanner(source).tokens():
        if effort.spent:
            return f"{writer.finish()}\n…"
        effort.tokens -= 1
        if token.kind is Kind.TEXT and writer.keeps_lines:
            lines = token.value.count("\n")
            if lines > effort.tokens:
                token = token._replace(value=_first_lines(token.value, effort.tokens))  # noqa: PLW2901 - only the first part is read
            effort.tokens -= lines
        writer.take(token)
    return writer.finish() + ("\n…" if effort.tokens < 0 else "")


def _first_lines(text: str, count: int) -> str:
    return "\n".join(text.split("\n", count)[:count])
