"""Calendar objects as text."""

from __future__ import annotations

import time

import pytest
from factory import make_config, make_message, make_part, make_route
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.body import make_body
from relay.contact.invitation import render_invitation
from relay.contact.limits import BODY_BYTES
from relay.vocabulary import Rung

INVITE = """\
BEGIN:VCALENDAR\r
METHOD:REQUEST\r
BEGIN:VTIMEZONE\r
BEGIN:STANDARD\r
DTSTART:16010101T030000\r
END:STANDARD\r
END:VTIMEZONE\r
BEGIN:VEVENT\r
ORGANIZER;CN="Jane: Doe":MAILTO:jane@customer.example\r
DTSTART;TZID="Europe/Berlin":20250301T120000\r
DTEND:20250301T130000Z\r
SUMMARY;LANGUAGE=de:Gr\u00f6\u00dfe\\, Fa\r
 rbe\r
LOCATION:Room 1\\;2\r
DESCRIPTION:First\\nSecond\r
BEGIN:VALARM\r
DESCRIPTION:REMINDER\r
END:VALARM\r
END:VEVENT\r
END:VCALENDAR\r
"""


def invite(text=INVITE):
    return make_part(text.encode(), name="invite.ics", content_type="text/calendar", charset="utf-8")


def test_invitation_is_a_few_lines():
    """Title, time, place, organizer and description, unfolded and unescaped."""
    assert render_invitation(invite()) == (
        "Invitation: Gr\u00f6\u00dfe, Farbe\nWhen: 2025-03-01 12:00 Europe/Berlin to 2025-03-01 13:00 UTC\n"
        "Where: Room 1;2\nOrganizer: jane@customer.example\n\nFirst\nSecond\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", ""),
        ("BEGIN:VEVENT\n", "Event: (no title)\n"),
        (
            "METHOD:CANCEL\nBEGIN:VEVENT\nSUMMARY:Lunch\nDTSTART;VALUE=DATE:20250301\n",
            "Cancelled: Lunch\nWhen: 2025-03-01\n",
        ),
        ("BEGIN:VEVENT\nSUMMARY:A\nEND:VEVENT\nBEGIN:VEVENT\nLOCATION:B\n", "Event: A\n"),
    ],
)
def test_incomplete_invitations(text, expected):
    """What is there is shown, and a calendar without an event shows nothing."""
    assert render_invitation(invite(text)) == expected


@pytest.mark.parametrize(
    ("message", "text", "codes"),
    [
        (make_message(attachments=[invite()]), render_invitation(invite()), ["body.invitation"]),
        (make_message(text="Hi", attachments=[invite()]), "Hi", []),
        (make_message(attachments=[invite("x")]), "(no text)", ["body.empty"]),
    ],
)
def test_invitation_stands_for_a_body_that_is_missing(message, text, codes):
    """Only a mail that shows nothing else is shown as its invitation."""
    config = make_config()
    made = make_body(message, make_route(config), config, rung=Rung.FULL, limit=BODY_BYTES)
    assert made.text == text
    assert [change.code for change in made.changes] == codes


@given(st.text(alphabet=st.sampled_from(list('BEGIN:VEVENT\r\n ;="\\,SUMARYDTX0123456789')), max_size=200))
def test_any_calendar_gives_text(text):
    """No content line raises."""
    render_invitation(invite("BEGIN:VEVENT\n" + text))


@pytest.mark.parametrize(
    "unit", ["A;", 'A;x="', "\n ", "A:", "DTSTART;TZID=", "BEGIN:VEVENT\n", ";" * 40 + "\n"]
)
def test_linear_time(unit):
    """A megabyte of broken lines costs no more than a moment."""
    begun = time.process_time()
    render_invitation(invite("BEGIN:VEVENT\n" + unit * (1_000_000 // len(unit))))
    assert time.process_time() - begun < 2
