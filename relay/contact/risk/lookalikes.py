"""Domains that look like others: the form in which look-alikes are equal, and whose a domain is.

Owns *skeleton*, mixed scripts, and the comparison of organisations without DNS. Never asks anybody. Follows
UTS #39 §4 (skeletons) and §5 (scripts), with ASCII's own look-alikes added.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import regex

from relay.auth.organisation import is_within
from relay.config.model import Config
from relay.contact.risk.confusables import CONFUSABLES
from relay.domains import encode_domain

#: RFC 1035 §2.3.4, with dots and room for Unicode; longer names are cut.
_LONGEST = 255
_ASCII = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s"})
# Scripts that are written alone; those of Chinese, Japanese and Korean are mixed by their languages.
_SCRIPTS = {
    name: regex.compile(rf"\p{{Script={name}}}")
    for name in (
        *("Latin", "Cyrillic", "Greek", "Armenian", "Hebrew", "Arabic", "Georgian", "Cherokee", "Coptic"),
        *("Lisu", "Canadian_Aboriginal", "Tifinagh", "Devanagari", "Thai", "Ethiopic"),
    )
}
#: Second labels below which a country's registry registers names, as in "co.uk".
_REGISTRIES = frozenset({
    "ac", "co", "com", "edu", "gob", "gouv", "gov", "go", "ltd", "me", "mil", "ne", "net", "nom", "or",
    "org", "plc", "sch", "web",
})  # fmt: skip
#: Domains below which strangers have names.
_SHARED = frozenset({
    "onmicrosoft.com", "github.io", "gitlab.io", "web.app", "firebaseapp.com", "pages.dev", "workers.dev",
    "herokuapp.com", "netlify.app", "vercel.app", "blogspot.com", "wordpress.com", "azurewebsites.net",
    "amazonaws.com", "cloudfront.net", "windows.net", "appspot.com", "weebly.com", "wixsite.com",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDomains:
    """The domains that are ours, and those that are protected beside them, in A-labels."""

    domains: frozenset[str]
    #: Each of them by its skeleton.
    skeletons: Mapping[str, str]

    def holds(self, domain: str) -> bool:
        """Returns whether a domain is one of them or lies below one."""
        encoded = encode(domain)
        return any(ending in self.domains for ending in _endings(encoded))

    def find_imitated(self, domain: str) -> str | None:
        """The domain that another one looks like. Returns None where it looks like none, or is ours."""
        if self.holds(domain):
            return None
        encoded = encode(domain)
        for ending in _endings(build_skeleton(encoded)):
            if ending in self.skeletons:
                return self.skeletons[ending]
        return next((own for own in _beginnings(encoded) if own in self.domains), None)


def read_own_domains(config: Config) -> OwnDomains:
    """The domains of the routes, and `identity.protected`."""
    return _collect(
        frozenset(address.rpartition("@")[2] for address in _list_addresses(config)),
        frozenset(config.identity.protected),
    )


def _list_addresses(config: Config) -> Iterator[str]:
    for route in config.routes:
        yield from route.match
        if route.destination is not None:
            yield route.destination


@lru_cache(maxsize=4)
def _collect(ours: frozenset[str], protected: frozenset[str]) -> OwnDomains:
    domains = frozenset(encode(domain) for domain in ours | protected)
    return OwnDomains(
        domains=domains, skeletons={build_skeleton(domain): domain for domain in sorted(domains)}
    )


def encode(domain: str) -> str:
    """The domain in A-labels, or its text in lower case where no registry could have it."""
    domain = domain[:_LONGEST].strip().rstrip(".")
    return encode_domain(domain) or domain.lower()


def decode(domain: str) -> str:
    """The domain in Unicode; a label of punycode that cannot be read stays."""
    return ".".join(map(_decode_label, domain[:_LONGEST].split(".")))


def _decode_label(label: str) -> str:
    if not label.lower().startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label


def build_skeleton(domain: str) -> str:
    """The form of a domain that is equal for those that look alike."""
    text = unicodedata.normalize("NFKC", decode(domain)).casefold()
    text = "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")
    text = text.translate(CONFUSABLES)
    return text.replace("rn", "m").replace("vv", "w").translate(_ASCII)


def find_mixed_scripts(domain: str) -> tuple[str, ...]:
    """The scripts that a label of a domain mixes, though no language does; empty where it mixes none."""
    for label in decode(encode(domain)).split("."):
        if label.isascii():
            continue
        found = tuple(name for name, letters in _SCRIPTS.items() if letters.search(label))
        if len(found) > 1:
            return found
    return ()


def is_same_organisation(one: str, other: str) -> bool:
    """Returns whether two domains belong together as far as their names show."""
    one, other = encode(one), encode(other)
    if is_within(one, other) or is_within(other, one):
        return True
    shared: list[str] = []
    for left, right in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if left != right:
            break
        shared.insert(0, left)
    if len(shared) < 2 or ".".join(shared) in _SHARED:
        return False
    return len(shared) > 2 or not (len(shared[1]) == 2 and shared[0] in _REGISTRIES)


def is_any_same(domain: str, others: Iterable[str]) -> bool:
    """Returns whether a domain belongs together with any of some others."""
    return any(is_same_organisation(domain, other) for other in others)


def _endings(domain: str) -> Iterator[str]:
    """The domain, and each domain above it but the last label."""
    labels = domain.split(".")
    return (".".join(labels[at:]) for at in range(max(len(labels) - 1, 1)))


def _beginnings(domain: str) -> Iterator[str]:
    """The domains that a name begins with, such as bank.example of bank.example.evil.test."""
    labels = domain.split(".")[:8]
    return (
        ".".join(labels[start:stop]) for start in range(len(labels)) for stop in range(start + 2, len(labels))
    )
