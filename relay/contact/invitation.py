"""The calendar object as a few lines of text, for a mail that shows nothing else.

Owns the text that an agent reads of an invitation. Never does I/O beyond reading the part. Follows RFC 5545
§3.1 (content lines), §3.3.11 (text) and §3.6.1 (events), and RFC 5546 §1.4 (methods); time zones are named,
not computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from relay.contact.characters import clean_line, clean_text
from relay.message.charset import decode
from relay.message.model import Message, Part

#: Octets of an invitation that are read: its text is short, and a long one holds a picture or thousands of
#: names.
_LIMIT = 262_144

_TYPES = frozenset({"text/calendar", "text/x-vcalendar", "application/ics"})
_FOLD = re.compile(r"\r?\n[ \t]")
_ZONE = re.compile(r"(?:^|;)TZID=\"?([^;:\"]{1,100})", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?")
_ESCAPE = re.compile(r"\\([\\;,Nn])")
_METHODS = {
    "REQUEST": "Invitation",
    "CANCEL": "Cancelled",
    "REPLY": "Answer to an invitation",
    "COUNTER": "Counter-proposal",
}


def find_invitation(message: Message) -> Part | None:
    """The first calendar object of a mail."""
    return next((part for part in message.attachments if is_calendar(part)), None)


def is_calendar(part: Part) -> bool:
    """Returns whether a part is a calendar object, by its type or by its first line."""
    return part.content_type in _TYPES or part.detected_type == "text/calendar"


def render_invitation(part: Part) -> str:
    """The event as text, "" when the part holds none."""
    octets = bytearray()
    for chunk in part.chunks():
        octets += chunk
        if len(octets) >= _LIMIT:
            break
    text, _ = decode(bytes(octets[:_LIMIT]), part.charset or "utf-8")
    return "".join(f"{line}\n" for line in _build_lines(_FOLD.sub("", text)))


def _build_lines(text: str) -> Iterator[str]:
    method, found = _read_event(text)
    if found is None:
        return
    yield f"{_METHODS.get(method, 'Event')}: {clean_line(_value(found, 'SUMMARY')) or '(no title)'}"
    times = [_time(*found[name]) for name in ("DTSTART", "DTEND") if name in found]
    if times:
        yield f"When: {' to '.join(times)}"
    for label, name in (("Where", "LOCATION"), ("Organizer", "ORGANIZER")):
        value = re.sub("(?i)^mailto:", "", clean_line(_value(found, name)))
        if value:
            yield f"{label}: {value}"
    description = _value(found, "DESCRIPTION").strip()
    if description:
        yield ""
        yield description


def _read_event(text: str) -> tuple[str, dict[str, tuple[str, str]] | None]:
    """The method of the calendar, and the first of each property of its first event. Returns None for the
    event where there is none.
    """
    method = ""
    found: dict[str, tuple[str, str]] | None = None
    for line in text.split("\n"):
        name, parameters, value = _split_line(line.rstrip("\r"))
        word = value.strip().upper()
        if name == "BEGIN" and word == "VEVENT":
            found = found or {}
        elif found is None:
            method = word if name == "METHOD" else method
        elif (name, word) in (("END", "VEVENT"), ("BEGIN", "VALARM")):
            break  # an alarm has a description of its own; it stands last
        else:
            found.setdefault(name, (parameters, value))
    return method, found


def _split_line(line: str) -> tuple[str, str, str]:
    """The name in upper case, the parameters, and the value after the first colon outside quotes."""
    position = 0
    for index, piece in enumerate(line.split('"')):
        colon = piece.find(":") if index % 2 == 0 else -1
        if colon >= 0:
            name, _, parameters = line[: position + colon].partition(";")
            return name.strip().upper(), parameters, line[position + colon + 1 :]
        position += len(piece) + 1
    return "", "", ""


def _value(found: dict[str, tuple[str, str]], name: str) -> str:
    value = found.get(name, ("", ""))[1]
    return clean_text(_ESCAPE.sub(lambda escape: "\n" if escape[1] in "Nn" else escape[1], value))


def _time(parameters: str, value: str) -> str:
    """The instant as a person reads it, with the zone that the sender named."""
    found = _TIME.match(value.strip())
    if found is None:
        return clean_line(value)
    year, month, day, hour, minute, _, utc = found.groups()
    if hour is None:
        return f"{year}-{month}-{day}"
    zone = _ZONE.search(parameters)
    where = " UTC" if utc else (f" {clean_line(zone[1])}" if zone else "")
    return f"{year}-{month}-{day} {hour}:{minute}{where}"
