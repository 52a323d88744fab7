"""The addresses of a contact: its author, and the additional recipients.

Owns the choice of the author's address and the list of additional recipients. Never does I/O. The
pattern and lengths are those of EmailAddress and EmailAddressDisplayName in the service model; the words
are those of RFC 5322 §3.6.2 and §3.6.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.characters import clean_line, count_utf16, cut_utf16, is_category_c, strip_invisible
from relay.contact.limits import ADDRESS_CHARACTERS, ADDRESSES, DISPLAY_NAME_CHARACTERS
from relay.contact.plan import Adaptation, Context
from relay.domains import normalise_address
from relay.message.model import Mailbox, Message
from relay.vocabulary import Rung

#: Additional recipients: the destination is one of the addresses.
_MOST_RECIPIENTS = ADDRESSES - 1
#: Addresses that are looked up among the routes; a mail to thousands is cut long before.
_MOST_ASKED = 1_000

_PATTERN = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
# The plainest form of an address, which every mail system takes: the From of the plain rungs.
_PLAIN = re.compile(r"[A-Za-z0-9._+=-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """The additional recipients of a contact, as (address, display name)."""

    to: tuple[tuple[str, str], ...] = ()
    cc: tuple[tuple[str, str], ...] = ()
    changes: tuple[Adaptation, ...] = ()


def is_usable(address: str) -> bool:
    """Returns whether Connect takes an address: one @, a dot after it, no white space, 1 to 255
    characters.
    """
    return (
        count_utf16(address) <= ADDRESS_CHARACTERS
        and _PATTERN.fullmatch(address) is not None
        and (address.isascii() or not any(map(is_category_c, address)))
        and address.isprintable()
    )


def choose_author(
    message: Message, context: Context, route: Route, config: Config, *, rung: Rung
) -> tuple[str, str, tuple[Adaptation, ...]]:
    """The address and display name of the customer, and the changes that were needed to have one."""
    destination = normalise_address(context.destination.address)
    changes: list[Adaptation] = []
    own = False
    for mailbox, code in _candidates(message, context, route):
        address = mailbox.address.strip()
        if not is_usable(address) or (rung.is_plain and not _PLAIN.fullmatch(address)):
            continue
        if normalise_address(address) == destination:
            own = True
            continue
        if code is Code.FROM_OWN_ADDRESS and not own:
            continue  # Reply-To is no author unless the author's own address cannot be used
        break
    else:
        mailbox, address, code = (
            Mailbox(address=config.contact.fallback_from),
            config.contact.fallback_from,
            None,
        )
        code = Code.FROM_FALLBACK
    first = message.author[0] if message.author else Mailbox(address="")
    if own and code is not Code.FROM_REPLY_TO:
        code = Code.FROM_OWN_ADDRESS
    if code is not None and address.lower() != first.address.strip().lower():
        shown = ", ".join(author.address for author in message.author)
        changes.append(Adaptation(code=code, detail=code.sentence, before=shown, after=address))
    elif code is None and len(distinct(message.author)) > 1:
        shown = ", ".join(author.address for author in message.author)
        changes.append(
            Adaptation(code=Code.FROM_SEVERAL, detail=Code.FROM_SEVERAL.sentence, before=shown, after=address)
        )
    name = mailbox.name or next((one.name for one in distinct(message.author) if one.address == address), "")
    original = name or first.name or (first.address if address != first.address.strip() else "")
    name, changed = _fit_name(original, Code.FROM_NAME, plain=rung.is_plain)
    return address, name, (*changes, *changed)


def distinct(mailboxes: Sequence[Mailbox]) -> tuple[Mailbox, ...]:
    """The mailboxes of different addresses, in order, with the first name that each is given."""
    found: dict[str, Mailbox] = {}
    for mailbox in mailboxes:
        key = (mailbox.address.strip() or mailbox.name).casefold()
        known = found.get(key)
        if known is None or (mailbox.name and not known.name):
            found[key] = mailbox if known is None else replace(known, name=mailbox.name)
    return tuple(found.values())


def _candidates(message: Message, context: Context, route: Route) -> Iterator[tuple[Mailbox, Code | None]]:
    """The mailboxes that could be the author, best first, each with the adaptation that its choice means."""
    if route.prefer_reply_to:
        yield from ((mailbox, Code.FROM_REPLY_TO) for mailbox in message.reply_to)
    yield from ((mailbox, None) for mailbox in message.author)
    yield from ((mailbox, Code.FROM_OWN_ADDRESS) for mailbox in message.reply_to)
    yield from ((mailbox, Code.FROM_SENDER) for mailbox in message.sender)
    if context.envelope.reverse_path:
        yield Mailbox(address=context.envelope.reverse_path), Code.FROM_ENVELOPE


def _fit_name(name: str, code: Code, *, plain: bool = False) -> tuple[str, tuple[Adaptation, ...]]:
    fitted = cut_utf16(clean_line(strip_invisible(name) if plain else name), DISPLAY_NAME_CHARACTERS)
    if fitted == name.strip():
        return fitted, ()
    return fitted, (Adaptation(code=code, detail=code.sentence, before=name, after=fitted),)


def fit_recipients(message: Message, context: Context, config: Config) -> Recipients:
    """The recipients of To and Cc as Connect takes them: without the destination, each once, within the
    limit, in order.
    """
    strip = config.contact.strip_own_recipients
    ourselves = {normalise_address(context.destination.address)}
    if strip:
        ourselves.update(normalise_address(path) for path in context.destination.forward_paths)
    seen: set[str] = set()
    left_out: dict[Code, list[str]] = {}
    changes: list[Adaptation] = []
    asked = 0

    def take(mailboxes: Iterable[Mailbox]) -> Iterator[tuple[str, str]]:
        nonlocal asked
        for mailbox in mailboxes:
            address = mailbox.address.strip()
            key = normalise_address(address)
            if key in ourselves or not (address or mailbox.name):
                continue
            reason = None
            if not is_usable(address):
                reason = Code.RECIPIENT_UNUSABLE
            elif key in seen:
                reason = Code.RECIPIENT_REPEATED
            elif asked >= _MOST_ASKED or len(seen) >= _MOST_RECIPIENTS:
                reason = Code.RECIPIENTS_TOO_MANY
            elif strip and context.is_ours(address):
                reason = Code.RECIPIENT_OWN
            asked += reason in (None, Code.RECIPIENT_OWN)
            if reason is not None:
                left_out.setdefault(reason, []).append(address or mailbox.name)
                continue
            seen.add(key)
            name, changed = _fit_name(mailbox.name, Code.RECIPIENT_NAME)
            changes.extend(changed)
            yield address, name

    to = tuple(take(message.to))
    cc = tuple(take(message.cc))
    changes.extend(_count(code, addresses) for code, addresses in left_out.items())
    return Recipients(to=to, cc=cc, changes=tuple(changes))


def _count(code: Code, addresses: Sequence[str]) -> Adaptation:
    """The one record for all addresses left out for the same reason: a mail may name 50,000 of them."""
    shown = ", ".join(addresses[:10]) + (f", and {len(addresses) - 10:,} more" if len(addresses) > 10 else "")
    return Adaptation(code=code, detail=f"{code.sentence} ({len(addresses):,})", before=shown)
