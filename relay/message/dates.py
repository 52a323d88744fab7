"""The Date of a mail as an aware instant, or None.

Follows RFC 5322 §3.3 and §4.3 (obsolete zones and two-digit years), and takes what is seen besides: no
weekday, dashes, ISO 8601, a month before its day, no seconds, a zone with a colon or in brackets only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
# Hours from UTC. RFC 5322 §4.3 has those of North America; military letters and unknown names are -0000, that
# is UTC.
_ZONES: dict[str, float] = {
    "est": -5,
    "edt": -4,
    "cst": -6,
    "cdt": -5,
    "mst": -7,
    "mdt": -6,
    "pst": -8,
    "pdt": -7,
    "cet": 1,
    "met": 1,
    "cest": 2,
    "mest": 2,
    "eet": 2,
    "eest": 3,
    "bst": 1,
    "jst": 9,
    "kst": 9,
    "ist": 5.5,
}

_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?(?:[.,]\d{1,9})?\s*(?P<half>[AaPp][Mm])?"
_ZONE = r"\s*(?P<zone>(?:UTC|GMT)?\s?[+-]\d{1,2}:?\d{2}|[A-Za-z]{1,5})?"
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d{2})$")
_DAY = r"(?P<day>\d{1,2})[\s-]+(?P<month>[A-Za-z]{3})[a-z]*\.?,?[\s-]+(?P<year>\d{2,4})"
_FORMS = tuple(
    re.compile(form + _ZONE)
    for form in (
        _DAY + r",?\s+" + _TIME,
        r"(?P<month>[A-Za-z]{3})[a-z]*\.?\s+(?P<day>\d{1,2}),?\s+(?P<year>\d{4}),?\s+" + _TIME,
        r"(?P<month>[A-Za-z]{3})[a-z]*\s+(?P<day>\d{1,2})\s+"
        + _TIME
        + r"(?:\s+[A-Z]{3,4})?\s+(?P<year>\d{4})",
        r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})[T\s]\s*" + _TIME,
        _DAY + r"(?P<hour>)(?P<minute>)(?P<second>)(?P<half>)",
    )
)


def parse_date(text: str) -> datetime | None:
    """The instant of a Date field, aware. Returns None when the text cannot be understood or names no real
    instant.
    """
    text = text[:200]
    for form in _FORMS:
        found = form.search(text)
        if found is None:
            continue
        try:
            return _instant(found)
        except (ValueError, OverflowError):  # the thirtieth of February, an hour of 27
            return None
    return None


def _instant(found: re.Match[str]) -> datetime:
    month = found["month"].lower()
    number = int(month) if month.isdigit() else _MONTHS.get(month, 0)
    year = int(found["year"])
    if len(found["year"]) == 2:  # RFC 5322 §4.3
        year += 2000 if year < 50 else 1900
    elif len(found["year"]) == 3:
        year += 1900
    hour = int(found["hour"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    second = min(int(found["second"] or 0), 59)  # a leap second
    zone = _zone(found["zone"] or "")
    moment = datetime(year, number, int(found["day"]), hour, int(found["minute"] or 0), second, tzinfo=zone)
    moment.astimezone(UTC)  # raises OverflowError on the first and the last day of the calendar
    return moment


def _zone(text: str) -> timezone:
    offset = _OFFSET.search(text)
    if offset is None:
        hours = _ZONES.get(text.strip().lower(), 0)
        return timezone(timedelta(hours=hours)) if hours else UTC
    minutes = int(offset[2]) * 60 + int(offset[3])
    if minutes >= 24 * 60:
        return UTC
    return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
