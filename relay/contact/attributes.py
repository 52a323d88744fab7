"""The attributes of a contact (docs/attributes.md): facts of a mail that Connect has no field for.

Owns their names, values and order of priority. Never does I/O. API reference, StartEmailContact: 32,768 UTF-8
bytes over all keys and values; keys of letters, digits, dash and underscore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.addresses import distinct
from relay.contact.attribute_names import MEANINGS
from relay.contact.bounce import Bounce
from relay.contact.characters import clean_line, count_utf8, cut_utf8, show_turns, strip_invisible
from relay.contact.facts import Facts
from relay.contact.limits import ATTRIBUTE_BYTES
from relay.contact.plan import Adaptation, Context
from relay.contact.risk.codes import Risk, build_risk_attributes
from relay.contact.templates import fill_attributes
from relay.message.model import Mailbox, Message
from relay.vocabulary import Classification, Rung

#: Bytes of a value of ours, well below the service model's 32,767, so that one does not push out the rest.
_VALUE_LIMIT = 2_048
# Attributes of the plain rungs, beside the route's own: those that find the mail, and the results of its
# checks.
_PLAIN = frozenset({
    "spool_id", "message_id", "original", "classification", "adaptations", "accepted_at", "waited_seconds",
    "spf", "dkim", "dmarc", "arc", "identity", "policy", "risk", "virus", "spam",
    "lists", "priority", "sensitive",
})  # fmt: skip

_NO_FACTS = Facts()
#: The attributes of `relay.auth.identity`, `relay.scan.model` and `relay.contact.risk`, in the same order.
_RESULTS = (
    "identity",
    "policy",
    "lists",
    "priority",
    "risk",
    *(
        "spf",
        "dkim",
        "dmarc",
        "arc",
        "virus",
        "spam",
        "virus_name",
        "spam_score",
        "iprev",
        "dnsbl",
        "upstream",
    ),
    *(
        "risk_detail",
        "dmarc_detail",
        "dkim_detail",
        "spf_detail",
        "arc_detail",
        "iprev_detail",
        "dnsbl_detail",
        "upstream_detail",
    ),
    "hop_detail",
    *("virus_detail", "spam_detail"),
)
_RESULT_KEYS = tuple((result, f"relay_{result}") for result in _RESULTS)


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
    bounce: Bounce | None = None,
    facts: Facts = _NO_FACTS,
    given: Sequence[tuple[str, str]] | None = None,
    risks: Sequence[Risk] = (),
) -> tuple[Mapping[str, str], tuple[Adaptation, ...]]:
    """The attributes that are known, the most wanted first, and the changes that made them fit.

    `given` are the operator's own; None for those of them that need no field of the mail.
    """
    prefix = config.contact.attribute_prefix
    found = build_risk_attributes(risks) | {"policy": _list_tags(context, classification, risks)}
    known = list(_read_message(message, context, route, from_address, found))
    codes = " ".join(dict.fromkeys(change.code for change in adaptations))
    known[2:2] = [
        ("original", original_key or ""),
        ("classification", classification),
        ("adaptations", codes),
        *(_read_bounce(bounce) if bounce is not None else ()),
        *_read_times(context),
        ("importance", facts.importance),
        ("language", facts.language),
    ]
    known.append(("sensitive", "" if route.sensitive.observe else " ".join(context.sensitive)))
    known.append(("new_text", facts.new_text))
    left_out = frozenset(config.contact.attributes_left_out)
    is_plain = rung.is_plain
    known = [
        (name, value)
        for name, value in known
        if value and name not in left_out and (not is_plain or name in _PLAIN)
    ]
    given = fill_attributes(None, route, config) if given is None else given
    pairs = [(key, value, False) for key, value in given]
    if not is_plain:  # what a handler has made of a mail may be what was refused
        pairs += [(key, value, False) for key, value in context.envelope.attributes]
    pairs += [(prefix + name, value, True) for name, value in known]
    attributes: dict[str, str] = {}
    dropped: list[str] = []
    changes: list[Adaptation] = []
    room, prose = ATTRIBUTE_BYTES, f"{prefix}new_text"
    for key, value, ours in pairs:
        line = clean_line(strip_invisible(value) if is_plain else value)
        if not line or key in attributes:
            continue
        if ours and key != prose:
            line = show_turns(line)
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


def _list_tags(context: Context, classification: Classification, risks: Sequence[Risk]) -> str:
    """The rules by which the contact is tagged: those of the results, then those of its class and risks."""
    met = {f"class.{classification}", *(f"risk.{risk.code}" for risk in risks)}
    met |= {f"sensitive.{kind}" for kind in context.sensitive}
    late = [rule for rule in context.late_tags if rule in met]
    return " ".join([*context.results.get("relay_policy", "").split(), *late])


def _read_message(
    message: Message, context: Context, route: Route, from_address: str, found: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Name without prefix, and value, in the order of priority; empty values are left out later. `found` are
    the results that stand before those of the context.
    """
    envelope, peer = context.envelope, context.envelope.peer
    paths = context.destination.forward_paths
    authors = _list(distinct(message.author))
    yield "spool_id", context.spool_id
    yield "message_id", message.message_id or ""
    yield "envelope_from", "<>" if envelope.reverse_path is None else envelope.reverse_path
    yield "envelope_to", ", ".join(paths)
    yield "reply_to", _list(message.reply_to)
    # Only where the header says more than the contact's own address does.
    yield "from", authors if authors.strip() != from_address else ""
    results = context.results
    for result, key in _RESULT_KEYS:
        yield result, found.get(result) or results.get(key, "")
    yield "date", message.date.astimezone(UTC).isoformat() if message.date else ""
    yield "tag", _read_tag(paths, route)
    yield "peer", peer.address
    yield "helo", peer.helo or ""
    yield "tls", peer.tls or ""
    yield "original_to", _list(message.to)
    yield "original_cc", _list(message.cc)


def _read_times(context: Context) -> tuple[tuple[str, str], ...]:
    """The instant of acceptance and the wait since then; none in a dry run, where no mail was accepted."""
    if context.waited_seconds is None:
        return ()
    accepted_at = context.envelope.received_at.astimezone(UTC).isoformat(timespec="seconds")
    return ("accepted_at", accepted_at), ("waited_seconds", str(context.waited_seconds))


def _read_bounce(bounce: Bounce) -> tuple[tuple[str, str], ...]:
    return (
        ("bounce_recipient", _list(tuple(Mailbox(address=one) for one in bounce.recipients))),
        ("bounce_status", bounce.status),
        ("bounce_action", bounce.action),
        ("bounce_diagnostic", bounce.diagnostic),
    )


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


def build_attributes_document() -> str:
    """The text of `docs/attributes.md`."""
    lines = [
        "# Attributes of a contact",
        "",
        "What an agent or a flow finds in a contact besides Connect's own fields. Names begin with",
        "`contact.attribute_prefix`; an attribute without a value is left out, and so are those that",
        "`contact.attributes_left_out` names. A route's own attributes",
        "(`routes[].attributes`) come first and have no prefix; those that handlers set ([smtp.md](smtp.md#handlers))",
        "come next and have none either. Together they may hold",
        f"{ATTRIBUTE_BYTES:,} bytes; where that is too little, those at the end of this table are left out. A value of",
        f"the relay's is cut at {_VALUE_LIMIT:,} bytes. At the rungs `text` and `original` only",
        ", ".join(f"`{name}`" for name in MEANINGS if name in _PLAIN) + " are sent.",
        "",
        "This page is made from `relay/contact/attributes.py` by `make docs`.",
        "",
        "| Attribute | Meaning |",
        "|---|---|",
        *(f"| `relay_{name}` | {meaning} |" for name, meaning in MEANINGS.items()),
    ]
    return "\n".join(lines) + "\n"
