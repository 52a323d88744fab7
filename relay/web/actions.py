"""The changes that the page offers, done as the commands of the same names do them, and the readings it
notes.

Owns the way of an action to the desk. The spool decides what may be changed, in the transaction that changes
it; a request in doubt is left alone, because the page asks nobody to agree to a second contact.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.spool import action as audit
from relay.spool.change import Changed, tell_left
from relay.spool.desk import Desk
from relay.timing import utc_now
from relay.web.view import Acted, Action, ReadPart

#: The actor of a page that is open to whoever is at the machine, as the sandbox's is.
_ANYONE = "(anyone)"
_AGREE = "(`relay queue {action} --yes` agrees to it)"


def change(desk: Desk, action: Action, references: Sequence[str], *, actor: str, reason: str) -> Acted:
    """Change these entries, for a person whom the audit names. Blocks."""
    audited = audit.Action(
        actor=actor or _ANYONE,
        via=audit.Via.PAGE,
        command=f"queue {action}",
        about=tuple(references),
        reason=reason,
    )
    left = [
        (left.id, tell_left(left, agree=_AGREE.format(action=action)))
        for left in _act(desk, action, references, audited).left
    ]
    named = {word for word, _ in left}
    return Acted(changed=tuple(word for word in references if word not in named), left=tuple(left))


def note_reading(desk: Desk, reference: str, part: ReadPart, *, reader: str) -> None:
    """Note in the audit that a person reads words of an entry. Blocks."""
    desk.note_action(
        audit.Action(actor=reader or _ANYONE, via=audit.Via.PAGE, command=f"page {part}", about=(reference,))
    )


def _act(desk: Desk, action: Action, references: Sequence[str], audited: audit.Action) -> Changed:
    now = utc_now()
    match action:
        case "retry":
            return desk.retry(references, now=now, action=audited)
        case "release":
            return desk.release(references, now=now, action=audited)
        case "hold":
            return desk.hold(references, now=now, action=audited)
        case "drop":
            return desk.drop(references, now=now, action=audited)
