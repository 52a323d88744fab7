"""The organisational domain: whose a domain is, found by walking up the DNS tree.

    bank.example    is found from mail.bank.example, because _dmarc.bank.example is the last record on the way

Owns the walk of RFC 9989 §4.10: its eight names at most, where it stops, and the domain that it finds. Never
asks DNS: answers come in. There is no list of public suffixes; their operators say psd=y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.auth.answers import Answer, Status
from relay.auth.dmarc_record import PolicyRecord, find_record

#: RFC 9989 §4.10: a name of eight labels or more is shortened to seven after the first question.
_LABELS_KEPT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The records on the way from a domain up to the root, from the longest name."""

    domain: str
    records: Mapping[str, PolicyRecord]
    #: DNS answered for the whole way, and for the domain itself.
    complete: bool = True
    answered: bool = True

    @property
    def organisation(self) -> str | None:
        """The organisational domain (§4.10.2). Returns None where DNS did not answer for the whole way."""
        if not self.complete:
            return None
        for domain, record in self.records.items():
            if record.public_suffix is False:
                return domain
            if record.public_suffix and domain != self.domain:
                return _one_below(domain, self.domain)
        return list(self.records)[-1] if self.records else self.domain

    @property
    def policy_domain(self) -> str | None:
        """The domain whose record applies to the walk's domain (§4.10.1). Returns None where there is none.

        That is the domain itself, else its organisation, else its public suffix.
        """
        suffixes = (domain for domain, record in self.records.items() if record.public_suffix)
        places = (self.domain, self.organisation, next(suffixes, None))
        return next((domain for domain in places if domain in self.records), None)


def build_walk_names(domain: str) -> tuple[str, ...]:
    """The domains that a walk may ask about, in order: eight at most, each by its `policy_name`."""
    labels = domain.split(".")
    rest = labels[1:] if len(labels) <= _LABELS_KEPT else labels[-_LABELS_KEPT:]
    return (domain, *(".".join(rest[at:]) for at in range(len(rest))))


def policy_name(domain: str) -> str:
    """The name of a domain's policy record (§4.6)."""
    return f"_dmarc.{domain}"


def read_walk(domain: str, answers: Mapping[str, Answer]) -> Walk:
    """The walk from a domain, by the answers for the policy names; the first psd=y or psd=n ends it."""
    records: dict[str, PolicyRecord] = {}
    complete = answered = True
    for place in build_walk_names(domain):
        answer = answers.get(policy_name(place))
        if answer is None or answer.status is Status.TEMPERROR:
            complete = False
            answered = answered and place != domain
            continue
        record = find_record(answer.texts) if answer.status is Status.FOUND else None
        if record is not None:
            records[place] = record
            if record.public_suffix is not None:
                break
    return Walk(domain=domain, records=records, complete=complete, answered=answered)


def _one_below(parent: str, domain: str) -> str:
    """The domain one label below a parent, on the way to a domain."""
    labels = domain.split(".")
    return ".".join(labels[-len(parent.split(".")) - 1 :])


def is_within(domain: str, parent: str) -> bool:
    """Returns whether a domain is another one or lies below it."""
    return f".{domain}".endswith(f".{parent}")
