"""The lines of `relay report`: its object as a person reads it.

Owns their order and words. Asks nothing and counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.cli.policy import show_rules

#: Labels that are shown of each kind; the JSON has all.
_SHOWN = 10
_KIB = 1024


def show_report(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a report."""
    since, until = report["since"], report["until"]
    yield f"{since}, in UTC" if since == until else f"{since} to {until}, in UTC"
    yield from _show_received(report)
    yield from _show_delivered(report)
    for title, word in (
        ("Put off, attempts by reason", "put_off"),
        ("Dropped by a policy, by reason", "dropped"),
        ("Held for a person, by reason", "held"),
        ("Dead, by reason", "dead"),
    ):
        yield from _show_labels(title, report[word])
    if rules := report["policy"]["rules"]:
        yield from ("", "Policy")
        for line in show_rules(rules):
            yield f"  {line}"


def _show_received(report: Mapping[str, Any]) -> Iterator[str]:
    received = report["received"]
    yield ""
    yield (
        f"Received: {_some(received['mails'], 'mail')}, {_size(received['octets'])}; of them held at once by a policy: "
        f"{received['held']:,}; retransmissions besides: {received['duplicates']:,}"
    )
    for title, kinds in (("Refused", report["refused"]), ("Told to try again", report["deferred"])):
        for word, replies in kinds.items():
            yield from _show_labels(f"{title}, {word}", replies)
    yield from _show_labels("Busiest domains of senders", received["domains"])


def _show_delivered(report: Mapping[str, Any]) -> Iterator[str]:
    delivered, adapted = report["delivered"], report["adapted"]
    yield ""
    yield (
        f"Delivered: {_some(delivered['contacts'], 'contact')}, {delivered['usd']:.2f} USD at "
        f"{report['price_usd']:g} USD a contact; Connect had {delivered['already_there']:,} more already"
    )
    delays = delivered["delay_seconds"]
    if delays["max"] is not None:
        told = ", ".join(f"{word} {seconds:,.1f} s" for word, seconds in delays.items())
        yield f"From 250 to contact: {told}"
    yield from _show_labels("Busiest routes", delivered["routes"])
    if delivered["classes"]:
        yield from ("", "Contacts by class")
    for name, each in delivered["classes"].items():
        yield f"{each['contacts']:>9,}  {name or '(not known)'}, {each['usd']:.2f} USD"
    for name, each in delivered["classes"].items():
        if each["rule"] is not None:
            contacts, them = ("a contact", "it") if each["contacts"] == 1 else ("contacts", "them")
            yield (
                f"{_some(each['contacts'], 'automatic mail')} ({name}) became {contacts}: {each['usd']:.2f} USD; "
                f'`{each["rule"]} = "drop"` would have kept {them} out'
            )
    yield from _show_labels(f"Adapted: {_some(adapted['contacts'], 'contact')}, by code", adapted["codes"])


def _some(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _show_labels(title: str, labels: Mapping[str, int]) -> Iterator[str]:
    """A title and the most frequent labels under it. No lines where there are no labels."""
    if not labels:
        return
    yield ""
    yield f"{title}: {sum(labels.values()):,}" if ":" not in title else title
    for label, number in list(labels.items())[:_SHOWN]:
        yield f"{number:>9,}  {label or '(none)'}"
    if (left := len(labels) - _SHOWN) > 0:
        yield f"{sum(list(labels.values())[_SHOWN:]):>9,}  {left:,} more"


def _size(octets: int) -> str:
    for factor, unit in ((_KIB**3, "GiB"), (_KIB**2, "MiB"), (_KIB, "KiB")):
        if octets >= factor:
            return f"{octets / factor:,.1f} {unit}"
    return f"{octets} octets"
