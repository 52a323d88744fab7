"""The attributes of a contact: what Connect has no field for (design §5.5).

Owns their names, values and order of priority. Never does I/O. API reference, StartEmailContact: 32,768 UTF-8
bytes over all keys and values; keys of letters, digits, dash and underscore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.characters import clean_line, count_utf8, cut_utf8, strip_invisible
from relay.contact.limits import ATTRIBUTE_BYTES
from relay.contact.plan import Adaptation, Context
from relay.message.model import Mailbox, Message
from relay.vocabulary import Classification, Rung

#: AttributeValue of the service model holds 32,767; ours are cut well before, so that one does not push out the rest.
_VALUE_LIMIT = 2_048
# The plain rungs carry what an operator needs to find the mail, what was checked of it, and the route's own words.
_PLAIN = frozenset({
    "spool_id", "message_id", "original", "classification", "adaptations", "spf", "dkim", "dmarc", "arc",
})  # fmt: skip


def build_attributes(
    message: Message,
    context: Context,
    route: Route,
    config: Config,
    *,
    classification: Classification,
    original_key: str | None,
    from_address: str,
    adaptations: Sequence[Adaptation],
    rung: Rung,
) -> tuple[Mapping[str, str], tuple[Adaptation, ...]]:
    """The attributes that are known, the most wanted first, and what was cut or dropped of them."""
    prefix = config.contact.attribute_prefix
    known = list(_read_message(message, context, route, from_address))
    codes = " ".join(dict.fromkeys(change.code for change in adaptations))
    known[2:2] = [
        ("original", original_key or ""),
        ("classification", classification),
        ("adaptations", codes),
    ]
    if rung.is_plain:
        known = [(name, value) for name, value in known if name in _PLAIN]
    pairs = [(key, value, False) for key, value in route.attributes.items()]
    pairs += [(prefix + name, value, True) for name, value in known]
    attributes: dict[str, str] = {}
    dropped: list[str] = []
    changes: list[Adaptation] = []
    room = ATTRIBUTE_BYTES
    for key, value, ours in pairs:
        line = clean_line(strip_invisible(value) if rung.is_plain else value)
        if not line or key in attributes:
            continue
        fitted = cut_utf8(line, _VALUE_LIMIT) if ours else cut_utf8(line, ATTRIBUTE_BYTES - 1)
        size = len(key) + count_utf8(fitted)
        if size > room:
            dropped.append(key)
            continue
        room -= size
        attributes[key] = fitted
        if fitted != line:
            changes.append(
                Adaptation(
                    code=Code.ATTRIBUTE_CUT, detail=f"{Code.ATTRIBUTE_CUT.sentence} ({key})", after=fitted
                )
            )
    if dropped:
        sentence = Code.ATTRIBUTES_DROPPED.sentence
        changes.append(Adaptation(code=Code.ATTRIBUTES_DROPPED, detail=f"{sentence} ({', '.join(dropped)})"))
    return attributes, tuple(changes)


def _read_message(
    message: Message, context: Context, route: Route, from_address: str
) -> Iterator[tuple[str, str]]:
    """Name without prefix, and value, in the order of priority; empty values are left out later."""
    envelope, peer = context.envelope, context.envelope.peer
    paths = context.destination.forward_paths
    authors = _list(message.author)
    yield "spool_id", context.spool_id
    yield "message_id", message.message_id or ""
    yield "envelope_from", "<>" if envelope.reverse_path is None else envelope.reverse_path
    yield "envelope_to", ", ".join(paths)
    yield "reply_to", _list(message.reply_to)
    # Only when it says more than the contact's own address does.
    yield "from", authors if authors.strip() != from_address else ""
    for result in ("spf", "dkim", "dmarc", "arc"):
        yield result, context.results.get(f"relay_{result}", "")
    yield "date", message.date.astimezone(UTC).isoformat() if message.date else ""
    yield "tag", _read_tag(paths, route)
    yield "peer", peer.address
    yield "helo", peer.helo or ""
    yield "tls", peer.tls or ""
    yield "original_to", _list(message.to)
    yield "original_cc", _list(message.cc)


def _list(mailboxes: tuple[Mailbox, ...]) -> str:
    """The addresses, as many as a value holds, and the number of all when some are left out."""
    room = _VALUE_LIMIT - 40
    shown: list[str] = []
    for one in mailboxes:
        address = one.address or one.name
        room -= count_utf8(address) + 2
        if room < 0:
            return ", ".join(shown) + f"{', ' if shown else ''}… ({len(mailboxes):,} in all)"
        shown.append(address)
    return ", ".join(shown)


def _read_tag(forward_paths: Sequence[str], route: Route) -> str:
    """The subaddress of the first forward-path that has one (RFC 5233), unless the route matches it whole."""
    for path in forward_paths:
        local, _, _ = path.rpartition("@")
        tag = local.partition("+")[2]
        if tag and path.lower() not in route.match:
            return tag
    return ""
