"""The order in which files go when not all can go: an invoice is never displaced by a logo.

Owns the order of candidates. Never does I/O. The ranks are ours; no standard speaks of them.
"""

from __future__ import annotations

import re
from enum import IntEnum

from relay.contact.candidates import Candidate, Role, is_picture
from relay.contact.names import get_extension

#: Pictures smaller than this are rarely what a customer wants to show: signature lines, icons, tracking
#: pixels.
_TINY_BYTES = 8_192
#: Pictures shown by the HTML and larger than this are rather photographs than logos.
_PHOTO_BYTES = 262_144

_DECORATION = re.compile(
    r"(?i)\b(?:logo|icon|banner|footer|header|signature|spacer|pixel|divider|facebook|twitter|linkedin|instagram|"
    r"youtube|whatsapp|xing)(?![a-z])|^image\d{3}\.(?:png|gif|jpe?g)$|^outlook-"
)
_RECORDINGS = frozenset({"mov", "mp4", "wav", "mp3", "m4a", "amr", "ogg", "3gp", "avi", "mkv", "webm"})


class Rank(IntEnum):
    """The classes of files, the most wanted first."""

    #: Bodies of the mail that the contact's body does not hold whole.
    OWN_TEXT = 0
    DOCUMENT = 1
    #: Texts of attached messages.
    RENDERED = 2
    PICTURE = 3
    RECORDING = 4
    #: Documents out of attached messages.
    LIFTED = 5
    #: Pictures that the body shows by reference and that did not fit into the body.
    SHOWN = 6
    #: Logos, icons, tracking pixels; pictures out of attached messages that look like these.
    DECORATION = 7


def rank_candidate(candidate: Candidate, *, shown: bool) -> Rank:
    """The rank of a candidate; `shown` says that the HTML refers to it."""
    if candidate.role in (Role.TEXT, Role.HTML):
        return Rank.OWN_TEXT
    if candidate.role is Role.RENDERED:
        return Rank.RENDERED
    if is_picture(candidate):
        attached = (
            candidate.part is not None and candidate.part.content_disposition == "attachment" and not shown
        )
        if shown and candidate.size < _PHOTO_BYTES:
            return Rank.DECORATION
        if not attached and (candidate.size < _TINY_BYTES or _DECORATION.search(candidate.name)):
            return Rank.DECORATION
        if attached and candidate.size < _TINY_BYTES and _DECORATION.search(candidate.name):
            return Rank.DECORATION
        if shown:
            return Rank.SHOWN
        return Rank.LIFTED if candidate.role is Role.LIFTED else Rank.PICTURE
    if candidate.role is Role.LIFTED:
        return Rank.LIFTED
    return Rank.RECORDING if get_extension(candidate.name) in _RECORDINGS else Rank.DOCUMENT
