"""An action of a person: who does what, by which way, and why.

Owns how long each word of it may be: names and reasons come from people, and from the environment. Never does
I/O. `relay.spool.audit` has what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from relay.terminal import write_out

#: The longest reason that a person may give.
REASON_CHARACTERS = 200
_ACTOR_CHARACTERS = 100
_COMMAND_CHARACTERS = 60
#: Of what an action was about: words, and characters of each.
_ABOUT, _ABOUT_CHARACTERS = 20, 120


class Via(StrEnum):
    """The way by which an action came."""

    CLI = "cli"
    PAGE = "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that a person does: a change, or a look at the content of a mail."""

    actor: str
    via: Via
    #: The command's words without the program's name: "queue retry"; of the page, "mail".
    command: str
    #: The ids, the filter or the names that it is about.
    about: tuple[str, ...] = ()
    #: The reason that the person gave; "" for none.
    reason: str = ""


def check_reason(text: str) -> str:
    """The reason that a person gave, without blanks around it.

    Raises:
        ValueError: it is too long, has several lines, or characters that nobody sees or a terminal obeys.
    """
    text = text.strip()
    if len(text) > REASON_CHARACTERS:
        raise ValueError(f"has {len(text):,} characters; {REASON_CHARACTERS} are the most")
    if write_out(text) != text:
        raise ValueError(
            "has a line end, a control character, or one that cannot be seen; write one plain line"
        )
    return text


def bound_action(action: Action) -> Action:
    """The action with each of its words on one line, and as long as it may be."""
    about = [bound(each, _ABOUT_CHARACTERS) for each in action.about[:_ABOUT]]
    if (more := len(action.about) - _ABOUT) > 0:
        about.append(f"and {more:,} more")
    return replace(
        action,
        actor=bound(action.actor, _ACTOR_CHARACTERS) or "unknown",
        command=bound(action.command, _COMMAND_CHARACTERS),
        about=tuple(about),
        reason=bound(action.reason, REASON_CHARACTERS),
    )


def bound(text: str, most: int) -> str:
    """Text on one line of so many characters at most, with escapes for what a terminal obeys."""
    text = write_out(text[:most])
    return text if len(text) <= most else f"{text[: most - 3]}..."
