"""The subject of a contact, cleaned and cut to its limit.

Owns the subject. Never does I/O. An empty subject stays empty: the service model takes it, and only the desk
knows what it wants to see in its place.
"""

from __future__ import annotations

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.characters import clean_line, count_utf16, cut_utf16, strip_invisible
from relay.contact.limits import SUBJECT_CHARACTERS
from relay.contact.plan import Adaptation


def fit_subject(subject: str, *, plain: bool = False) -> tuple[str, tuple[Adaptation, ...]]:
    """The subject as Connect takes it, with the changes; `plain` leaves out invisible characters too."""
    changes = []
    line = clean_line(strip_invisible(subject)) if plain else clean_line(subject)
    if line != subject.strip():
        changes.append(
            Adaptation(code=Code.SUBJECT_CLEANED, detail=Code.SUBJECT_CLEANED.sentence, after=line)
        )
    cut = cut_utf16(line, SUBJECT_CHARACTERS)
    if cut != line:
        detail = f"The subject has {count_utf16(line):,} characters, Connect takes {SUBJECT_CHARACTERS}."
        changes.append(Adaptation(code=Code.SUBJECT_TOO_LONG, detail=detail, before=line, after=cut))
    return cut, tuple(changes)
