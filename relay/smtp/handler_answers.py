"""The answers of handlers: the string that a handler returns, and the attributes that it sets.

Owns the reading of both. A handler is the operator's own code, which may be wrong: an answer that is no clean
reply is a fault, so that nothing of it reaches the peer, and an attribute that Connect would not take is left
out and told. Values in, values out. Follows RFC 5321 §4.2 and §4.5.3.1.5, and RFC 3463 §2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from aiosmtpd.smtp import MISSING

from relay.config.words import check_attribute_name
from relay.contact.attribute_names import MEANINGS
from relay.contact.characters import clean_line, count_utf8
from relay.contact.limits import ATTRIBUTE_BYTES
from relay.vocabulary import Reply

#: Octets of all attributes that handlers may set for one mail: the other half is for the route's and for
#: ours.
HANDLER_ATTRIBUTE_BYTES = ATTRIBUTE_BYTES // 2
_LINE_OCTETS = 512  # RFC 5321 §4.5.3.1.5, the final CRLF included
# RFC 5321 §4.2: three digits, then printable ASCII; RFC 3463 §2: the enhanced code in front of the text.
_REPLY = re.compile(
    r"([2-5][0-5][0-9])(?: (?:([245])\.([0-9]{1,3}\.[0-9]{1,3})(?: |\Z))?([\x20-\x7e\t]*))?", re.ASCII
)
#: The text of a reply that has a code and nothing else.
_TEXTS = {4: "Not taken now, try again later", 5: "Not taken here"}


def read_answer(answer: object) -> Reply | None:
    """The reply that a handler asks for. Returns None where it lets the mail go on: by None, by aiosmtpd's
    `MISSING`, or by a 2yz.

    Raises:
        ValueError: the answer is no reply of one line; the error says why, without the answer.
    """
    if answer is None or answer is MISSING:
        return None
    if isinstance(answer, bytes):
        answer = answer.decode("latin-1")  # what is not ASCII is refused below
    if not isinstance(answer, str):
        raise ValueError(f"the answer is of the type {type(answer).__name__}, not a string")  # noqa: TRY004 - one kind of error
    if len(answer) + 2 > _LINE_OCTETS:
        raise ValueError(f"the answer has {len(answer):,} characters; a reply has {_LINE_OCTETS - 2} at most")
    found = _REPLY.fullmatch(answer)
    if found is None:
        raise ValueError(
            "the answer is no reply: a code of three digits, a blank, and one line of printable ASCII"
        )
    code = int(found[1])
    if code // 100 == 3:
        raise ValueError(f"the answer has the code {code}, which asks the peer for more")
    if found[2] and int(found[2]) != code // 100:
        raise ValueError(f"the answer has the code {code} and an enhanced code of class {found[2]}")
    if code // 100 == 2:
        return None
    return Reply(code=code, status=found[3] or "0.0", text=(found[4] or "").strip() or _TEXTS[code // 100])


def read_attributes(given: object, *, prefix: str) -> tuple[Mapping[str, str], Collection[str]]:
    """The attributes that a contact may have of those that handlers set, and the names of those left out.

    Left out are names that Connect does not take, those of the relay itself (`prefix`), values that are no
    strings or are empty, and what is past `HANDLER_ATTRIBUTE_BYTES`.
    """
    if not isinstance(given, dict):
        return {}, (f"attributes of the type {type(given).__name__}",)
    taken: dict[str, str] = {}
    left: list[str] = []
    room = HANDLER_ATTRIBUTE_BYTES
    for name, value in dict.items(given):  # a handler's own `items` might raise
        if type(name) is not str:
            left.append(f"a name of the type {type(name).__name__}")
            continue
        line = clean_line(value) if type(value) is str and len(value) <= room else ""
        size = len(name) + count_utf8(line)
        if not line or not _is_free(name, prefix) or size > room:
            left.append(name)
            continue
        room -= size
        taken[name] = line
    return taken, left


def _is_free(name: str, prefix: str) -> bool:
    """Returns whether an attribute of a handler may have this name."""
    if (prefix and name.startswith(prefix)) or (not prefix and name in MEANINGS):
        return False
    try:
        check_attribute_name(name)
    except ValueError:
        return False
    return True
