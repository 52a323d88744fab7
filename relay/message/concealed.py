"""The words of HTML that stand where one program alone shows them: in a template, which scripts would show,
and in a comment for Outlook.

Owns taking them out. Never judges whether others are to be seen. Linear in the HTML. Follows the HTML
standard (§4.12.3, template) and Microsoft's conditional comments.
"""

from __future__ import annotations

import re

_TEMPLATE = re.compile(r"<(/?)template(?=[\s/>])", re.IGNORECASE)
_CONDITION = re.compile(r"<!--\[if[^\]<>]{0,200}\]>(?:<!-->)?", re.IGNORECASE)
_END = re.compile(r"<!\[endif\]-->|-->", re.IGNORECASE)
#: Settings of Outlook, whose values are no words.
_SETTINGS = re.compile(r"<xml(?=[\s/>])", re.IGNORECASE)
_SETTINGS_END = re.compile(r"</xml\s{0,20}>", re.IGNORECASE)


def reveal(source: str) -> str:
    """The HTML with the content of templates and of conditional comments in the place of these; Outlook's
    settings are left out.
    """
    pieces: list[str] = []
    at = 0
    while (opening := _CONDITION.search(source, at)) is not None:
        end = _END.search(source, opening.end())
        stop, behind = (end.start(), end.end()) if end is not None else (len(source), len(source))
        pieces += (source[at : opening.start()], _leave_out_settings(source[opening.end() : stop]))
        at = behind
    return _TEMPLATE.sub(r"<\1div", "".join((*pieces, source[at:])))


def _leave_out_settings(content: str) -> str:
    pieces: list[str] = []
    at = 0
    while (opening := _SETTINGS.search(content, at)) is not None:
        pieces.append(content[at : opening.start()])
        end = _SETTINGS_END.search(content, opening.end())
        at = end.end() if end is not None else len(content)
    return "".join((*pieces, content[at:]))
