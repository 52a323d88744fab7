"""The characters of text from strangers, made harmless for a terminal and a log.

Owns the one list of characters that are written out as escapes: those that a terminal obeys, that turn the
direction of writing, that break a line, and that nobody sees. Never cuts, never does I/O.
"""

from __future__ import annotations

import json
import re

#: C1 and DEL; soft hyphen; grapheme joiner; Arabic letter mark; fillers and vowels without a shape; Mongolian
#: separators; zero-width characters and direction marks; line and paragraph separators, embeddings and
#: overrides; joiners, isolates and deprecated controls; byte order mark; interlinear and other specials;
#: halves of pairs; tags.
_UNSEEN = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"
)
_ARMED = re.compile(f"[\x00-\x1f{_UNSEEN}]")
# In JSON a line end stands between values only; within them it is written out already.
_ARMED_IN_JSON = re.compile(f"[\x00-\x09\x0b-\x1f{_UNSEEN}]")


def write_out(text: str) -> str:
    r"""The text on one line, with each character of the list as its escape: ESC is `\x1b`, an override
    `\u202e`.
    """
    if text.isascii() and text.isprintable():
        return text
    return _ARMED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def write_out_json(document: str) -> str:
    """A JSON document with the same characters as JSON's own escapes: it means what it meant."""
    return _ARMED_IN_JSON.sub(lambda found: json.dumps(found.group())[1:-1], document)
