"""The lists that a mail's sender is on: what is stored of it, and what a route gives for it.

Owns the proof that a favour needs. An address in a mail is a claim: a list that keeps mail out counts for any
claim, and a list that favours mail counts only for an address that is proved. DMARC proves the author. SPF
proves the reverse-path, and with it an author of the same domain. Values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relay.config.model import Route
from relay.config.policy import FLOW
from relay.domains import normalise_domain

#: The names of the stored results: the lists that any address of the mail is on, and those of proved ones.
FOUND = "relay_lists_found"
PROVED = "relay_lists_proved"
#: The attributes of a contact: the lists by name, and its routing priority.
LISTS = "relay_lists"
PRIORITY = "relay_priority"
#: Connect's routing priority of a contact for which nothing else is said; 1 is the first.
USUAL_PRIORITY = 5
_LONGEST_DOMAIN = 255  # RFC 1035 §2.3.4; what is longer is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """The addresses of a mail that are looked up."""

    #: In the order of the header.
    authors: tuple[str, ...] = ()
    #: None for the null one.
    reverse_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list that a mail's sender is on."""

    name: str
    #: True where an author is on the list; the same for the reverse-path.
    author: bool = False
    sender: bool = False


def build_list_results(
    listings: Sequence[Listing], senders: Senders, results: Mapping[str, str]
) -> dict[str, str]:
    """The results that are stored for the lists; `results` are those of the checks of the mail's origin."""
    if not listings:
        return {}
    author, sender = _prove_author(senders, results), results.get("relay_spf") == "pass"
    proved = [each.name for each in listings if (each.author and author) or (each.sender and sender)]
    found = {FOUND: " ".join(each.name for each in listings)}
    return found | ({PROVED: " ".join(proved)} if proved else {})


def _prove_author(senders: Senders, results: Mapping[str, str]) -> bool:
    """Returns whether the authors are proved: DMARC judges all of them, and the worst counts."""
    if results.get("relay_dmarc") == "pass":
        return True
    # A failure of DMARC is the word of the author's domain, which SPF's does not outweigh.
    if results.get("relay_spf") != "pass" or results.get("relay_dmarc") == "fail":
        return False
    domains = {_domain_of(author) for author in senders.authors}
    return senders.reverse_path is not None and domains == {_domain_of(senders.reverse_path)}


def _domain_of(address: str) -> str:
    return normalise_domain(address.rpartition("@")[2].rstrip("."))


def list_names(results: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """The lists that a mail's sender is on, each with the word whether a favour counts."""
    proved = results.get(PROVED, "").split()
    for name in results.get(FOUND, "").split():
        yield name, name in proved


def is_favour(action: str) -> bool:
    """Returns whether an action favours the mail: another flow does; what keeps a mail out or marks it
    does not.
    """
    return action.startswith(FLOW)


def find_favours(results: Mapping[str, str], route: Route) -> dict[str, str]:
    """The attributes that the lists of a route give to the contact of a mail."""
    uses = [
        (name, route.lists[name])
        for name, proved in list_names(results)
        if name in route.lists and (proved or is_kept_out(route.lists[name].action))
    ]
    named = " ".join(name for name, use in uses if use.attribute)
    first = find_priority(results, route)
    return ({LISTS: named} if named else {}) | ({PRIORITY: str(first)} if first is not None else {})


def find_priority(results: Mapping[str, str], route: Route) -> int | None:
    """The routing priority that the lists of a route give to a mail. Returns None where none does."""
    given = [
        priority
        for name, proved in list_names(results)
        if proved and name in route.lists and (priority := route.lists[name].priority) is not None
    ]
    return min(given, default=None)


def is_kept_out(action: str) -> bool:
    """Returns whether an action is one against the mail, for which no proof is needed."""
    return action != "accept" and not is_favour(action)


def find_sender_domain(author: str | None, reverse_path: str | None) -> str:
    """The domain by which a mail's sender is counted: the author's, else the reverse-path's; "" without."""
    return _domain_of(author or reverse_path or "")[:_LONGEST_DOMAIN]
