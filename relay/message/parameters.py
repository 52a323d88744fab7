"""The parameters of Content-Type and Content-Disposition, and the words before them.

Owns *parameter*. Never raises: a malformed value is taken as the writer most likely meant it. Follows
RFC 2045 §5.1, RFC 2183 and RFC 2231, and reads RFC 2047 words in parameters, which most mail programs write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from relay.message.charset import decode
from relay.message.likeness import find_codec
from relay.message.words import decode_words, one_line

_TYPE = re.compile(r"\s*([^\s;\"=,()]{1,127})\s*/\s*([^\s;\"=,()/]{1,127})")
_BARE_TYPE = re.compile(r"\s*([A-Za-z][A-Za-z0-9.+-]{0,63})\s*(?:;|$)")
_DISPOSITION = re.compile(r"[\"']?([^\s;,=\"':()]{1,127})(?=[\"']?(?:[\s,:]|\Z))(?!\s*+=)")
_SEPARATORS = re.compile(r"[\s;:,]*+")
_NAME = re.compile(r"([^\s;=\"()]{1,127})\s*+=\s*+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_COMMENT = re.compile(r"\([^()]*+\)")
_LAST_COMMENT = re.compile(r"\s\([^()]*+\)$")
#: The end of a value without quotes: its semicolon, or a parameter whose semicolon was forgotten
#: ("charset=utf-8 format=flowed"). Blanks in a file name are kept.
_UNQUOTED_END = re.compile(r";|\s(?=[A-Za-z][A-Za-z0-9*-]{1,40}=)")
#: A file name in the quotes of other languages than RFC 2045's; in no other parameter, since a boundary may
#: begin and end with them.
_SINGLE_QUOTED = re.compile(r"'([^'\r\n]{1,1000}+)'(?=\s*+(?:;|\Z))")
_FILE_NAMES = frozenset({"filename", "name"})
#: A name that is percent-encoded as in a URL, though RFC 2231 wants an asterisk for that: no blanks, and no
#: "%" but of codes, one of them of a blank or of an octet beyond ASCII.
_PERCENT = re.compile(r"(?:[!-$&-~]|%(?=[0-9A-Fa-f]{2}))++")
_PERCENT_TELLS = re.compile(r"%(?:20|[89A-Fa-f][0-9A-Fa-f])")
_ESCAPED = re.compile(r'\\(["\\])')
_PART = re.compile(r"(.+?)(?:\*([0-9]{1,4}))?(\*)?$", re.DOTALL)
#: Parameters of a field that are read: more are an attack.
_MOST = 1_000
#: The type meant by a malformed one of a single word (seen from Sun's mailer, cron jobs and web forms).
_BARE_TYPES = {
    "text": "text/plain",
    "plain": "text/plain",
    "html": "text/html",
    "multipart": "multipart/mixed",
    "mixed": "multipart/mixed",
    "alternative": "multipart/alternative",
    "message": "message/rfc822",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameterized:
    """The value of a Content-Type or Content-Disposition field: its word, and its parameters by lower-case
    name.
    """

    #: The word in lower case; "" when it is missing or malformed.
    word: str
    parameters: dict[str, str]


def parse_content_type(text: str) -> Parameterized:
    """The media type and parameters of an unfolded field body; the word is "" when there is no media type."""
    found = _TYPE.match(text)
    if found is not None:
        return Parameterized(word=f"{found[1]}/{found[2]}".lower(), parameters=_parameters(text, found.end()))
    bare = _BARE_TYPE.match(text)
    word = _BARE_TYPES.get(bare[1].lower(), "") if bare is not None else ""
    return Parameterized(word=word, parameters=_parameters(text, text.find(";") if ";" in text else 0))


def parse_content_disposition(text: str) -> Parameterized:
    """The disposition and parameters of a field body; an unknown disposition is an attachment (RFC 2183
    §2.8).
    """
    front = _COMMENT.sub("", text.partition(";")[0]).strip()
    found = _DISPOSITION.match(front)
    word = found[1].lower() if found is not None else ""
    # "attachment filename=x": the semicolon was forgotten, and the rest is parameters.
    at = text.find(found[1]) + len(found[1]) if found is not None else 0
    parameters = _parameters(text, at)
    if word == "form-data":
        # RFC 7578 §4.2: the name is that of a form's field; only one with a file name is a file.
        parameters.pop("name", None)
        word = "attachment" if parameters.get("filename") else ""
    if word and word not in {"inline", "attachment"}:
        word = "attachment"
    return Parameterized(word=word, parameters=parameters)


def _parameters(text: str, at: int) -> dict[str, str]:
    plain: dict[str, str] = {}
    parts: dict[str, list[tuple[int, bool, str]]] = {}
    for _ in range(_MOST):
        at = _past(_SEPARATORS, text, at)
        if text.startswith("(", at):
            at = _past(_SEPARATORS, text, _past(_COMMENT, text, at))
        if at == len(text):
            break
        name = _NAME.match(text, at)
        if name is None:
            # Words that are no parameter are passed over up to the next semicolon.
            at = text.find(";", at)
            if at < 0:
                break
            continue
        key = name[1].lower()
        single = _SINGLE_QUOTED.match(text, name.end()) if key in _FILE_NAMES else None
        value, at = (single[1], single.end()) if single is not None else _value(text, name.end())
        if key in _FILE_NAMES and "%" in value:
            value = _decode_percent(value)
        _file(key, value, plain, parts)
    for name_, pieces in parts.items():
        plain[name_] = _join(pieces)
    return {name_: one_line(value) for name_, value in plain.items()}


def _decode_percent(name: str) -> str:
    """The file name that a percent-encoded one stands for. Returns others as they are."""
    if not _PERCENT.fullmatch(name) or not _PERCENT_TELLS.search(name):
        return name
    octets = unquote_to_bytes(name)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode(find_codec(octets) or "ascii", "replace")
    # A path, a control, or an octet of no charset is in no name that a person gave.
    return name if "\ufffd" in text or not text.isprintable() or "/" in text or "\\" in text else text


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _file(
    name: str, value: str, plain: dict[str, str], parts: dict[str, list[tuple[int, bool, str]]]
) -> None:
    found = _PART.match(name) if "*" in name else None
    if found is None or (found[2] is None and found[3] is None):
        plain.setdefault(name, decode_words(value)[0])
    else:
        parts.setdefault(found[1], []).append((int(found[2] or 0), found[3] is not None, value))


def _value(text: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    end = text.find(";", at) if text[at : at + 1] == '"' else _end_of_unquoted(text, at)
    end = len(text) if end < 0 else end
    value = text[at:end].strip()
    if value.startswith('"'):  # a quote that is never closed
        return value[1:].strip(), end
    comment = _LAST_COMMENT.search(value)
    return (value if comment is None else value[: comment.start()].strip()), end


def _end_of_unquoted(text: str, at: int) -> int:
    found = _UNQUOTED_END.search(text, at)
    return -1 if found is None else found.start()


def _join(pieces: list[tuple[int, bool, str]]) -> str:
    """The value of a parameter in numbered pieces, in their order; those with an asterisk are percent-encoded
    (RFC 2231 §3, §4).
    """
    pieces.sort(key=lambda piece: piece[0])
    label: str | None = None
    octets = bytearray()
    for index, (_, encoded, value) in enumerate(pieces):
        if encoded and index == 0 and value.count("'") >= 2:
            label, _, value = value.split("'", 2)  # noqa: PLW2901 - the rest of the value is the value
        octets += unquote_to_bytes(value) if encoded else value.encode("utf-8", "replace")
    text = decode(bytes(octets), label or None, detecting=False)[0]
    return decode_words(text)[0] if "=?" in text else text
