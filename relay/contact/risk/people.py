"""Risks in the names and addresses of a mail's header.

Owns what display names hold and where an answer goes. Never proves an address. Follows RFC 5322 §3.6.2.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import regex

from relay.auth.words import show
from relay.contact.risk.codes import Risk, RiskCode
from relay.contact.risk.lookalikes import (
    OwnDomains,
    encode,
    find_mixed_scripts,
    is_any_same,
)
from relay.message.model import Mailbox, Message

#: Characters of a display name that are read, and mailboxes of one mail.
_LONGEST = 1_000
_MOST = 100
_ADDRESS = regex.compile(r"[^\s<>()\[\]\"',;:@]{1,64}+@([\p{L}\p{N}][\p{L}\p{N}.-]{0,252}+)")
_HOST = regex.compile(r"(?<![\p{L}\p{N}.@-])[\p{L}\p{N}-]{1,63}+(?:\.[\p{L}\p{N}-]{1,63}+){1,8}+")
_INVISIBLE = regex.compile(r"\p{Cf}+")


def find_people_risks(message: Message, reverse_path: str | None, own: OwnDomains) -> Iterator[Risk]:
    """The risks of display names, of Reply-To, and of the domains of all who stand for the mail."""
    mailboxes = (*message.author, *message.sender, *message.reply_to)[:_MOST]
    for mailbox in mailboxes:
        yield from _judge_name(mailbox, own)
    yield from _judge_answer(message, own)
    domains = [get_domain(mailbox.address) for mailbox in mailboxes]
    domains.append(get_domain(reverse_path or ""))
    for domain in dict.fromkeys(domains):
        yield from judge_domain(domain, own)


def judge_domain(domain: str, own: OwnDomains) -> Iterator[Risk]:
    """The risks of a domain by its letters."""
    if not domain:
        return
    imitated = own.find_imitated(domain)
    if imitated is not None:
        yield Risk(code=RiskCode.LOOKALIKE, detail=f"{show(encode(domain))} looks like {show(imitated)}")
    if scripts := find_mixed_scripts(domain):
        yield Risk(
            code=RiskCode.MIXED_SCRIPTS, detail=f"{show(encode(domain))} mixes {' and '.join(scripts)}"
        )


def get_domain(address: str) -> str:
    """The domain of an address; "" when it has none."""
    return address.rpartition("@")[2].strip("[]<> .") if "@" in address else ""


def _judge_name(mailbox: Mailbox, own: OwnDomains) -> Iterator[Risk]:
    name = _INVISIBLE.sub("", unicodedata.normalize("NFKC", mailbox.name[:_LONGEST]))
    domain = get_domain(mailbox.address)
    ours = bool(domain) and own.holds(domain)
    for found in _ADDRESS.finditer(name):
        claimed = found[1].rstrip(".-")
        if encode(claimed) == encode(domain):
            continue
        code = RiskCode.OUR_ADDRESS if own.holds(claimed) and not ours else RiskCode.OTHER_ADDRESS
        yield Risk(code=code, detail=f"{show(found[0])} is the name of {show(mailbox.address)}")
    if ours:
        return
    for found in _HOST.finditer(name):
        if own.holds(found[0]):
            detail = f"{show(found[0])} is in the name of {show(mailbox.address)}"
            yield Risk(code=RiskCode.OUR_ADDRESS, detail=detail)


def _judge_answer(message: Message, own: OwnDomains) -> Iterator[Risk]:
    authors = [domain for each in message.author[:_MOST] if (domain := get_domain(each.address))]
    if not authors:
        return
    for mailbox in message.reply_to[:_MOST]:
        domain = get_domain(mailbox.address)
        if domain and not own.holds(domain) and not is_any_same(domain, authors):
            detail = f"from {show(authors[0])}, answers to {show(mailbox.address)}"
            yield Risk(code=RiskCode.REPLY_ELSEWHERE, detail=detail)
